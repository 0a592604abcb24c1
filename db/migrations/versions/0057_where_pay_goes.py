"""Where a worker's pay goes, and how that changes; what it has earned is counted."""

from alembic import op

revision = "0057"
down_revision = "0056"
branch_labels = None
depends_on = None

STEPS = (
    """
ALTER TABLE worker
  ADD COLUMN usdc_to TEXT,
  ADD COLUMN payout_key TEXT,
  ADD COLUMN signed BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN next_pay_to TEXT,
  ADD COLUMN next_usdc_to TEXT,
  ADD COLUMN next_at TIMESTAMPTZ,
  ADD COLUMN earned_msat BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN earned_microusdc BIGINT NOT NULL DEFAULT 0,
  ADD CONSTRAINT ck_worker_next_has_its_time
      CHECK ((next_at IS NULL) = (next_pay_to IS NULL AND next_usdc_to IS NULL)),
  ADD CONSTRAINT ck_worker_signed_at_once CHECK (payout_key IS NULL OR next_at IS NULL)
""",
    """
UPDATE worker w SET earned_msat = e.msat, earned_microusdc = e.microusdc
  FROM (SELECT worker_id, coalesce(sum(amount) FILTER (WHERE asset = 'msat'), 0) AS msat,
               coalesce(sum(amount) FILTER (WHERE asset = 'microusdc'), 0) AS microusdc
          FROM earning GROUP BY worker_id) e WHERE e.worker_id = w.id
""",
    # A page of an account's payouts is read by the time; those that are not paid apart.
    "DROP INDEX ix_payout_account_id",
    "CREATE INDEX ix_payout_account_id ON payout (account_id, created_at)"
    " WHERE account_id IS NOT NULL",
    "CREATE INDEX ix_payout_account_unpaid ON payout (account_id, created_at)"
    " WHERE account_id IS NOT NULL AND state <> 'paid'",
)


def upgrade() -> None:
    """Apply this step."""
    for statement in STEPS:
        op.execute(statement)
