"""The next promise is found in the same time however many wait, and whatever the planner knows.

Before it has heard of 20,000 promises that wait, the task engine's claim takes a minute: it sorts
all of them, and for each looks among all of them for an earlier one of the same lock.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0008"
branch_labels = None
depends_on = None

# In the order of their index, the first that is free; others of its lock by theirs. No other way
# is ever better, and without statistics any other way may look so.
WAYS_NOT_TO_GO = ("sort", "hashjoin", "mergejoin", "seqscan", "bitmapscan")


def upgrade() -> None:
    """Apply this step."""
    op.create_index(
        "ix_promise_lock",
        "procrastinate_jobs",
        ["lock"],
        postgresql_where=sa.text("status IN ('todo', 'doing')"),
    )
    for way in WAYS_NOT_TO_GO:
        op.execute(
            "ALTER FUNCTION procrastinate_fetch_job_v2(character varying[], bigint)"
            f" SET enable_{way} = off"
        )
