"""How many items a worker may still be given is looked at in its claim, one claim at a time.

The count is a statement of its own: it sees what was claimed while the lock was waited for.
"""

from alembic import op

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None

# 0 where a worker is given nothing now: it is paused, or holds as many as it may.
ROOM = """
CREATE FUNCTION room_of_worker(of_worker text, at_once bigint)
RETURNS bigint LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
  PERFORM FROM worker WHERE id = of_worker AND state = 'online' FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN 0;
  END IF;
  RETURN greatest(0, at_once - (SELECT count(*) FROM lease
                                 WHERE worker = of_worker AND state = 'held' AND id IS NOT NULL));
END $$
"""
STEPS = (ROOM,)


def upgrade() -> None:
    """Apply this step."""
    for statement in STEPS:
        op.execute(statement)
