"""Orders in USDC that failed are purged, the oldest first."""

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.execute(
        "CREATE INDEX ix_usdc_authorization_failed ON usdc_authorization (ended_at)"
        " WHERE state = 'failed'"
    )
