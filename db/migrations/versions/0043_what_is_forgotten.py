"""Leases of batches that ended long ago are forgotten; since when a recovery code is what it is."""

from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.execute("ALTER TABLE batch ADD COLUMN purged_at TIMESTAMP WITH TIME ZONE")
    op.execute(
        "CREATE INDEX ix_batch_to_purge ON batch (completed_at)"
        " WHERE completed_at IS NOT NULL AND purged_at IS NULL"
    )
    op.execute("ALTER TABLE identity ADD COLUMN recovery_at TIMESTAMP WITH TIME ZONE")
