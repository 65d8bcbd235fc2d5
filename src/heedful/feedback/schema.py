"""The schema of the store: bring a database to the newest version, or back."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection

from heedful.errors import DataError

HEAD, EMPTY = "head", "base"


def upgrade(connection: Connection, revision: str = HEAD) -> None:
    """Bring a database up to a revision, inside the connection's transaction.

    Raises:
        DataError: its schema is newer than this version of Heedful.
    """
    stored = current_revision(connection)
    config = _config(connection)
    try:
        if stored is not None:
            ScriptDirectory.from_config(config).get_revision(stored)
    except CommandError:
        raise DataError(
            f"the database has the newer schema '{stored}'",
            fix="use the version of Heedful that made it, or a later one",
        ) from None
    command.upgrade(config, revision)


def downgrade(connection: Connection, revision: str) -> None:
    """Bring a database down to a revision; `EMPTY` drops every table."""
    command.downgrade(_config(connection), revision)


def current_revision(connection: Connection) -> str | None:
    """Return the revision of a database; None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def newest_revision() -> str | None:
    """Return the revision that this version of Heedful works with."""
    return ScriptDirectory.from_config(_config(None)).get_current_head()


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", "heedful.feedback:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
