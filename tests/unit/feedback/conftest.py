"""A store on each database, and a project to work on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from heedful.feedback.store.database import Database
from tests.stores import PostgresqlServer, postgresql_server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """One server for all tests."""
    with postgresql_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store that nobody has used."""
    if request.param == "sqlite":
        return str(tmp_path / "feedback.sqlite")
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return server.fresh()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """An open store."""
    found = Database.open(url)
    yield found
    found.close()
