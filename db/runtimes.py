"""How long the items of a lane took to make: the median of the last ones that were delivered."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from db.engine import Database

LAST: Final = 20  # runs that are looked at


class Runtime(NamedTuple):
    """The median of a lane's last runs, from the claim to the end."""

    lane: str
    median_ms: int
    runs: int


_RUNTIMES = """
SELECT asked.lane, CAST(1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY last.took_s) AS bigint)
         AS median_ms, count(*) AS runs
  FROM unnest(CAST(%(lanes)s AS text[])) AS asked(lane)
 CROSS JOIN LATERAL (
       SELECT extract(epoch FROM i.ended_at - l.created_at)::float8 AS took_s
         FROM (SELECT id, ended_at FROM item
                WHERE lane = asked.lane AND state = 'completed'
                ORDER BY ended_at DESC LIMIT %(last)s) i
        CROSS JOIN LATERAL (SELECT created_at FROM lease
                             WHERE item_id = i.id AND state = 'done' LIMIT 1) l) last
 GROUP BY asked.lane
"""


async def of(db: Database, in_lanes: Sequence[str]) -> dict[str, Runtime]:
    """Return how long items of these lanes take; a lane that made nothing yet has no entry."""
    found = await db.rows(Runtime, _RUNTIMES, lanes=list(in_lanes), last=LAST)
    return {each.lane: each for each in found}
