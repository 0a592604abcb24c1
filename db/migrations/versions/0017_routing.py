"""Who bears the routing of a payout."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step. What was sent before was borne by the house."""
    op.add_column(
        "free_day",
        sa.Column("routing_msat", sa.BigInteger(), nullable=False, server_default="0"),
    )
    op.create_check_constraint(
        op.f("ck_free_day_routing_not_negative"), "free_day", "routing_msat >= 0"
    )
    for name in ("sent_msat", "borne_msat"):
        op.add_column("payout_attempt", sa.Column(name, sa.BigInteger(), nullable=True))
    op.add_column(
        "payout_attempt",
        sa.Column("free_msat", sa.BigInteger(), nullable=False, server_default="0"),
    )
    op.alter_column("payout_attempt", "free_msat", server_default=None)
    op.add_column("payout_attempt", sa.Column("free_day", sa.Date(), nullable=True))
    op.execute(
        "UPDATE payout_attempt a SET sent_msat = p.amount_msat, borne_msat = a.fee_limit_msat"
        " FROM payout p WHERE p.id = a.payout_id"
    )
    for name in ("sent_msat", "borne_msat"):
        op.alter_column("payout_attempt", name, nullable=False)
    op.create_index(
        "ix_payout_attempt_free_day",
        "payout_attempt",
        ["free_day"],
        postgresql_where=sa.text("free_day IS NOT NULL"),
    )
