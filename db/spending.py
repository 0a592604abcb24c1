"""What a session was spent on: requests and calls, the newest first."""

from psycopg.rows import DictRow

from db.engine import Database

# A request that failed costs nothing, one that was declined has been read.
_SPENT = """
SELECT * FROM (
  (SELECT id AS job_id, left(request, 120) AS what, state,
          CASE WHEN state IN ('complete', 'rejected') THEN eval_msat ELSE 0 END
            + coalesce((charge->>'total_msat')::bigint, 0) AS amount_msat,
          created_at
     FROM job WHERE session_id = %(id)s ORDER BY created_at DESC LIMIT %(most)s)
  UNION ALL
  (SELECT NULL, purpose, state, charge_msat, created_at
     FROM hold WHERE session_id = %(id)s ORDER BY created_at DESC LIMIT %(most)s)
) AS spent ORDER BY created_at DESC LIMIT %(most)s
"""


async def of_session(db: Database, session_id: str, most: int) -> list[DictRow]:
    """Return what was asked on a session, and what each has cost: (what, state, amount_msat)."""
    return await db.read_all(_SPENT, id=session_id, most=most)
