"""What was paid of late is found by its time."""

from alembic import op

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None

STEPS = (
    "DROP INDEX ix_earning_lane",
    "CREATE INDEX ix_earning_created_at ON earning (created_at)",
)


def upgrade() -> None:
    """Apply this step."""
    for statement in STEPS:
        op.execute(statement)
