"""Orders of ours that pay what is owed in USDC: one live for a payout, one at once on a network."""

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.execute("""
CREATE TABLE usdc_attempt (
    payout_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    network TEXT NOT NULL,
    payer TEXT NOT NULL,
    payee TEXT NOT NULL,
    amount_microusdc BIGINT NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    outcome TEXT NOT NULL,
    txid TEXT,
    check_at TIMESTAMP WITH TIME ZONE,
    checks BIGINT NOT NULL,
    CONSTRAINT pk_usdc_attempt PRIMARY KEY (payout_id, number),
    CONSTRAINT ck_usdc_attempt_outcome_known CHECK (outcome IN ('live', 'settled', 'returned')),
    CONSTRAINT ck_usdc_attempt_amount_positive CHECK (amount_microusdc > 0),
    CONSTRAINT fk_usdc_attempt_payout_id FOREIGN KEY(payout_id) REFERENCES payout (id)
)
""")
    op.execute(
        "CREATE UNIQUE INDEX uq_usdc_attempt_one_live ON usdc_attempt (payout_id)"
        " WHERE outcome IN ('live', 'settled')"
    )
    op.execute(
        "CREATE UNIQUE INDEX uq_usdc_attempt_one_at_once ON usdc_attempt (network)"
        " WHERE outcome = 'live' AND txid IS NULL"
    )
    op.execute(
        "CREATE INDEX ix_usdc_attempt_check_at ON usdc_attempt (check_at)"
        " WHERE check_at IS NOT NULL"
    )
