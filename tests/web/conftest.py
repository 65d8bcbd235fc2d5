"""A site per test, on a SQLite file."""

import pytest

from tests.sites import Site


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path / "labels.sqlite")
    yield made
    made.close()


@pytest.fixture
def at_work(site):
    """A labeler on a ranking project, signed in: (visitor, project id)."""
    project_id = site.project()
    anna = site.user("anna")
    site.join(project_id, anna)
    return site.visitor(anna), project_id
