"""Signed orders of buyers in USDC."""

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE usdc_authorization (
    id TEXT NOT NULL,
    job_id TEXT,
    session_id TEXT,
    batch_id TEXT,
    state VARCHAR(32) NOT NULL,
    purchase TEXT NOT NULL,
    pay_to TEXT NOT NULL,
    amount_microusdc BIGINT NOT NULL,
    window_s BIGINT NOT NULL,
    valid_after_s BIGINT NOT NULL,
    valid_before_s BIGINT NOT NULL,
    signature TEXT NOT NULL,
    tries BIGINT NOT NULL,
    declined BOOLEAN DEFAULT false NOT NULL,
    reason TEXT,
    txid TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    answered_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    check_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_usdc_authorization PRIMARY KEY (id),
    CONSTRAINT ck_usdc_authorization_amount_positive CHECK (amount_microusdc > 0),
    CONSTRAINT ck_usdc_authorization_one_owner
        CHECK (num_nonnulls(job_id, session_id, batch_id) = 1),
    CONSTRAINT ck_usdc_authorization_settled_is_named
        CHECK ((state = 'settled') = (txid IS NOT NULL)),
    CONSTRAINT ck_usdc_authorization_ended_once
        CHECK ((state = 'claimed') = (ended_at IS NULL)),
    CONSTRAINT ck_usdc_authorization_claimed_is_watched
        CHECK ((state = 'claimed') = (check_at IS NOT NULL)),
    CONSTRAINT ck_usdc_authorization_authorizationstate
        CHECK (state IN ('claimed', 'settled', 'failed')),
    CONSTRAINT fk_usdc_authorization_job_id FOREIGN KEY(job_id) REFERENCES job (id)
        DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT fk_usdc_authorization_session_id FOREIGN KEY(session_id) REFERENCES session (id)
        DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT fk_usdc_authorization_batch_id FOREIGN KEY(batch_id) REFERENCES batch (id)
        DEFERRABLE INITIALLY DEFERRED
)
"""
INDEXES = (
    """
CREATE UNIQUE INDEX uq_usdc_authorization_open ON usdc_authorization (purchase)
 WHERE answered_at IS NULL AND state <> 'failed'
""",
    """
CREATE INDEX ix_usdc_authorization_check_at ON usdc_authorization (check_at)
 WHERE check_at IS NOT NULL
""",
    """
CREATE UNIQUE INDEX uq_usdc_authorization_batch_id ON usdc_authorization (batch_id)
 WHERE batch_id IS NOT NULL
""",
)


def upgrade() -> None:
    """Make the table."""
    op.execute(TABLE)
    for index in INDEXES:
        op.execute(index)
