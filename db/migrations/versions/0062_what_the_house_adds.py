"""Canaries: what the house has added of its own to what a worker has forfeited, for its buyers."""

from alembic import op

revision = "0062"
down_revision = "0061"
branch_labels = None
depends_on = None

STEPS = (
    "ALTER TABLE canary ADD COLUMN added_msat BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE canary ADD COLUMN added_microusdc BIGINT DEFAULT 0 NOT NULL",
    """
ALTER TABLE canary ADD CONSTRAINT ck_canary_added_not_negative
    CHECK (least(added_msat, added_microusdc) >= 0)
""",
)


def upgrade() -> None:
    """Apply this step."""
    for statement in STEPS:
        op.execute(statement)
