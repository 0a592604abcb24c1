"""Items that no worker makes: what waits at the head of a lane, and whoever could have made it has
tried it, or was not heard of for long.
"""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from db.engine import Database


class _Found(NamedTuple):
    id: str


# What is left by all stays at the head of its lane: all others are claimed, and behind it.
_UNMADE = """
WITH there AS MATERIALIZED (
  SELECT l.lane, l.worker_id FROM worker_lane l JOIN worker w ON w.id = l.worker_id
   WHERE l.lane = ANY(%(lanes)s) AND l.last_seen >= %(since)s AND w.state = 'online')
SELECT head.id FROM lane_floor f
 CROSS JOIN LATERAL (
       SELECT i.id, i.batch_id, i.tried FROM item i WHERE i.state = 'pending'
          AND i.rank IS NOT NULL AND i.lane = f.lane AND i.rank >= f.rank
        ORDER BY i.rank, i.id LIMIT %(most)s) AS head
  JOIN batch b ON b.id = head.batch_id
 WHERE f.lane = ANY(%(lanes)s) AND b.updated_at <= %(since)s
   AND NOT EXISTS (
       SELECT FROM there WHERE there.lane = f.lane AND there.worker_id <> ALL(head.tried))
"""


async def find(db: Database, in_lanes: Collection[str], since: datetime, most: int) -> list[str]:
    """Return items in these lanes of batches to which nothing has happened since then, and that no
    worker could have claimed since; at most so many are looked at in each lane.
    """
    found = await db.rows(_Found, _UNMADE, lanes=list(in_lanes), since=since, most=most)
    return [row.id for row in found]
