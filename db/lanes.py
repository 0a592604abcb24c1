"""Lanes: whose turn it is where items wait, where a claim begins to look, and who is woken.

A turn is a number that is stamped when a batch is paid for. Nothing is rewritten afterwards.
"""

from collections.abc import Collection
from typing import Any, Final, NamedTuple

from db.engine import Database, Tx
from db.jobs import CHANNEL
from db.wait_queue import Waits

# Self-clocked fair queueing: a payer's next turn begins where his last one ends, or where the one
# begins that is next in the lane, whichever is later; and ends by as much later as it is long.
_LANES = """
INSERT INTO lane_floor (lane, rank) SELECT DISTINCT lane, 0 FROM item WHERE batch_id = %(batch_id)s
 ORDER BY lane ON CONFLICT (lane) DO NOTHING
"""
_HEAD = """
(SELECT i.rank - i.weight FROM item i WHERE i.state = 'pending' AND i.rank IS NOT NULL
    AND i.lane = f.lane AND i.rank >= f.rank ORDER BY i.rank, i.id LIMIT 1)
"""
_WAKE = f"""
SELECT pg_notify(%(channel)s, 'lane:' || f.lane) FROM lane_floor f
 WHERE f.lane IN (SELECT lane FROM item WHERE batch_id = %(batch_id)s AND state = 'pending')
   AND {_HEAD} IS NULL
"""
_BEGIN_TURN = f"""
INSERT INTO lane_turn (lane, payer, finish)
SELECT f.lane, %(payer)s, coalesce({_HEAD}, f.rank) FROM lane_floor f
 WHERE f.lane IN (SELECT lane FROM item WHERE batch_id = %(batch_id)s) ORDER BY f.lane
ON CONFLICT (lane, payer) DO UPDATE SET finish = greatest(lane_turn.finish, excluded.finish)
"""
_STAMP = """
WITH begun AS MATERIALIZED (
  SELECT lane, (SELECT t.finish FROM lane_turn t
                 WHERE t.lane = mine.lane AND t.payer = %(payer)s) AS finish
    FROM (SELECT DISTINCT lane FROM item WHERE batch_id = %(batch_id)s) AS mine),
ranked AS MATERIALIZED (
  SELECT i.id, i.lane,
         b.finish + sum(i.weight) OVER (PARTITION BY i.lane ORDER BY i.place) AS rank
    FROM item i JOIN begun b ON b.lane = i.lane WHERE i.batch_id = %(batch_id)s),
stamped AS (
  UPDATE item SET rank = ranked.rank FROM ranked WHERE item.id = ranked.id)
UPDATE lane_turn t SET finish = (SELECT max(r.rank) FROM ranked r WHERE r.lane = t.lane)
 WHERE t.payer = %(payer)s AND t.lane = ANY(ARRAY(SELECT lane FROM begun))
"""
# A claim begins to look at the floor of a lane, and a short turn may end below it. The floor is
# held until this is there to be seen: who moves it meanwhile would not know of it. And it is looked
# at in a statement of its own, which sees where it was moved while that was waited for.
_HOLD = """
SELECT FROM lane_floor WHERE lane IN (SELECT lane FROM item WHERE batch_id = %(batch_id)s)
 ORDER BY lane FOR NO KEY UPDATE
"""
_UNCOVER = """
UPDATE lane_floor f SET rank = new.rank
  FROM (SELECT lane, min(rank) AS rank FROM item WHERE batch_id = %(batch_id)s GROUP BY lane) new
 WHERE f.lane = new.lane AND f.rank > new.rank
"""


async def give_turns(tx: Tx, batch_id: str, payer: str) -> None:
    """Give each item of a batch that is paid for its turn, and wake who waits at an empty lane."""
    values: dict[str, Any] = {"batch_id": batch_id, "payer": payer, "channel": CHANNEL}
    for statement in (_LANES, _WAKE, _BEGIN_TURN, _STAMP, _HOLD, _UNCOVER):
        await tx.execute(statement, **values)


class _Counted(NamedTuple):
    items: int


_WAITING = """
SELECT count(*) AS items FROM (
  SELECT 1 FROM item WHERE state = 'pending' AND rank IS NOT NULL AND lane = ANY(%(lanes)s)
   LIMIT %(most)s) AS waits
"""


async def waiting(db: Database, in_lanes: Collection[str], most: int) -> int:
    """Return how many items wait in these lanes; no more than `most` are counted."""
    row = await db.row(_Counted, _WAITING, lanes=list(in_lanes), most=most)
    return row.items if row else 0


