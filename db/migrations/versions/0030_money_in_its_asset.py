"""Batches are paid for in USDC too, and by accounts; what is owed back names its asset."""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

CHECKS = {
    "account_pays": "funding <> 'account' OR account_id IS NOT NULL",
    "authorization_pays": "(funding = 'x402') = (paid_by IS NOT NULL)",
    "funded_in_asset": (
        "asset = CASE funding WHEN 'x402' THEN 'microusdc' WHEN 'account' THEN asset"
        " ELSE 'msat' END"
    ),
}


def upgrade() -> None:
    """Apply this step."""
    op.execute("ALTER TABLE batch ADD COLUMN account_id text, ADD COLUMN paid_by text")
    op.drop_constraint(op.f("ck_batch_funding"), "batch")
    op.create_check_constraint(
        op.f("ck_batch_funding"), "batch", "funding IN ('invoice', 'session', 'account', 'x402')"
    )
    for name, condition in CHECKS.items():
        op.create_check_constraint(op.f(f"ck_batch_{name}"), "batch", condition)
    op.execute("CREATE UNIQUE INDEX uq_batch_paid_by ON batch (paid_by)")
    op.execute(
        "CREATE INDEX ix_batch_account_id ON batch (account_id) WHERE account_id IS NOT NULL"
    )
    op.alter_column("payout", "amount_msat", new_column_name="amount")
    op.execute("ALTER TABLE payout ADD COLUMN asset varchar(32) DEFAULT 'msat' NOT NULL")
    op.create_check_constraint(op.f("ck_payout_asset"), "payout", "asset IN ('msat', 'microusdc')")
