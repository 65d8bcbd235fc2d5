"""What Alembic runs around each migration; the connection, and its transaction, are the caller's (`feedback.schema`)."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from heedful.feedback.store.tables import Base

_LOCK = 0x4EEDF01
"""Names the lock that two servers which start at once take in turn; PostgreSQL wants a number."""


def _migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    context.run_migrations()


_migrate(context.config.attributes["connection"])
