"""The schema of the store: bring a database to the newest version, or back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from heedful.errors import DataError

if TYPE_CHECKING:
    from alembic.config import Config

# Alembic is loaded only where there is something to do: a site that is started again should be back at once.
HEAD, EMPTY = "head", "base"
NEWEST = "0002"
"""The revision that this version of Heedful works with: that of the latest file in `migrations/versions`."""


def upgrade(connection: Connection, revision: str = HEAD) -> None:
    """Bring a database up to a revision, inside the connection's transaction.

    Raises:
        DataError: its schema is newer than this version of Heedful.
    """
    stored = current_revision(connection)
    if stored == NEWEST and revision == HEAD:
        return
    if stored is not None:
        check_known(stored)
    from alembic import command

    command.upgrade(_config(connection), revision)


def check_known(revision: str, place: object = "the database") -> None:
    """Return where we know a revision.

    Raises:
        DataError: the schema is newer than this version of Heedful.
    """
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    try:
        ScriptDirectory.from_config(_config(None)).get_revision(revision)
    except CommandError:
        raise DataError(
            f"{place} has the newer schema '{revision}'",
            fix="use the version of Heedful that made it, or a later one",
        ) from None


def downgrade(connection: Connection, revision: str) -> None:
    """Bring a database down to a revision; `EMPTY` drops every table."""
    from alembic import command

    command.downgrade(_config(connection), revision)


def current_revision(connection: Connection) -> str | None:
    """Return the revision of a database; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def newest_revision() -> str | None:
    """Return the revision of the latest migration."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config(None)).get_current_head()


def _config(connection: Connection | None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "heedful.feedback.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
