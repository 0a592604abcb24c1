"""How many jobs began and ended in each hour, and what an operator looks for among many rows."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Each connection counts in rows of its own, so nobody waits for anybody's commit; once for all
# lines of a statement, as one that writes very many would else go through the same rows each time.
COUNT = """
CREATE FUNCTION tally_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO job_tally AS t (hour, what, counter, n)
  SELECT date_trunc('hour', at, 'UTC'),
         CASE WHEN version = 1 THEN 'begun' WHEN event IN ('lapsed', 'cancelled') THEN 'unpaid'
              ELSE state END, pg_backend_pid() % 64, count(*)
    FROM fresh
   WHERE version = 1 OR event IN ('finished', 'declined', 'broke', 'lapsed', 'cancelled')
   GROUP BY 1, 2 ORDER BY 1, 2
  ON CONFLICT (hour, what, counter) DO UPDATE SET n = t.n + excluded.n;
  RETURN NULL;
END $$
"""
TRIGGER = """
CREATE TRIGGER tally_job AFTER INSERT ON job_history REFERENCING NEW TABLE AS fresh
FOR EACH STATEMENT EXECUTE FUNCTION tally_job()
"""
UNTIL_NOW = """
INSERT INTO job_tally (hour, what, counter, n)
SELECT date_trunc('hour', at, 'UTC'),
       CASE WHEN version = 1 THEN 'begun' WHEN event IN ('lapsed', 'cancelled') THEN 'unpaid'
            ELSE state END, 0, count(*)
  FROM job_history
 WHERE version = 1 OR event IN ('finished', 'declined', 'broke', 'lapsed', 'cancelled')
 GROUP BY 1, 2
"""


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "job_tally",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "what", "counter", name=op.f("pk_job_tally")),
    )
    op.execute(COUNT)
    op.execute(TRIGGER)
    op.execute(UNTIL_NOW)
    op.create_index(
        "ix_job_open",
        "job",
        ["state"],
        postgresql_where=sa.text(
            "state IN ('awaiting_eval_payment', 'evaluating', 'awaiting_work_payment', 'executing')"
        ),
    )
    op.create_index(
        "ix_payout_unpaid",
        "payout",
        ["created_at"],
        postgresql_where=sa.text("state <> 'paid'"),
    )
    op.create_index(
        "ix_payout_watched",
        "payout",
        ["updated_at"],
        postgresql_where=sa.text("state = 'in_flight' OR (state = 'owed' AND failures >= 3)"),
    )
