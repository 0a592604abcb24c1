"""Secrets of their own: a payout's, which alone finds its withdrawal, and that of who opens a
session, which shows it the macaroon.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# Of two random UUIDs, each of 122 bits: 128 of them are left. A payout that is there gets one too.
SECRET = "md5(gen_random_uuid()::text || gen_random_uuid()::text)"


def upgrade() -> None:
    """Apply this step."""
    op.add_column(
        "payout",
        sa.Column("secret", sa.Text(), server_default=sa.text(SECRET), nullable=False),
    )
    op.create_unique_constraint(op.f("uq_payout_secret"), "payout", ["secret"])
    op.add_column("session", sa.Column("claim_sha256", sa.Text(), nullable=True))
