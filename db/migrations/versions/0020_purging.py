"""What nobody paid for is purged; and the switches of an operator."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "lapsed_invoice",
        sa.Column("payment_hash", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("amount_msat", sa.BigInteger(), nullable=False),
        sa.Column("wallet", sa.Text(), nullable=True),
        sa.Column("refund_to", sa.Text(), nullable=True),
        sa.Column("eval_msat", sa.BigInteger(), nullable=True),
        sa.Column("quote", postgresql.JSONB(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("check_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("payment_hash", name=op.f("pk_lapsed_invoice")),
    )
    op.create_index("ix_lapsed_invoice_expires_at", "lapsed_invoice", ["expires_at"])
    for column in ("check_at", "wallet"):
        op.create_index(
            f"ix_lapsed_invoice_{column}",
            "lapsed_invoice",
            [column],
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )
    op.create_index(
        "ix_invoice_unpaid",
        "invoice",
        ["expires_at"],
        postgresql_where=sa.text(
            "state IN ('expired', 'canceled') AND purpose IN ('eval', 'ask', 'deposit', 'topup')"
        ),
    )
    op.create_table(
        "switch",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("is_on", sa.Boolean(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_switch")),
    )
