"""What a call on a session that broke has cost the house: of earlier ones, nobody knows."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    spent = sa.Column("spent_msat", sa.BigInteger, nullable=False, server_default=sa.text("0"))
    op.add_column("hold", spent)
    op.create_check_constraint(op.f("ck_hold_spent_not_negative"), "hold", "spent_msat >= 0")