_BEFORE = """
SELECT count(*) AS items FROM (
  SELECT 1 FROM item i
    JOIN (SELECT lane, min(rank) AS rank FROM item WHERE batch_id = %(batch_id)s
             AND state = 'pending' AND rank IS NOT NULL GROUP BY lane) AS mine USING (lane)
   WHERE i.state = 'pending' AND i.rank IS NOT NULL AND i.rank < mine.rank
   LIMIT %(most)s) AS before
"""


async def before(db: Database, batch_id: str, most: int) -> int:
    """Return how many items have their turn before the first of a batch; at most so many."""
    row = await db.row(_Counted, _BEFORE, batch_id=batch_id, most=most)
    return row.items if row else 0


_AT = """
SELECT f.lane, ARRAY(
         SELECT i.id FROM item i WHERE i.state = 'pending' AND i.rank IS NOT NULL
            AND i.lane = f.lane AND i.rank >= f.rank ORDER BY i.rank, i.id LIMIT %(most)s) AS items,
       (SELECT i.id FROM item i WHERE i.state = 'pending' AND i.rank IS NOT NULL
           AND i.lane = f.lane AND i.rank >= f.rank ORDER BY i.rank DESC, i.id DESC LIMIT 1) AS last
  FROM lane_floor f WHERE f.lane = ANY(%(lanes)s)
"""


async def at(db: Database, in_lanes: Collection[str], most: int) -> list[Waits]:
    """Return what waits in each of these lanes: so many of those whose turn it is, and the last."""
    return await db.rows(Waits, _AT, lanes=list(in_lanes), most=most)


SIGNAL: Final = "lane:"  # begins what is told when a lane is not empty any more


# What has come back may be below the floor, which is held and looked at as above.
_HOLD_ONE = "SELECT FROM lane_floor WHERE lane = %(lane)s FOR NO KEY UPDATE"
_LOWER = """
UPDATE lane_floor SET rank = %(rank)s WHERE lane = %(lane)s AND rank > %(rank)s
"""
_WAKE_LANE = f"""
SELECT pg_notify(%(channel)s, 'lane:' || f.lane) FROM lane_floor f
 WHERE f.lane = %(lane)s AND {_HEAD} IS NULL
"""


async def wake(tx: Tx, lane: str) -> None:
    """Wake who waits at a lane, where nothing waits in it."""
    await tx.execute(_WAKE_LANE, lane=lane, channel=CHANNEL)


async def uncover(tx: Tx, lane: str, rank: int) -> None:
    """Have claims begin to look no higher than there."""
    await tx.execute(_HOLD_ONE, lane=lane)
    await tx.execute(_LOWER, lane=lane, rank=rank)


# The floor of a lane is told anew from all that waits in it, where nobody gives out turns there at
# this moment. First it is held: the next statement sees all turns that were given out before. A
# lane that is empty forgets whose turns there were; one that somebody takes just now is kept.
_FREE = "SELECT lane FROM lane_floor ORDER BY lane FOR UPDATE SKIP LOCKED"
_FLOORS = """
WITH seen AS MATERIALIZED (
  SELECT f.lane, f.rank AS was,
         (SELECT i.rank FROM item i WHERE i.state = 'pending' AND i.rank IS NOT NULL
             AND i.lane = f.lane ORDER BY i.rank, i.id LIMIT 1) AS head,
         (SELECT max(t.finish) FROM lane_turn t WHERE t.lane = f.lane) AS last
    FROM lane_floor f WHERE f.lane = ANY(%(lanes)s)),
over AS MATERIALIZED (
  SELECT t.lane, t.payer FROM lane_turn t JOIN seen ON t.lane = seen.lane
   WHERE seen.head IS NULL AND t.finish <= seen.last FOR UPDATE OF t SKIP LOCKED),
forgotten AS (
  DELETE FROM lane_turn t USING over WHERE t.lane = over.lane AND t.payer = over.payer)
UPDATE lane_floor SET rank = coalesce(seen.head, greatest(seen.was, seen.last))
  FROM seen WHERE lane_floor.lane = seen.lane
   AND lane_floor.rank IS DISTINCT FROM coalesce(seen.head, greatest(seen.was, seen.last))
"""


class _Free(NamedTuple):
    lane: str


async def move_floors(tx: Tx) -> None:
    """Have claims begin to look where something waits, in every lane."""
    free = await tx.rows(_Free, _FREE)
    await tx.execute(_FLOORS, lanes=[each.lane for each in free])
