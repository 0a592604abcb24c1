"""Workers of the network: what they make, what they hold, and what they have earned."""

from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None

STEPS = (
    """
CREATE TABLE worker (
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    shown TEXT NOT NULL,
    pay_to TEXT NOT NULL,
    state VARCHAR(32) NOT NULL,
    delivered BIGINT DEFAULT 0 NOT NULL,
    held_msat BIGINT DEFAULT 0 NOT NULL,
    held_microusdc BIGINT DEFAULT 0 NOT NULL,
    trusted_at TIMESTAMP WITH TIME ZONE,
    silent BIGINT DEFAULT 0 NOT NULL,
    silent_since TIMESTAMP WITH TIME ZONE,
    given_back BIGINT DEFAULT 0 NOT NULL,
    given_back_since TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_worker PRIMARY KEY (id),
    CONSTRAINT uq_worker_account_id UNIQUE (account_id),
    CONSTRAINT uq_worker_sha256 UNIQUE (sha256),
    CONSTRAINT fk_worker_account_id FOREIGN KEY(account_id) REFERENCES user_account (id)
        DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT ck_worker_workerstate
        CHECK (state IN ('online', 'draining', 'paused', 'banned')),
    CONSTRAINT ck_worker_held_not_negative CHECK (held_msat >= 0 AND held_microusdc >= 0),
    CONSTRAINT ck_worker_trusted_has_all
        CHECK (trusted_at IS NULL OR (held_msat = 0 AND held_microusdc = 0))
)
""",
    "CREATE INDEX ix_worker_new ON worker (created_at) WHERE trusted_at IS NULL",
    """
CREATE TABLE worker_lane (
    worker_id TEXT NOT NULL,
    lane TEXT NOT NULL,
    most_pixels BIGINT NOT NULL,
    vram_gb BIGINT NOT NULL,
    last_seen TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_worker_lane PRIMARY KEY (worker_id, lane),
    CONSTRAINT fk_worker_lane_worker_id FOREIGN KEY(worker_id) REFERENCES worker (id)
) WITH (fillfactor=50)
""",
    """
CREATE TABLE earning (
    item_id TEXT NOT NULL,
    worker_id TEXT NOT NULL,
    lane TEXT NOT NULL,
    asset VARCHAR(32) NOT NULL,
    amount BIGINT NOT NULL,
    held_amount BIGINT NOT NULL,
    took_ms BIGINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_earning PRIMARY KEY (item_id),
    CONSTRAINT fk_earning_item_id FOREIGN KEY(item_id) REFERENCES item (id),
    CONSTRAINT fk_earning_worker_id FOREIGN KEY(worker_id) REFERENCES worker (id),
    CONSTRAINT ck_earning_asset CHECK (asset IN ('msat', 'microusdc')),
    CONSTRAINT ck_earning_held_of_amount CHECK (held_amount BETWEEN 0 AND amount),
    CONSTRAINT ck_earning_took_not_negative CHECK (took_ms >= 0)
)
""",
    "CREATE INDEX ix_earning_worker_id ON earning (worker_id, created_at)",
    "CREATE INDEX ix_earning_lane ON earning (lane, created_at)",
    "ALTER TABLE lease ADD COLUMN id TEXT",
    "ALTER TABLE lease ADD COLUMN pay_pct BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE lease ADD CONSTRAINT ck_lease_pay_in_percent CHECK (pay_pct BETWEEN 0 AND 100)",
    "CREATE UNIQUE INDEX uq_lease_id ON lease (id) WHERE id IS NOT NULL",
    "CREATE INDEX ix_lease_held_by ON lease (worker) WHERE state = 'held' AND id IS NOT NULL",
)


def upgrade() -> None:
    """Apply this step."""
    for statement in STEPS:
        op.execute(statement)
