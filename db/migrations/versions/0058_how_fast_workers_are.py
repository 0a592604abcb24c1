"""How fast a worker is in a lane, by what it has delivered there."""

from alembic import op

revision = "0058"
down_revision = "0057"
branch_labels = None
depends_on = None

STEPS = (
    """
ALTER TABLE worker_lane
  ADD COLUMN took_ms BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN work BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN items BIGINT NOT NULL DEFAULT 0
""",
)


def upgrade() -> None:
    """Apply this step."""
    for statement in STEPS:
        op.execute(statement)
