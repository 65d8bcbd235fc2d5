"""The first schema.

In the database itself, a response that was sent cannot be changed or removed: both databases refuse it by a trigger.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "user",
    "login_token",
    "session",
    "project",
    "membership",
    "instruction",
    "ack",
    "task",
    "completion",
    "gold",
    "lease",
    "response",
    "flag",
    "event",
)


def upgrade() -> None:
    """Make every table."""
    _people()
    _projects()
    _reading()
    _tasks()
    _leases()
    _responses()
    _findings()
    _forbid_changes()


def downgrade() -> None:
    """Drop every table."""
    for name in reversed(TABLES):
        op.drop_table(name)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change()")


def _people() -> None:
    op.create_table(
        "user",
        _id(),
        sa.Column("name", sa.String(80), nullable=False),
        _word("role"),
        sa.Column("active", sa.Boolean(), nullable=False),
        _time("created"),
        sa.CheckConstraint("role IN ('admin', 'manager', 'labeler')", name=op.f("ck_user_role")),
        sa.UniqueConstraint("name", name="uq_user_name"),
        sa.PrimaryKeyConstraint("id", name="pk_user"),
    )
    for table, moments in (("login_token", ["expires"]), ("session", ["last_seen", "expires"])):
        op.create_table(
            table,
            sa.Column("hash", sa.String(64), nullable=False),
            _number("user_id"),
            _time("created"),
            *(_time(name) for name in moments),
            *([_time("used_at", nullable=True)] if table == "login_token" else []),
            _refers(table, "user_id", "user"),
            sa.PrimaryKeyConstraint("hash", name=f"pk_{table}"),
        )
        op.create_index(f"ix_{table}_user_id", table, ["user_id"])


def _projects() -> None:
    modes = "'ranking', 'pairwise', 'thumbs', 'rating', 'demonstration'"
    op.create_table(
        "project",
        _id(),
        sa.Column("name", sa.String(80), nullable=False),
        _json("title"),
        _json("criterion"),
        sa.Column("higher_is_better", sa.Boolean(), nullable=False),
        _word("mode"),
        _word("ties"),
        sa.Column("overlap", sa.Integer(), nullable=False),
        sa.Column("content_warning", sa.Boolean(), nullable=False),
        sa.Column("rating_min", sa.Integer(), nullable=False),
        sa.Column("rating_max", sa.Integer(), nullable=False),
        sa.Column("gold_share", sa.Double(), nullable=False),
        sa.Column("repeat_share", sa.Double(), nullable=False),
        sa.Column("instructions_version", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        _time("created"),
        sa.CheckConstraint(f"mode IN ({modes})", name=op.f("ck_project_mode")),
        sa.CheckConstraint("ties IN ('allow', 'discourage', 'forbid')", name=op.f("ck_project_ties")),
        sa.CheckConstraint("overlap >= 1", name=op.f("ck_project_overlap")),
        sa.CheckConstraint("rating_min < rating_max", name=op.f("ck_project_rating")),
        sa.UniqueConstraint("name", name="uq_project_name"),
        sa.PrimaryKeyConstraint("id", name="pk_project"),
    )
    op.create_table(
        "membership",
        _number("project_id"),
        _number("user_id"),
        _word("state"),
        _time("created"),
        sa.CheckConstraint("state IN ('active', 'paused', 'excluded')", name=op.f("ck_membership_state")),
        _refers("membership", "project_id", "project"),
        _refers("membership", "user_id", "user"),
        sa.PrimaryKeyConstraint("project_id", "user_id", name="pk_membership"),
    )
    op.create_index("ix_membership_user_id", "membership", ["user_id"])


def _reading() -> None:
    op.create_table(
        "instruction",
        _number("project_id"),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        _json("text"),
        _time("created"),
        _refers("instruction", "project_id", "project"),
        sa.PrimaryKeyConstraint("project_id", "version", name="pk_instruction"),
    )
    op.create_table(
        "ack",
        _number("user_id"),
        _number("project_id"),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        _time("created"),
        _refers("ack", "user_id", "user"),
        _refers("ack", "project_id", "project"),
        sa.PrimaryKeyConstraint("user_id", "project_id", "version", name="pk_ack"),
    )


def _tasks() -> None:
    op.create_table(
        "task",
        _id(),
        _number("project_id"),
        sa.Column("key", sa.String(200), nullable=False),
        _json("prompt"),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("practice", sa.Boolean(), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("missing", sa.Integer(), nullable=False),
        _time("created"),
        _refers("task", "project_id", "project"),
        sa.UniqueConstraint("project_id", "key", name="uq_task_project_id_key"),
        sa.PrimaryKeyConstraint("id", name="pk_task"),
    )
    op.create_index("ix_task_project_id_missing_position", "task", ["project_id", "missing", "position"])
    columns = ["project_id", "practice", "missing", "wanted"]
    op.create_index("ix_task_project_id_practice_missing_wanted", "task", columns)
    op.create_table(
        "completion",
        _id(),
        _number("task_id"),
        sa.Column("key", sa.String(200), nullable=False),
        _json("text"),
        sa.Column("source_model", sa.String(200)),
        _refers("completion", "task_id", "task"),
        sa.UniqueConstraint("task_id", "key", name="uq_completion_task_id_key"),
        sa.PrimaryKeyConstraint("id", name="pk_completion"),
    )
    op.create_table(
        "gold",
        _number("task_id", autoincrement=False),
        _json("expected"),
        _time("created"),
        _refers("gold", "task_id", "task"),
        sa.PrimaryKeyConstraint("task_id", name="pk_gold"),
    )


def _leases() -> None:
    op.create_table(
        "lease",
        _number("task_id"),
        _number("user_id"),
        _number("project_id"),
        _word("state"),
        sa.Column("revision", sa.Integer(), nullable=False),
        _json("displayed_order"),
        _time("granted"),
        _time("expires"),
        sa.CheckConstraint("state IN ('open', 'submitted', 'skipped', 'surplus')", name=op.f("ck_lease_state")),
        _refers("lease", "task_id", "task"),
        _refers("lease", "user_id", "user"),
        _refers("lease", "project_id", "project"),
        sa.PrimaryKeyConstraint("task_id", "user_id", name="pk_lease"),
    )
    op.create_index("ix_lease_user_id_project_id_state", "lease", ["user_id", "project_id", "state"])
    surplus = sa.text("state = 'surplus'")
    op.create_index("ix_lease_surplus", "lease", ["project_id"], sqlite_where=surplus, postgresql_where=surplus)


def _responses() -> None:
    op.create_table(
        "response",
        _id(),
        _number("task_id"),
        _number("user_id"),
        _number("project_id"),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("client_uuid", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        _word("state"),
        sa.Column("surplus", sa.Boolean(), nullable=False),
        _json("answer"),
        _json("reason"),
        sa.Column("active_ms", sa.BigInteger(), nullable=False),
        sa.Column("wall_ms", sa.BigInteger(), nullable=False),
        _json("events"),
        sa.Column("instructions_version", sa.Integer(), nullable=False),
        _json("displayed_order"),
        _time("created"),
        sa.CheckConstraint("state IN ('draft', 'submitted', 'skipped')", name=op.f("ck_response_state")),
        _refers("response", "task_id", "task"),
        _refers("response", "user_id", "user"),
        _refers("response", "project_id", "project"),
        sa.UniqueConstraint("task_id", "user_id", "revision", name="uq_response_task_id_user_id_revision"),
        sa.UniqueConstraint("user_id", "client_uuid", name="uq_response_user_id_client_uuid"),
        sa.PrimaryKeyConstraint("id", name="pk_response"),
    )
    op.create_index("ix_response_project_id", "response", ["project_id"])


def _findings() -> None:
    op.create_table(
        "flag",
        _id(),
        _number("user_id"),
        _number("project_id"),
        _word("kind"),
        *(sa.Column(name, sa.Double()) for name in ("p", "q", "effect")),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("decision", sa.String(20)),
        _number("decided_by", nullable=True),
        _time("created"),
        _refers("flag", "user_id", "user"),
        _refers("flag", "project_id", "project"),
        _refers("flag", "decided_by", "user"),
        sa.PrimaryKeyConstraint("id", name="pk_flag"),
    )
    op.create_index("ix_flag_project_id", "flag", ["project_id"])
    op.create_table(
        "event",
        _id(),
        _time("created"),
        _number("actor", nullable=True),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        _json("payload"),
        _refers("event", "actor", "user"),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
    )
    op.create_index("ix_event_kind_subject", "event", ["kind", "subject"])


def _forbid_changes() -> None:
    """Let nobody change or remove a response that was sent, or a line of the journal."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'rows of % are only ever added', TG_TABLE_NAME; END $$"
        )
    for table, when in (("response", "OLD.state <> 'draft'"), ("event", "1 = 1")):
        for change in ("UPDATE", "DELETE"):
            head = f"CREATE TRIGGER {table}_{change.lower()} BEFORE {change} ON {table} FOR EACH ROW WHEN ({when})"
            refuse = f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are only ever added'); END"
            op.execute(f"{head} {'EXECUTE FUNCTION refuse_change()' if postgresql else refuse}")


def _id() -> sa.Column[Any]:
    return _number("id")


def _number(name: str, *, nullable: bool = False, autoincrement: Any = "auto") -> sa.Column[Any]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, nullable=nullable, autoincrement=autoincrement)


def _word(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.String(20), nullable=False)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _refers(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=f"fk_{table}_{column}")
