"""Accounts of people, the names that open them, and their logins."""

from alembic import op

revision = "0032"
down_revision = "0030"
branch_labels = None
depends_on = None

TABLES = (
    """
CREATE TABLE user_account (
    id TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_login_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_user_account PRIMARY KEY (id)
)
""",
    """
CREATE TABLE identity (
    kind VARCHAR(32) NOT NULL,
    name TEXT NOT NULL,
    account_id TEXT NOT NULL,
    secret TEXT,
    recovery_sha256 TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_identity PRIMARY KEY (kind, name),
    CONSTRAINT ck_identity_identitykind CHECK (kind IN ('password', 'evm')),
    CONSTRAINT fk_identity_account_id FOREIGN KEY(account_id) REFERENCES user_account (id)
        DEFERRABLE INITIALLY DEFERRED
)
""",
    """
CREATE TABLE login (
    sha256 TEXT NOT NULL,
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    by VARCHAR(32) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_login PRIMARY KEY (sha256),
    CONSTRAINT uq_login_id UNIQUE (id),
    CONSTRAINT ck_login_loginby CHECK (by IN ('password', 'recovery', 'wallet', 'payment')),
    CONSTRAINT fk_login_account_id FOREIGN KEY(account_id) REFERENCES user_account (id)
)
""",
    """
CREATE TABLE spent_nonce (
    nonce TEXT NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_spent_nonce PRIMARY KEY (nonce)
)
""",
    "CREATE INDEX ix_identity_account_id ON identity (account_id)",
    "CREATE UNIQUE INDEX uq_identity_one_password ON identity (account_id) WHERE kind = 'password'",
    "CREATE INDEX ix_login_account_id ON login (account_id, created_at)",
    "CREATE INDEX ix_login_expires_at ON login (expires_at)",
    "CREATE INDEX ix_spent_nonce_expires_at ON spent_nonce (expires_at)",
)


def upgrade() -> None:
    """Apply this step."""
    for statement in TABLES:
        op.execute(statement)
