"""What is listed by its time or its use has an index: what is newest is not looked for in all."""

from alembic import op

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None

STEPS = (
    "DROP INDEX ix_batch_account_id",
    "CREATE INDEX ix_batch_account_id ON batch (account_id, created_at)"
    " WHERE account_id IS NOT NULL",
    "CREATE INDEX ix_batch_with_files ON batch (account_id)"
    " WHERE account_id IS NOT NULL AND purged_at IS NULL",
    """
CREATE TABLE spell_use (
    spell_id TEXT NOT NULL,
    uses BIGINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_spell_use PRIMARY KEY (spell_id),
    CONSTRAINT fk_spell_use_spell_id FOREIGN KEY(spell_id) REFERENCES spell (id),
    CONSTRAINT ck_spell_use_uses_counted CHECK (uses >= 0)
)
""",
    """
INSERT INTO spell_use (spell_id, uses, created_at)
SELECT s.id, (SELECT count(*) FROM spell_version v JOIN spell_cast c ON c.version_id = v.id
               WHERE v.spell_id = s.id AND c.paid_at IS NOT NULL), s.created_at
  FROM spell s
""",
    "CREATE INDEX ix_spell_use_most ON spell_use (uses, created_at)",
    "CREATE INDEX ix_spell_of_house ON spell (slug) WHERE author_id IS NULL",
    "ALTER TABLE notice ADD COLUMN account_id TEXT",
    "UPDATE notice SET account_id = w.account_id FROM webhook w"
    " WHERE w.id = notice.webhook_id AND w.account_id IS NOT NULL",
    "CREATE INDEX ix_notice_account_id ON notice (account_id, created_at)"
    " WHERE account_id IS NOT NULL",
    "DROP INDEX ix_webhook_account_id",
    "DROP INDEX ix_notice_webhook_id",
    "CREATE INDEX ix_notice_webhook_id ON notice (webhook_id, created_at)",
    "CREATE INDEX ix_webhook_created_at ON webhook (created_at)",
    "CREATE INDEX ix_usdc_authorization_account_id ON usdc_authorization (account_id)"
    " WHERE account_id IS NOT NULL",
    "CREATE INDEX ix_usdc_authorization_session_id ON usdc_authorization (session_id)"
    " WHERE session_id IS NOT NULL",
    "CREATE INDEX ix_usdc_deposit_nobodys ON usdc_deposit (created_at) WHERE state = 'unclaimed'",
    "CREATE INDEX ix_connect_request_open ON connect_request (kind, expires_at)"
    " WHERE state = 'open'",
    "DROP INDEX ix_connect_request_expires_at",
    "CREATE INDEX ix_connect_request_expires_at ON connect_request (expires_at)"
    " WHERE state = 'lapsed'",
    "CREATE INDEX ix_connect_request_before ON connect_request (network, amount, created_at)"
    " WHERE kind = 'usdc' AND state <> 'open'",
)


def upgrade() -> None:
    """Apply this step."""
    for statement in STEPS:
        op.execute(statement)
