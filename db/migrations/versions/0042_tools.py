"""Runs of tools: what is no file, what of a price was used, whose a file is, how long runs take."""

from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.execute(
        "ALTER TABLE item ADD COLUMN charged_amount BIGINT, ADD COLUMN output JSONB,"
        " ADD CONSTRAINT ck_item_charged_within_share"
        " CHECK (charged_amount BETWEEN 0 AND share_amount),"
        " ADD CONSTRAINT ck_item_one_result CHECK (output IS NULL OR artifact IS NULL)"
    )
    op.execute("CREATE INDEX ix_item_made ON item (lane, ended_at) WHERE state = 'completed'")
    op.execute("ALTER TABLE artifact ADD COLUMN batch_id TEXT")
