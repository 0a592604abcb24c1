"""What a maker wants of us for an item is written with the lease under which it was asked."""

from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.execute(
        "ALTER TABLE lease ADD COLUMN cost_amount bigint NOT NULL DEFAULT 0,"
        " ADD CONSTRAINT ck_lease_cost_not_negative CHECK (cost_amount >= 0)"
    )
