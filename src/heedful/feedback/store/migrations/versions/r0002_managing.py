"""What managers need: closed projects, tasks for named people, hidden repeats, rulings, messages, flags in words."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("assignment", "repeat", "ruling", "message")


def upgrade() -> None:
    """Add the tables and columns; whether a project is closed comes from its journal."""
    op.add_column("project", sa.Column("closed", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("project", sa.Column("listed", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("flag", sa.Column("text", sa.Text()))
    op.execute(
        "UPDATE project SET closed = (1 = 1) WHERE 'project.closed' = (SELECT kind FROM event WHERE"
        " kind IN ('project.closed', 'project.opened') AND subject = 'project/' || CAST(project.id AS VARCHAR(20))"
        " ORDER BY event.id DESC LIMIT 1)"
    )
    _pairs()
    _words()


def downgrade() -> None:
    """Drop them again."""
    for name in reversed(TABLES):
        op.drop_table(name)
    op.drop_column("flag", "text")
    op.drop_column("project", "listed")
    op.drop_column("project", "closed")


def _pairs() -> None:
    op.create_table(
        "assignment",
        _number("task_id"),
        _number("user_id"),
        _refers("assignment", "task_id", "task"),
        _refers("assignment", "user_id", "user"),
        sa.PrimaryKeyConstraint("task_id", "user_id", name="pk_assignment"),
    )
    op.create_index("ix_assignment_user_id", "assignment", ["user_id"])
    op.create_table(
        "repeat",
        _number("task_id", autoincrement=False),
        _number("original_id"),
        _number("user_id"),
        *(_refers("repeat", column, "task") for column in ("task_id", "original_id")),
        _refers("repeat", "user_id", "user"),
        sa.UniqueConstraint("original_id", "user_id", name="uq_repeat_original_id_user_id"),
        sa.PrimaryKeyConstraint("task_id", name="pk_repeat"),
    )
    op.create_index("ix_repeat_user_id", "repeat", ["user_id"])


def _words() -> None:
    op.create_table(
        "ruling",
        _number("id"),
        _number("task_id"),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("reason", sa.JSON(), nullable=False),
        _number("by", nullable=True),
        _time("created"),
        _refers("ruling", "task_id", "task"),
        _refers("ruling", "by", "user"),
        sa.PrimaryKeyConstraint("id", name="pk_ruling"),
    )
    op.create_index("ix_ruling_task_id", "ruling", ["task_id"])
    op.create_table(
        "message",
        _number("id"),
        _number("project_id"),
        _number("user_id"),
        _number("sender", nullable=True),
        sa.Column("text", sa.JSON(), nullable=False),
        _time("created"),
        _time("read_at", nullable=True),
        _refers("message", "project_id", "project"),
        *(_refers("message", column, "user") for column in ("user_id", "sender")),
        sa.PrimaryKeyConstraint("id", name="pk_message"),
    )
    op.create_index("ix_message_user_id_project_id", "message", ["user_id", "project_id"])


def _number(name: str, *, nullable: bool = False, autoincrement: Any = "auto") -> sa.Column[Any]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, nullable=nullable, autoincrement=autoincrement)


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _refers(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=f"fk_{table}_{column}")
