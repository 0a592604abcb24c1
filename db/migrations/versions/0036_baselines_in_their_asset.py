"""What a rail held beyond the books is told in the smallest unit of its own asset."""

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.alter_column("rail_baseline", "beyond_msat", new_column_name="beyond")
