"""What a session was spent on: requests and calls, the newest first."""

from datetime import datetime
from typing import NamedTuple

from db.engine import Database


class Spent(NamedTuple):
    """What was asked on a session, and what it has cost; `job_id` where it is a request."""

    job_id: str | None
    what: str
    state: str  # a job's, or a hold's
    amount_msat: int
    created_at: datetime


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


async def of_session(db: Database, session_id: str, most: int) -> list[Spent]:
    """Return what was asked on a session, and what each has cost."""
    return await db.rows(Spent, _SPENT, id=session_id, most=most)
