"""A project's latest answers by an index: how long they took is asked with every task that is given."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let the index hold the order too: PostgreSQL would sort all answers of the project otherwise."""
    op.create_index("ix_response_project_id_id", "response", ["project_id", "id"])
    op.drop_index("ix_response_project_id", "response")


def downgrade() -> None:
    """Bring the index without the order back."""
    op.create_index("ix_response_project_id", "response", ["project_id"])
    op.drop_index("ix_response_project_id_id", "response")
