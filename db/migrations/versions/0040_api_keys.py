"""API keys of accounts."""

from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

TABLES = (
    """
CREATE TABLE api_key (
    sha256 TEXT NOT NULL,
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    name TEXT NOT NULL,
    shown TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    limit_msat BIGINT,
    limit_microusdc BIGINT,
    spent_msat BIGINT NOT NULL,
    spent_microusdc BIGINT NOT NULL,
    CONSTRAINT pk_api_key PRIMARY KEY (sha256),
    CONSTRAINT uq_api_key_id UNIQUE (id),
    CONSTRAINT ck_api_key_spent CHECK (spent_msat >= 0 AND spent_microusdc >= 0),
    CONSTRAINT fk_api_key_account_id FOREIGN KEY(account_id) REFERENCES user_account (id)
)
""",
    "CREATE INDEX ix_api_key_account_id ON api_key (account_id, created_at)",
)


def upgrade() -> None:
    """Apply this step."""
    for statement in TABLES:
        op.execute(statement)
