"""Jobs at a firm price are paid for in USDC too, by an order that was claimed for them."""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None

PAID_IN_USDC = (
    "CASE funding WHEN 'x402' THEN paid_by IS NOT NULL AND eval_microusdc > 0"
    " ELSE num_nonnulls(paid_by, eval_microusdc, account_id) = 0 END"
)
FUNDING = "funding IN ('invoices', 'invoice', 'session', 'x402')"


def upgrade() -> None:
    """Apply this step."""
    op.add_column("job", sa.Column("eval_microusdc", sa.BigInteger(), nullable=True))
    op.add_column("job", sa.Column("paid_by", sa.Text(), nullable=True))
    op.add_column("job", sa.Column("account_id", sa.Text(), nullable=True))
    op.create_foreign_key(op.f("fk_job_account_id"), "job", "user_account", ["account_id"], ["id"])
    op.drop_constraint(op.f("ck_job_funding"), "job")
    op.create_check_constraint(op.f("ck_job_funding"), "job", FUNDING)
    op.create_check_constraint(op.f("ck_job_authorization_pays"), "job", PAID_IN_USDC)
    op.create_index(
        "ix_job_account_id", "job", ["account_id"],
        postgresql_where=sa.text("account_id IS NOT NULL"),
    )  # fmt: skip
    op.create_index(
        "uq_usdc_authorization_job_id", "usdc_authorization", ["job_id"], unique=True,
        postgresql_where=sa.text("job_id IS NOT NULL"),
    )  # fmt: skip
