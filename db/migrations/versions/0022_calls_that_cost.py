"""What a job's calls to models have cost, how many there were, and who had it fail too often.

A call is counted before it is made, so that no error after it can buy the same answer for ever.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    for name in ("calls", "spent_msat"):
        count = sa.Column(name, sa.BigInteger, nullable=False, server_default=sa.text("0"))
        op.add_column("job", count)
    cut = sa.Column("truncated", sa.Boolean, nullable=False, server_default=sa.text("false"))
    op.add_column("job", cut)
    op.add_column("job", sa.Column("payer", sa.Text))
    op.create_table(
        "failure_day",
        sa.Column("payer", sa.Text, primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("n", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_failure_day_day", "failure_day", ["day"])
