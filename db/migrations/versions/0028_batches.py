"""Batches, items and leases; and invoices and payouts of batches."""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

TABLES = (
    """
CREATE TABLE batch (
    id TEXT NOT NULL,
    state VARCHAR(32) NOT NULL,
    version BIGINT NOT NULL,
    funding VARCHAR(32) NOT NULL,
    asset VARCHAR(32) NOT NULL,
    price_amount BIGINT NOT NULL,
    charged_amount BIGINT DEFAULT 0 NOT NULL,
    items BIGINT NOT NULL,
    delivered BIGINT DEFAULT 0 NOT NULL,
    failed BIGINT DEFAULT 0 NOT NULL,
    cancelled BIGINT DEFAULT 0 NOT NULL,
    called_off BOOLEAN DEFAULT false NOT NULL,
    session_id TEXT,
    credential TEXT[],
    budgets TEXT[],
    refund_to TEXT,
    payer TEXT NOT NULL,
    quote JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    completed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_batch PRIMARY KEY (id),
    CONSTRAINT ck_batch_price_positive CHECK (price_amount > 0),
    CONSTRAINT ck_batch_charged_within_price CHECK (charged_amount BETWEEN 0 AND price_amount),
    CONSTRAINT ck_batch_items_counted CHECK (items BETWEEN 0 AND 500),
    CONSTRAINT ck_batch_ended_counted CHECK (least(delivered, failed, cancelled) >= 0),
    CONSTRAINT ck_batch_ended_within_items CHECK (delivered + failed + cancelled <= items),
    CONSTRAINT ck_batch_session_pays CHECK ((funding = 'session') = (session_id IS NOT NULL)),
    CONSTRAINT ck_batch_batchstate
        CHECK (state IN ('awaiting_payment', 'queued', 'processing',
        'completed', 'failed', 'cancelled')),
    CONSTRAINT ck_batch_funding CHECK (funding IN ('invoice', 'session')),
    CONSTRAINT ck_batch_asset CHECK (asset IN ('msat', 'microusdc')),
    CONSTRAINT fk_batch_session_id FOREIGN KEY(session_id) REFERENCES session (id)
)
""",
    """
CREATE TABLE item (
    id TEXT NOT NULL,
    batch_id TEXT NOT NULL,
    place BIGINT NOT NULL,
    state VARCHAR(32) NOT NULL,
    lane TEXT NOT NULL,
    rank BIGINT,
    weight BIGINT NOT NULL,
    share_amount BIGINT NOT NULL,
    number BIGINT DEFAULT 0 NOT NULL,
    tries BIGINT DEFAULT 0 NOT NULL,
    tried TEXT[] DEFAULT '{}' NOT NULL,
    asked JSONB NOT NULL,
    reason TEXT,
    sha256 TEXT,
    artifact TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_item PRIMARY KEY (id),
    CONSTRAINT ck_item_share_not_negative CHECK (share_amount >= 0),
    CONSTRAINT ck_item_weight_positive CHECK (weight > 0),
    CONSTRAINT ck_item_tries_within_number CHECK (tries BETWEEN 0 AND number),
    CONSTRAINT ck_item_completed_has_bytes CHECK ((state = 'completed') = (sha256 IS NOT NULL)),
    CONSTRAINT fk_item_batch_id FOREIGN KEY(batch_id) REFERENCES batch (id),
    CONSTRAINT ck_item_itemstate
        CHECK (state IN ('waiting', 'pending', 'claimed', 'processing',
        'completed', 'failed', 'dead_letter', 'cancelled'))
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0)
""",
    """
CREATE TABLE lease (
    item_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    state VARCHAR(32) NOT NULL,
    worker TEXT NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    deadline TIMESTAMP WITH TIME ZONE NOT NULL,
    progress BIGINT DEFAULT 0 NOT NULL,
    sha256 TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_lease PRIMARY KEY (item_id, number),
    CONSTRAINT ck_lease_progress_in_percent CHECK (progress BETWEEN 0 AND 100),
    CONSTRAINT fk_lease_item_id FOREIGN KEY(item_id) REFERENCES item (id),
    CONSTRAINT ck_lease_leasestate CHECK (state IN ('held', 'done', 'released', 'lapsed'))
) WITH (fillfactor = 50)
""",
    """
CREATE TABLE lane_floor (
    lane TEXT NOT NULL,
    rank BIGINT NOT NULL,
    CONSTRAINT pk_lane_floor PRIMARY KEY (lane)
)
""",
    """
CREATE TABLE lane_turn (
    lane TEXT NOT NULL,
    payer TEXT NOT NULL,
    finish BIGINT NOT NULL,
    CONSTRAINT pk_lane_turn PRIMARY KEY (lane, payer)
)
""",
)
INDEXES = (
    "CREATE INDEX ix_batch_open ON batch (payer)"
    " WHERE state IN ('awaiting_payment', 'queued', 'processing')",
    "CREATE INDEX ix_batch_session_id ON batch (session_id) WHERE session_id IS NOT NULL",
    "CREATE INDEX item_ready ON item (lane, rank, id) WHERE state = 'pending' AND rank IS NOT NULL",
    "CREATE UNIQUE INDEX uq_item_place ON item (batch_id, place)",
    "CREATE UNIQUE INDEX uq_lease_one_held ON lease (item_id) WHERE state = 'held'",
)
OWNED = ("invoice", "payout")


def upgrade() -> None:
    """Apply this step."""
    for statement in (*TABLES, *INDEXES):
        op.execute(statement)
    for table in OWNED:
        op.execute(f"ALTER TABLE {table} ADD COLUMN batch_id text")
        op.create_foreign_key(op.f(f"fk_{table}_batch_id"), table, "batch", ["batch_id"], ["id"])
        op.execute(
            f"CREATE INDEX ix_{table}_batch_id ON {table} (batch_id) WHERE batch_id IS NOT NULL"
        )
        op.drop_constraint(op.f(f"ck_{table}_one_owner"), table)
        op.create_check_constraint(
            op.f(f"ck_{table}_one_owner"), table, "num_nonnulls(job_id, session_id, batch_id) = 1"
        )
    op.execute(
        "CREATE INDEX ix_payout_waiting ON payout (created_at)"
        " WHERE state = 'owed' AND failures < 3"
    )
    op.drop_index("ix_invoice_unpaid", "invoice")
    op.execute(
        "CREATE INDEX ix_invoice_unpaid ON invoice (expires_at) WHERE state IN"
        " ('expired', 'canceled')"
        " AND purpose IN ('eval', 'ask', 'deposit', 'topup', 'batch')"
    )
