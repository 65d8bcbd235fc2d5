"""Statistics that outlive the site, flags by code and numbers, the number of a project's tasks that count."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the columns; tasks are counted."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "statistics",
        sa.Column("project_id", number, nullable=False, autoincrement=False),
        sa.Column("made", sa.DateTime(timezone=True), nullable=False),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_statistics_project_id"),
        sa.PrimaryKeyConstraint("project_id", name="pk_statistics"),
    )
    op.add_column("flag", sa.Column("said", sa.JSON()))
    op.add_column("project", sa.Column("num_tasks", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    op.execute(
        "UPDATE project SET num_tasks ="
        " (SELECT count(*) FROM task WHERE task.project_id = project.id AND task.wanted > 0)"
    )


def downgrade() -> None:
    """Drop them again."""
    op.drop_column("project", "num_tasks")
    op.drop_column("flag", "said")
    op.drop_table("statistics")
