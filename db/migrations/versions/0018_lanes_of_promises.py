"""Payouts have a lane of their own, and the next promise of a lane is found by its own index.

The task engine's claim looks through what waits in every queue: with many jobs waiting, a payout
would be found after all of them. Here each claim is for one lane, in the order of the lane's index.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# Else the task engine's own: the first that is due, and whose lock nobody holds or came for before.
CLAIM = """
CREATE FUNCTION claim_promise(lane text, worker bigint) RETURNS procrastinate_jobs
LANGUAGE plpgsql
SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  found procrastinate_jobs;
BEGIN
  WITH candidate AS (
    SELECT jobs.id FROM procrastinate_jobs AS jobs
     WHERE jobs.status = 'todo' AND jobs.queue_name = lane
       AND (jobs.scheduled_at IS NULL OR jobs.scheduled_at <= now())
       AND NOT EXISTS (
         SELECT 1 FROM procrastinate_jobs AS others
          WHERE jobs.lock IS NOT NULL AND others.lock = jobs.lock
            AND (others.status = 'doing'
              OR (others.status = 'todo' AND (others.priority > jobs.priority
                OR (others.priority = jobs.priority AND others.id < jobs.id)))))
     ORDER BY jobs.priority DESC, jobs.id LIMIT 1
     FOR UPDATE OF jobs SKIP LOCKED)
  UPDATE procrastinate_jobs SET status = 'doing', worker_id = worker
    FROM candidate WHERE procrastinate_jobs.id = candidate.id
  RETURNING procrastinate_jobs.* INTO found;
  RETURN found;
END $$
"""


def upgrade() -> None:
    """Apply this step."""
    op.create_index(
        "ix_promise_lane",
        "procrastinate_jobs",
        ["queue_name", sa.text("priority DESC"), "id"],
        postgresql_where=sa.text("status = 'todo'"),
    )
    # Nobody claims across lanes any more, and the planner would take it for the shorter way.
    op.drop_index("procrastinate_jobs_priority_idx_v1", "procrastinate_jobs")
    op.execute(CLAIM)
    op.execute(
        "UPDATE procrastinate_jobs SET queue_name = 'payouts'"
        " WHERE task_name IN ('PayInvoice', 'FetchInvoice')"
    )
