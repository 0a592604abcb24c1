"""The accounts of people in the books are found together."""

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.execute("CREATE INDEX ix_account_user ON account (name) WHERE starts_with(name, 'user:')")
