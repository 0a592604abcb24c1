"""Webhooks, the notices that are owed to them, and the log of their tries."""

from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

TABLES = (
    """
CREATE TABLE webhook (
    id TEXT NOT NULL,
    job_id TEXT,
    session_id TEXT,
    batch_id TEXT,
    account_id TEXT,
    topic VARCHAR(32) NOT NULL,
    url TEXT NOT NULL,
    receiver TEXT NOT NULL,
    sealed TEXT NOT NULL,
    is_made BOOLEAN NOT NULL,
    shown_at TIMESTAMP WITH TIME ZONE,
    base TEXT,
    facts JSON NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_webhook PRIMARY KEY (id),
    CONSTRAINT ck_webhook_one_owner CHECK (num_nonnulls(job_id, session_id, batch_id) = 1),
    CONSTRAINT ck_webhook_topic CHECK (topic IN ('job', 'session', 'batch', 'generation', 'spell'))
)
""",
    "CREATE INDEX ix_webhook_account_id ON webhook (account_id, created_at)"
    " WHERE account_id IS NOT NULL",
    "CREATE UNIQUE INDEX uq_webhook_batch_id ON webhook (batch_id)",
    "CREATE UNIQUE INDEX uq_webhook_job_id ON webhook (job_id)",
    "CREATE UNIQUE INDEX uq_webhook_session_id ON webhook (session_id)",
    """
CREATE TABLE notice (
    id TEXT NOT NULL,
    webhook_id TEXT NOT NULL,
    receiver TEXT NOT NULL,
    event TEXT NOT NULL,
    state VARCHAR(32) NOT NULL,
    tries BIGINT DEFAULT 0 NOT NULL,
    misses BIGINT DEFAULT 0 NOT NULL,
    body TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_notice PRIMARY KEY (id),
    CONSTRAINT ck_notice_misses_within_tries CHECK (misses BETWEEN 0 AND tries),
    CONSTRAINT ck_notice_ended_at_its_end CHECK ((state = 'wanted') = (ended_at IS NULL)),
    CONSTRAINT fk_notice_webhook_id FOREIGN KEY(webhook_id) REFERENCES webhook (id)
        ON DELETE CASCADE,
    CONSTRAINT ck_notice_noticestate CHECK (state IN ('wanted', 'delivered', 'given_up'))
)
""",
    "CREATE INDEX ix_notice_ended_at ON notice (ended_at) WHERE ended_at IS NOT NULL",
    "CREATE INDEX ix_notice_receiver ON notice (receiver, due_at) WHERE state = 'wanted'",
    "CREATE INDEX ix_notice_webhook_id ON notice (webhook_id)",
    """
CREATE TABLE notice_try (
    notice_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    status BIGINT,
    took_ms BIGINT NOT NULL,
    said TEXT NOT NULL,
    CONSTRAINT pk_notice_try PRIMARY KEY (notice_id, number),
    CONSTRAINT ck_notice_try_number_positive CHECK (number > 0),
    CONSTRAINT ck_notice_try_took_not_negative CHECK (took_ms >= 0),
    CONSTRAINT fk_notice_try_notice_id FOREIGN KEY(notice_id) REFERENCES notice (id)
        ON DELETE CASCADE
)
""",
)


def upgrade() -> None:
    """Apply this step."""
    for statement in TABLES:
        op.execute(statement)
