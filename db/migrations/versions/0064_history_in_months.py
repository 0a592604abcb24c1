"""What happened to jobs is written to a table for each month, so that a month can be dropped.

The table that was is left as it is, whatever its size, beside them: nothing is copied, and nobody
waits. Neither refers to jobs any more: to drop a table that does, Postgres would lock all jobs.
"""

from datetime import datetime, timedelta
from itertools import pairwise

import sqlalchemy as sa
from alembic import op

revision = "0064"
down_revision = "0063"
branch_labels = None
depends_on = None

STATES = (
    "'awaiting_eval_payment', 'evaluating', 'rejected', 'awaiting_work_payment', 'executing',"
    " 'complete', 'failed'"
)
ASIDE = (
    "ALTER TABLE job_history RENAME TO job_history_earlier",
    "ALTER INDEX uq_job_history_version RENAME TO uq_job_history_earlier_version",
    "ALTER TABLE job_history_earlier RENAME CONSTRAINT pk_job_history TO pk_job_history_earlier",
    "ALTER TABLE job_history_earlier DROP CONSTRAINT fk_job_history_job_id",
    # What is kept there of a month that is dropped was counted before.
    "DROP TRIGGER tally_job ON job_history_earlier",
)
TABLE = f"""
CREATE TABLE job_history (
    job_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    event TEXT NOT NULL,
    state VARCHAR(32) NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT ck_job_history_jobstate CHECK (state IN ({STATES})),
    CONSTRAINT pk_job_history PRIMARY KEY (job_id, version, at)
) PARTITION BY RANGE (at)
"""
TRIGGER = """
CREATE TRIGGER tally_job AFTER INSERT ON job_history REFERENCING NEW TABLE AS fresh
FOR EACH STATEMENT EXECUTE FUNCTION tally_job()
"""
LINES = """
CREATE VIEW job_line AS
SELECT job_id, version, event, state, at FROM job_history
 UNION ALL SELECT job_id, version, event, state, at FROM job_history_earlier
"""
DROPPED = """
CREATE TABLE dropped_month (
    name TEXT NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    lines_kept BIGINT NOT NULL,
    dropped_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_dropped_month PRIMARY KEY (name)
)
"""
AHEAD = 3  # months beside this one; more are made as time goes by


def upgrade() -> None:
    """Apply this step."""
    for statement in (*ASIDE, TABLE):
        op.execute(statement)
    this = _first_of(op.get_bind().execute(sa.text("SELECT now() AT TIME ZONE 'UTC'")).scalar_one())
    bounds = [this]
    for _ in range(AHEAD + 1):
        bounds.append(_first_of(bounds[-1] + timedelta(days=31)))
    # Whatever a clock says, there is a table for it.
    _part("before", "MINVALUE", _written(bounds[0]))
    for first, until in pairwise(bounds):
        _part(f"{first:%Y_%m}", _written(first), _written(until))
    _part("after", _written(bounds[-1]), "MAXVALUE")
    for statement in (TRIGGER, LINES, DROPPED):
        op.execute(statement)


def _first_of(moment: datetime) -> datetime:
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _written(moment: datetime) -> str:
    return f"'{moment:%Y-%m-%d} UTC'"


def _part(name: str, first: str, until: str) -> None:
    op.execute(
        f"CREATE TABLE job_history_{name} PARTITION OF job_history"
        f" FOR VALUES FROM ({first}) TO ({until})"
    )
