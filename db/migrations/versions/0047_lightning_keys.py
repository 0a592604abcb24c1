"""Keys of Lightning wallets that open accounts, and API keys that are fetched by who has paid."""

from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None

STEPS = (
    """
CREATE TABLE lightning_proof (
    k1 TEXT NOT NULL,
    key TEXT NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_lightning_proof PRIMARY KEY (k1)
)
""",
    "CREATE INDEX ix_lightning_proof_expires_at ON lightning_proof (expires_at)",
    "ALTER TABLE api_key ADD COLUMN shown_at TIMESTAMP WITH TIME ZONE",
    "ALTER TABLE identity DROP CONSTRAINT ck_identity_identitykind",
    "ALTER TABLE identity ADD CONSTRAINT ck_identity_identitykind"
    " CHECK (kind IN ('password', 'evm', 'lightning'))",
    "ALTER TABLE login DROP CONSTRAINT ck_login_loginby",
    "ALTER TABLE login ADD CONSTRAINT ck_login_loginby"
    " CHECK (by IN ('password', 'recovery', 'wallet', 'lightning', 'payment'))",
)


def upgrade() -> None:
    """Apply this step."""
    for statement in STEPS:
        op.execute(statement)
