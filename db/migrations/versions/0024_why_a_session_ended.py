"""A session keeps why it is expired: of those that ended before this step, nobody knows."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column("session", sa.Column("ended", sa.Text))
    op.create_check_constraint(
        op.f("ck_session_ended"), "session", "ended IN ('closed', 'inactive', 'unpaid')"
    )
