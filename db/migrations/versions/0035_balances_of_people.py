"""Invoices and payouts of people's accounts."""

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

OWNER = "num_nonnulls(job_id, session_id, batch_id, account_id) = 1"


def upgrade() -> None:
    """Apply this step."""
    for table in ("invoice", "payout", "usdc_authorization"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN account_id TEXT")
        op.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT fk_{table}_account_id"
            " FOREIGN KEY (account_id) REFERENCES user_account (id)"
            + (" DEFERRABLE INITIALLY DEFERRED" if table == "usdc_authorization" else "")
        )
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_one_owner")
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_one_owner CHECK ({OWNER})")
        if table == "usdc_authorization":
            continue
        op.execute(
            f"CREATE INDEX ix_{table}_account_id ON {table} (account_id)"
            " WHERE account_id IS NOT NULL"
        )
    op.execute("DROP INDEX ix_invoice_unpaid")
    op.execute(
        "CREATE INDEX ix_invoice_unpaid ON invoice (expires_at)"
        " WHERE state IN ('expired', 'canceled')"
        " AND purpose IN ('eval', 'ask', 'deposit', 'topup', 'batch', 'credit')"
    )
