"""Canaries: items that the house orders of a worker; and what comes of one that is failed."""

from alembic import op

revision = "0061"
down_revision = "0060"
branch_labels = None
depends_on = None

STEPS = (
    "ALTER TABLE worker ADD COLUMN forfeited_msat BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE worker ADD COLUMN forfeited_microusdc BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE worker ADD COLUMN failed BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE worker ADD COLUMN lost BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE worker ADD COLUMN late BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE worker ADD COLUMN canary_due BOOLEAN DEFAULT false NOT NULL",
    "ALTER TABLE worker ADD COLUMN canaries_passed BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE worker ADD COLUMN canaries_failed BIGINT DEFAULT 0 NOT NULL",
    "ALTER TABLE batch DROP CONSTRAINT ck_batch_funding",
    """
ALTER TABLE batch ADD CONSTRAINT ck_batch_funding
    CHECK (funding IN ('invoice', 'session', 'account', 'x402', 'house'))
""",
    """
CREATE TABLE canary (
    item_id TEXT NOT NULL,
    worker_id TEXT NOT NULL,
    state VARCHAR(32) NOT NULL,
    unlike_pct BIGINT,
    forfeited_msat BIGINT DEFAULT 0 NOT NULL,
    forfeited_microusdc BIGINT DEFAULT 0 NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    judged_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_canary PRIMARY KEY (item_id),
    CONSTRAINT fk_canary_item_id FOREIGN KEY(item_id) REFERENCES item (id),
    CONSTRAINT fk_canary_worker_id FOREIGN KEY(worker_id) REFERENCES worker (id),
    CONSTRAINT ck_canary_canarystate CHECK (state IN ('given', 'passed', 'failed', 'void')),
    CONSTRAINT ck_canary_unlike_in_percent CHECK (unlike_pct BETWEEN 0 AND 100),
    CONSTRAINT ck_canary_forfeited_not_negative
        CHECK (least(forfeited_msat, forfeited_microusdc) >= 0),
    CONSTRAINT ck_canary_judged_has_time CHECK ((state = 'given') = (judged_at IS NULL))
)
""",
    "CREATE INDEX ix_canary_given ON canary (created_at) WHERE state = 'given'",
    "CREATE INDEX ix_canary_worker_id ON canary (worker_id)",
    """
CREATE TABLE amends (
    id TEXT NOT NULL,
    canary_id TEXT NOT NULL,
    batch_id TEXT NOT NULL,
    state VARCHAR(32) NOT NULL,
    asset VARCHAR(32) NOT NULL,
    amount BIGINT NOT NULL,
    number BIGINT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_amends PRIMARY KEY (id),
    CONSTRAINT fk_amends_canary_id FOREIGN KEY(canary_id) REFERENCES canary (item_id),
    CONSTRAINT fk_amends_batch_id FOREIGN KEY(batch_id) REFERENCES batch (id),
    CONSTRAINT ck_amends_amendsstate CHECK (state IN ('due', 'made')),
    CONSTRAINT ck_amends_asset CHECK (asset IN ('msat', 'microusdc')),
    CONSTRAINT ck_amends_amount_positive CHECK (amount > 0),
    CONSTRAINT ck_amends_made_has_number CHECK ((state = 'made') = (number IS NOT NULL))
)
""",
    "CREATE UNIQUE INDEX uq_amends_of_canary ON amends (canary_id, batch_id)",
    "CREATE UNIQUE INDEX uq_amends_number ON amends (batch_id, number)",
    "CREATE INDEX ix_amends_due ON amends (created_at) WHERE state = 'due'",
)


def upgrade() -> None:
    """Apply this step."""
    for statement in STEPS:
        op.execute(statement)
