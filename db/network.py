"""The network of workers at a glance: who is there, what waits for them, how long buyers wait, and
what an operator sees of each. Each question reads what is there now, or the newest of a day.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from db.engine import Database
from db.workers import HEARD_WITHIN
from statemachine.entries import Asset
from statemachine.worker import WorkerState

MOST_WAITED: Final = 500  # of the newest items, to say how long they waited
MOST_COUNTED: Final = 500  # of what waits in a lane


class _Counted(NamedTuple):
    n: int


_HERE = """
SELECT count(DISTINCT l.worker_id) AS n FROM worker_lane l JOIN worker w ON w.id = l.worker_id
 WHERE w.state = 'online' AND l.last_seen >= %(since)s
"""


async def here(db: Database, now: datetime) -> int:
    """Return how many workers were heard of lately that are given items, each counted once."""
    row = await db.row(_Counted, _HERE, since=now - HEARD_WITHIN)
    return row.n if row else 0


class Waiting(NamedTuple):
    """How many items wait in a lane, and since when the one whose turn it is was ordered."""

    lane: str
    items: int  # as far as they are counted
    since: datetime | None


_READY = """
item i WHERE i.state = 'pending' AND i.rank IS NOT NULL AND i.lane = f.lane AND i.rank >= f.rank
"""
_WAITING = f"""
SELECT f.lane, (SELECT count(*) FROM (SELECT FROM {_READY} LIMIT %(most)s) AS one) AS items,
       (SELECT i.created_at FROM {_READY} ORDER BY i.rank, i.id LIMIT 1) AS since
  FROM lane_floor f WHERE f.lane = ANY(%(lanes)s)
"""


async def waiting(
    db: Database, in_lanes: Sequence[str], most: int = MOST_COUNTED
) -> dict[str, Waiting]:
    """Return what waits in these lanes; no more than `most` are counted in each. A lane in which
    nothing ever waited has no entry."""
    found = await db.rows(Waiting, _WAITING, lanes=list(in_lanes), most=most)
    return {each.lane: each for each in found}


class Waited(NamedTuple):
    """How long the newest items of a lane waited for a worker once they were paid for."""

    lane: str
    median_ms: int


# What is a step of a cast waits for the steps before it, and not for a worker.
_WAITED = """
SELECT lane, CAST(1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY waited_s) AS bigint)
         AS median_ms
  FROM (SELECT e.lane, greatest(0, extract(epoch FROM taken.at - coalesce(paid.at, i.created_at))
               )::float8 AS waited_s
          FROM (SELECT item_id, lane FROM earning WHERE created_at >= %(since)s
                 ORDER BY created_at DESC LIMIT %(most)s) e
         CROSS JOIN LATERAL (SELECT batch_id, created_at FROM item
                              WHERE id = e.item_id AND needs = '{}' LIMIT 1) i
         CROSS JOIN LATERAL (SELECT l.created_at AS at FROM lease l
                              WHERE l.item_id = e.item_id AND l.state = 'done' LIMIT 1) taken
          LEFT JOIN LATERAL (SELECT v.settled_at AS at FROM invoice v
                              WHERE v.batch_id = i.batch_id AND v.settled_at IS NOT NULL
                              ORDER BY v.settled_at LIMIT 1) paid ON true) AS lately
 GROUP BY lane
"""


async def waited(db: Database, since: datetime) -> dict[str, int]:
    """Return the median wait by lane in milliseconds, of the newest items of workers since then."""
    found = await db.rows(Waited, _WAITED, since=since, most=MOST_WAITED)
    return {each.lane: each.median_ms for each in found}


class LaneSeen(NamedTuple):
    """What a worker asks for, when it last did, and how much its machine can."""

    lane: str
    most_pixels: int
    vram_gb: int
    last_seen: datetime


async def lanes_of(db: Database, worker_id: str) -> list[LaneSeen]:
    """Return what a worker asks for, the newest first."""
    query = (
        "SELECT lane, most_pixels, vram_gb, last_seen FROM worker_lane"
        " WHERE worker_id = %(id)s ORDER BY last_seen DESC, lane"
    )
    return await db.rows(LaneSeen, query, id=worker_id)


class Paid(NamedTuple):
    """What a worker was paid for one item: no name of the item, nor of its buyer."""

    lane: str
    asset: Asset
    amount: int
    held_amount: int
    took_ms: int
    created_at: datetime


_PAID = """
SELECT lane, asset, amount, held_amount, took_ms, created_at FROM earning
 WHERE worker_id = %(id)s ORDER BY created_at DESC LIMIT %(most)s
"""


async def paid_to(db: Database, worker_id: str, most: int) -> list[Paid]:
    """Return what a worker was paid for its last items, the newest first."""
    return await db.rows(Paid, _PAID, id=worker_id, most=most)


class Counts(NamedTuple):
    """How many workers are in a state, and what is held back of their pay."""

    state: WorkerState
    n: int
    held_msat: int
    held_microusdc: int


async def counts(db: Database) -> list[Counts]:
    """Return how many workers are in each state in which one is."""
    query = (
        "SELECT state, count(*) AS n, sum(held_msat)::bigint AS held_msat,"
        " sum(held_microusdc)::bigint AS held_microusdc FROM worker GROUP BY state ORDER BY state"
    )
    return await db.rows(Counts, query)


class Lent(NamedTuple):
    """A worker as an operator sees it; `day_…`: what it has earned since a moment."""

    id: str
    name: str
    state: WorkerState
    delivered: int
    held_msat: int
    held_microusdc: int
    trusted_at: datetime | None
    silent: int
    silent_since: datetime | None
    created_at: datetime
    heard_at: datetime
    failed: int
    lost: int
    canaries_passed: int
    canaries_failed: int
    forfeited_msat: int
    forfeited_microusdc: int
    holds: int
    day_items: int
    day_msat: int
    day_microusdc: int


_LENT = """
SELECT w.id, w.name, w.state, w.delivered, w.held_msat, w.held_microusdc, w.trusted_at, w.silent,
       w.silent_since, w.created_at, greatest(w.seen_at, lanes.at) AS heard_at,
       w.failed, w.lost, w.canaries_passed, w.canaries_failed, w.forfeited_msat,
       w.forfeited_microusdc,
       (SELECT count(*) FROM lease l WHERE l.worker = w.id AND l.state = 'held'
           AND l.id IS NOT NULL) AS holds, day.items AS day_items, day.msat AS day_msat,
       day.microusdc AS day_microusdc
  FROM (SELECT * FROM worker
         WHERE CAST(%(state)s AS text) IS NULL OR state::text = %(state)s
         ORDER BY seen_at DESC, id LIMIT %(most)s OFFSET %(skipped)s) w
 CROSS JOIN LATERAL (SELECT max(last_seen) AS at FROM worker_lane WHERE worker_id = w.id) lanes
 CROSS JOIN LATERAL (
       SELECT count(*) AS items,
              coalesce(sum(amount) FILTER (WHERE asset = 'msat'), 0)::bigint AS msat,
              coalesce(sum(amount) FILTER (WHERE asset = 'microusdc'), 0)::bigint AS microusdc
         FROM earning WHERE worker_id = w.id AND created_at >= %(since)s) day
 ORDER BY w.seen_at DESC, w.id
"""


async def lent(
    db: Database, state: WorkerState | None, since: datetime, skipped: int, most: int
) -> list[Lent]:
    """Return workers, those first that were heard of last; of one state, or of every one."""
    return await db.rows(Lent, _LENT, state=state, since=since, skipped=skipped, most=most)
