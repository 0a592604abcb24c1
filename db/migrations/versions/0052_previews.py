"""The lease of who makes an item names the picture of how it looks by now."""

from alembic import op

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.execute("ALTER TABLE lease ADD COLUMN preview TEXT")
