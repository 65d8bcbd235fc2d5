"""A site per test: on a SQLite file, and on PostgreSQL for tests that are marked `tests.sites.BOTH`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sites import Site
from tests.stores import PostgresqlServer, postgresql_server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """One server for all tests."""
    with postgresql_server() as server:
        yield server


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    if getattr(request, "param", "sqlite") == "postgresql":
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        made = Site(server.fresh())
    else:
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


@pytest.fixture
def manager(site):
    return site.visitor(site.user("meg", "manager"))
