"""How many items each of many workers may still be given is looked at in one claim of all of them.

Who is locked by somebody else is left out, so that nobody waits for another's row: he claims by
himself. The count is a statement of its own: it sees what was claimed before the locks were there.
"""

from alembic import op

revision = "0063"
down_revision = "0062"
branch_labels = None
depends_on = None

# 0 where a worker is given nothing now: it is paused, or holds as many as it may.
ROOMS = """
CREATE FUNCTION rooms_of_workers(of_workers text[], at_once bigint[])
RETURNS TABLE (hand text, room bigint) LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  locked text[];
BEGIN
  SELECT array_agg(free.id) INTO locked
    FROM (SELECT w.id FROM worker w WHERE w.id = ANY(of_workers)
           ORDER BY w.id FOR NO KEY UPDATE SKIP LOCKED) AS free;
  RETURN QUERY
  SELECT asked.id, CASE WHEN (SELECT w.state FROM worker w WHERE w.id = asked.id) = 'online'
         THEN greatest(0, asked.most - (
              SELECT count(*) FROM lease l
               WHERE l.worker = asked.id AND l.state IN ('held') AND l.id IS NOT NULL))
         ELSE 0 END
    FROM unnest(of_workers, at_once) AS asked(id, most) WHERE asked.id = ANY(locked);
END $$
"""
STEPS = (ROOMS,)


def upgrade() -> None:
    """Apply this step."""
    for statement in STEPS:
        op.execute(statement)
