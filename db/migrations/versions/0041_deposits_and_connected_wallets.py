"""Deposits in USDC and how far a chain is read; connected wallets; an order that is in hand."""

from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
CREATE TABLE usdc_deposit (
    id TEXT NOT NULL,
    network TEXT NOT NULL,
    pay_to TEXT NOT NULL,
    txid TEXT NOT NULL,
    block BIGINT NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE NOT NULL,
    payer TEXT NOT NULL,
    amount_microusdc BIGINT NOT NULL,
    authorization_id TEXT,
    state VARCHAR(32) NOT NULL,
    account_id TEXT,
    note TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    claimed_at TIMESTAMP WITH TIME ZONE,
    gone_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_usdc_deposit PRIMARY KEY (id),
    CONSTRAINT uq_usdc_deposit_authorization_id UNIQUE (authorization_id),
    CONSTRAINT ck_usdc_deposit_depositstate CHECK (state IN ('unclaimed', 'credited')),
    CONSTRAINT ck_usdc_deposit_amount_positive CHECK (amount_microusdc > 0),
    CONSTRAINT ck_usdc_deposit_credited_to_one
        CHECK ((state = 'credited') = (account_id IS NOT NULL)),
    CONSTRAINT ck_usdc_deposit_claimed_is_credited
        CHECK (claimed_at IS NULL OR state = 'credited'),
    CONSTRAINT fk_usdc_deposit_account_id FOREIGN KEY(account_id) REFERENCES user_account (id)
)
""",
    "CREATE INDEX ix_usdc_deposit_account_id ON usdc_deposit (account_id)",
    "CREATE INDEX ix_usdc_deposit_block ON usdc_deposit (network, pay_to, block)",
    "CREATE INDEX ix_usdc_deposit_gone ON usdc_deposit (gone_at) WHERE gone_at IS NOT NULL",
    "CREATE INDEX ix_usdc_deposit_unclaimed ON usdc_deposit (payer) WHERE state = 'unclaimed'",
    "CREATE INDEX ix_entry_microusdc_at ON entry (at) WHERE asset = 'microusdc'",
    "CREATE INDEX ix_entry_microusdc_id ON entry (id) WHERE asset = 'microusdc'",
    """
CREATE TABLE chain_block (
    network TEXT NOT NULL,
    pay_to TEXT NOT NULL,
    number BIGINT NOT NULL,
    hash TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_chain_block PRIMARY KEY (network, pay_to, number)
)
""",
)


def upgrade() -> None:
    """Apply this step."""
    op.execute("""
CREATE TABLE connect_request (
    id TEXT NOT NULL,
    kind VARCHAR(32) NOT NULL,
    state VARCHAR(32) NOT NULL,
    account_id TEXT NOT NULL,
    network TEXT,
    amount BIGINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    paid_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_connect_request PRIMARY KEY (id),
    CONSTRAINT uq_connect_request_account_id UNIQUE (account_id),
    CONSTRAINT ck_connect_request_connectkind CHECK (kind IN ('lightning', 'usdc')),
    CONSTRAINT ck_connect_request_connectstate CHECK (state IN ('open', 'paid', 'lapsed')),
    CONSTRAINT ck_connect_request_amount_positive CHECK (amount > 0),
    CONSTRAINT ck_connect_request_usdc_has_network
        CHECK ((kind = 'usdc') = (network IS NOT NULL)),
    CONSTRAINT ck_connect_request_paid_once CHECK ((state = 'paid') = (paid_at IS NOT NULL)),
    CONSTRAINT fk_connect_request_account_id FOREIGN KEY(account_id) REFERENCES user_account (id)
        DEFERRABLE INITIALLY DEFERRED
)
""")
    op.execute(
        "CREATE UNIQUE INDEX uq_connect_request_magic ON connect_request (network, amount)"
        " WHERE kind = 'usdc' AND state = 'open'"
    )
    op.execute(
        "CREATE INDEX ix_connect_request_expires_at ON connect_request (expires_at)"
        " WHERE state <> 'paid'"
    )
    for statement in STATEMENTS:
        op.execute(statement)
    op.execute("ALTER TABLE usdc_attempt ADD COLUMN in_hand BOOLEAN NOT NULL DEFAULT true")
    op.execute("DROP INDEX uq_usdc_attempt_one_at_once")
    op.execute(
        "CREATE UNIQUE INDEX uq_usdc_attempt_one_at_once ON usdc_attempt (network)"
        " WHERE outcome = 'live' AND txid IS NULL AND in_hand"
    )
    op.execute(
        "ALTER TABLE batch ADD CONSTRAINT fk_batch_account_id FOREIGN KEY (account_id)"
        " REFERENCES user_account (id) DEFERRABLE INITIALLY DEFERRED"
    )
