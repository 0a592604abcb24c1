"""What was asked for by batches that ended long ago is forgotten; a slim row of each item stays."""

from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None

STEPS = (
    "ALTER TABLE batch ADD COLUMN forgotten_at TIMESTAMP WITH TIME ZONE",
    "ALTER TABLE spell_cast ADD COLUMN forgotten_at TIMESTAMP WITH TIME ZONE",
    "ALTER TABLE item ADD COLUMN asked_sha256 TEXT",
    "CREATE INDEX ix_batch_to_forget ON batch (completed_at)"
    " WHERE purged_at IS NOT NULL AND forgotten_at IS NULL",
)


def upgrade() -> None:
    """Apply this step."""
    for statement in STEPS:
        op.execute(statement)
