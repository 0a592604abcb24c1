"""An order in USDC that was answered with what another one has bought is never claimed.

And a purchase that its buyer has named is found by its name after it was answered, too.
"""

from alembic import op

revision = "0055"
down_revision = "0054"
branch_labels = None
depends_on = None

STEPS = (
    """
CREATE TABLE usdc_presented (
    id TEXT NOT NULL,
    authorization_id TEXT NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_usdc_presented PRIMARY KEY (id),
    CONSTRAINT fk_usdc_presented_authorization_id FOREIGN KEY (authorization_id)
        REFERENCES usdc_authorization (id) ON DELETE CASCADE
)
""",
    "CREATE INDEX ix_usdc_presented_authorization_id ON usdc_presented (authorization_id)",
    "CREATE INDEX ix_usdc_presented_expires_at ON usdc_presented (expires_at)",
    "CREATE INDEX ix_usdc_authorization_purchase ON usdc_authorization (purchase)",
)


def upgrade() -> None:
    """Apply this step."""
    for step in STEPS:
        op.execute(step)
