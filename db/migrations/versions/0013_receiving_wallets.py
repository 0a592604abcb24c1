"""Receiving wallets, one after the other, and which of them made an invoice."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "receiving_wallet",
        sa.Column("rail", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("identity", sa.Text(), nullable=True),
        sa.Column("sealed", sa.Text(), nullable=True),
        sa.Column("wanted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("left_msat", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "num_nulls(identity, opened_at) IN (0, 2)",
            name=op.f("ck_receiving_wallet_opened_with_its_identity"),
        ),
        sa.CheckConstraint(
            "num_nulls(closed_at, left_msat) IN (0, 2)",
            name=op.f("ck_receiving_wallet_closed_with_its_rest"),
        ),
        sa.CheckConstraint(
            "closed_at IS NULL OR retired_at IS NOT NULL",
            name=op.f("ck_receiving_wallet_retired_then_closed"),
        ),
        sa.PrimaryKeyConstraint("rail", "number", name=op.f("pk_receiving_wallet")),
        sa.UniqueConstraint("rail", "identity", name=op.f("uq_receiving_wallet_rail_identity")),
    )
    op.create_table(
        "wallet_transfer",
        sa.Column("payment_hash", sa.Text(), nullable=False),
        sa.Column("bolt11", sa.Text(), nullable=False),
        sa.Column("rail", sa.Text(), nullable=False),
        sa.Column("from_wallet", sa.Text(), nullable=False),
        sa.Column("to_wallet", sa.Text(), nullable=False),
        sa.Column("amount_msat", sa.BigInteger(), nullable=False),
        sa.Column("fee_msat", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("amount_msat > 0", name=op.f("ck_wallet_transfer_amount_positive")),
        sa.CheckConstraint(
            "outcome IN ('live', 'settled', 'failed')",
            name=op.f("ck_wallet_transfer_outcome_known"),
        ),
        sa.PrimaryKeyConstraint("payment_hash", name=op.f("pk_wallet_transfer")),
    )
    op.create_index(
        "uq_wallet_transfer_one_live",
        "wallet_transfer",
        ["from_wallet"],
        unique=True,
        postgresql_where=sa.text("outcome = 'live'"),
    )
    op.add_column("invoice", sa.Column("wallet", sa.Text(), nullable=True))
    op.create_index(
        "ix_invoice_wallet",
        "invoice",
        ["wallet"],
        unique=False,
        postgresql_where=sa.text("wallet IS NOT NULL"),
    )
