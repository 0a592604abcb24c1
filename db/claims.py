"""Items are claimed in one statement: those whose turn it is, each by one worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from db.engine import Database, Tx
from db.jobs import CHANNEL
from statemachine import speed
from statemachine.batch import BATCH, BatchEvent, BatchState
from statemachine.entries import Asset
from statemachine.item import ITEM, ItemEvent, ItemState
from statemachine.lease import LeaseFacts, LeaseState


class Claim(NamedTuple):
    """An item that somebody holds now, as he sees it."""

    id: str
    number: int
    lane: str
    asked: dict[str, Any]
    share_amount: int
    asset: Asset
    batch_id: str
    lease_id: str | None  # of a worker of the network, as it is told
    pay_pct: int  # and its part of what the item costs
    pay_amount: int  # which is that, without what is an author's
    until: datetime
    deadline: datetime


# Of what an item costs, what its worker is paid: an author's share is no part of that.
PAY = """
((i.share_amount - CASE WHEN b.author_id IS NULL THEN 0
  ELSE i.share_amount * b.author_pct / (100 + b.author_pct) END) * {pct} / 100)
"""
_WAITS = """
item i WHERE i.state = 'pending' AND i.rank IS NOT NULL AND i.lane = {lane} AND i.rank >= {floor}
         AND %(worker)s <> ALL(i.tried)
"""
# Until when at most a worker holds an item that is so many times `hand` to wait in its hands: less
# long where its speed, the row `s` of the item's lane, is known.
DEADLINE = """
CASE WHEN s.work > 0
     THEN least(%(deadline)s, %(now)s + greatest(CAST(%(least_lasting)s AS interval),
          %(times)s * ({hand}) * (r.weight * s.took_ms / s.work) * interval '1 millisecond'))
     ELSE %(deadline)s END
"""
# Who has a floor of its own looks at so many of a lane, and not at all that pay too little.
LOOKED_AT = 256
BATCH_OF = "LATERAL (SELECT asset, author_id, author_pct FROM batch WHERE id = i.batch_id LIMIT 1)"
_BATCH = f"CROSS JOIN {BATCH_OF} b"
_PCT = "coalesce((CAST(%(pay)s AS jsonb) ->> i.lane)::bigint, 0)"
_PAYS_ENOUGH = f"""
SELECT i.id, i.rank FROM (SELECT i.id, i.rank, i.lane, i.share_amount, i.batch_id
                            FROM {_WAITS} ORDER BY i.rank, i.id LIMIT {LOOKED_AT}) i
  {_BATCH}
 WHERE {PAY.format(pct=_PCT)} >= (CAST(%(least)s AS jsonb) ->> b.asset)::bigint
"""
_HEAD = f"SELECT i.rank FROM {_WAITS} ORDER BY i.rank, i.id LIMIT 1"
_HEAD_ENOUGH = f"SELECT i.rank FROM ({_PAYS_ENOUGH}) i ORDER BY i.rank, i.id LIMIT 1"
_BEST = {"lane": "(SELECT lane FROM best)", "floor": "(SELECT floor FROM best)"}
_THESE = f"SELECT i.id, i.rank FROM {_WAITS}".format(**_BEST)
_THESE_ENOUGH = f"""
SELECT i.id, i.rank FROM item i WHERE i.state = 'pending'
   AND i.id IN (SELECT id FROM ({_PAYS_ENOUGH.format(**_BEST)}) enough)
"""
# The head of each lane is looked at, and locked is only in the best of them. With the first of its
# items a batch has begun: all of it is one statement, for a claim is what there is most of. Two
# claims that begin the same batches lock them in one order. Claims of one worker of the network go
# one after the other, so that it holds no more than it may.
_CLAIM = """
WITH room AS MATERIALIZED (
  SELECT CASE WHEN CAST(%(at_once)s AS bigint) IS NULL THEN %(most)s
              ELSE room_of_worker(%(worker)s, %(at_once)s) END AS room),
best AS MATERIALIZED (
  SELECT f.lane, f.rank AS floor FROM lane_floor f CROSS JOIN LATERAL ({head}) AS head
   WHERE f.lane = ANY(%(lanes)s) AND (SELECT room FROM room) > 0
   ORDER BY head.rank LIMIT 1),
taken AS MATERIALIZED (
  {these} ORDER BY i.rank, i.id LIMIT %(most)s FOR UPDATE SKIP LOCKED),
claimed AS (
  UPDATE item SET state = %(state)s, number = number + 1
    FROM (SELECT id FROM taken ORDER BY rank, id LIMIT (SELECT room FROM room)) fits
   WHERE item.id = fits.id
  RETURNING item.id, item.number, item.lane, item.rank, item.asked, item.share_amount,
            item.batch_id, item.weight),
ranked AS (
  SELECT c.*, row_number() OVER (ORDER BY rank, id) AS place,
         coalesce((CAST(%(pay)s AS jsonb) ->> lane)::bigint, 0) AS pay_pct
    FROM claimed c),
timed AS (
  SELECT r.*, {until} AS deadline
    FROM ranked r LEFT JOIN LATERAL (
         SELECT work, took_ms FROM worker_lane WHERE worker_id = %(worker)s AND lane = r.lane
            AND items >= %(known_after)s AND CAST(%(at_once)s AS bigint) IS NOT NULL LIMIT 1) s
      ON true),
held AS (
  INSERT INTO lease (item_id, number, state, worker, until, deadline, created_at, id, pay_pct)
  SELECT id, number, %(lease_state)s, %(worker)s, least(%(until)s, deadline), deadline, %(now)s,
         (CAST(%(names)s AS text[]))[place], pay_pct
    FROM timed RETURNING item_id, id, pay_pct, until, deadline),
unbegun AS MATERIALIZED (
  SELECT b.id FROM batch b WHERE b.id = ANY(ARRAY(SELECT batch_id FROM claimed))
     AND b.state = 'queued' ORDER BY b.id FOR NO KEY UPDATE),
begun AS (
  UPDATE batch b SET state = %(begun)s, version = version + 1, updated_at = %(now)s
    FROM unbegun WHERE b.id = unbegun.id RETURNING b.id),
told AS MATERIALIZED (SELECT pg_notify(%(channel)s, id) FROM begun)
SELECT i.id, i.number, i.lane, i.asked, i.share_amount, b.asset, i.batch_id, h.id AS lease_id,
       h.pay_pct, {pay} AS pay_amount, h.until, h.deadline
  FROM claimed i JOIN held h ON h.item_id = i.id {whose}
 WHERE (SELECT count(*) FROM told) >= 0 ORDER BY i.rank, i.id
"""
_HAND = "CAST(%(at_once)s AS bigint) - (SELECT room FROM room) + r.place"
_TOLD = {
    "pay": PAY.format(pct="h.pay_pct"),
    "whose": _BATCH,
    "until": DEADLINE.format(hand=_HAND),
}
_OF_LANE = {"lane": "f.lane", "floor": "f.rank"}
_WHATEVER = _CLAIM.format(head=_HEAD.format(**_OF_LANE), these=_THESE, **_TOLD)
_ENOUGH = _CLAIM.format(head=_HEAD_ENOUGH.format(**_OF_LANE), these=_THESE_ENOUGH, **_TOLD)


@dataclass(frozen=True, slots=True)
class Hired:
    """How a worker of the network is paid: a part of what an item costs, by its lane; names for its
    leases, one for each that it may be given; and how many it may hold at once (None: the claimer
    is the house's own).

    `least`: what an item must pay it, in the smallest unit of each asset; None: whatever. What is
    paid in an asset that is not there is not given.
    """

    pay_pct: Mapping[str, int]
    names: Sequence[str]
    at_once: int | None = None
    least: Mapping[Asset, int] | None = None


NOBODY = Hired({}, ())  # the house's own workers are not paid


async def claim(
    tx: Tx,
    worker: str,
    in_lanes: Sequence[str],
    most: int,
    lease: LeaseFacts,
    now: datetime,
    hired: Hired = NOBODY,
) -> list[Claim]:
    """Claim up to so many items for a worker: those whose turn it is, in one of these lanes.

    `lease`: until when he holds each, or less long where he is known to be fast. Two claimers never
    get the same one. A worker of the network is given nothing that it may not hold, or that pays
    less than its floor, and nothing while it is not online. A batch whose first item it is has
    begun, and whoever waits for another state of it is told.
    """
    return await tx.rows(
        Claim,
        _WHATEVER if hired.least is None else _ENOUGH,
        worker=worker,
        lanes=list(in_lanes),
        most=most,
        names=list(hired.names),
        at_once=hired.at_once,
        pay=Jsonb(dict(hired.pay_pct)),
        least=Jsonb(hired.least),
        **written(lease, now),
    )


def written(lease: LeaseFacts, now: datetime) -> dict[str, Any]:
    """Return what every claim writes, whoever claims."""
    return {
        "state": ITEM.step(ItemState.PENDING, ItemEvent.CLAIMED),
        "begun": BATCH.step(BatchState.QUEUED, BatchEvent.BEGUN),
        "channel": CHANNEL,
        "lease_state": LeaseState.HELD,
        "until": lease.until,
        "deadline": lease.deadline,
        "now": now,
        "least_lasting": speed.LEAST,
        "times": speed.TIMES,
        "known_after": speed.KNOWN_AFTER,
    }


class Waiting(NamedTuple):
    """A lane in which something waits."""

    lane: str


_WAITING = f"""
SELECT f.lane FROM lane_floor f WHERE f.lane = ANY(%(lanes)s)
   AND EXISTS (SELECT FROM {_WAITS.format(**_OF_LANE)}) ORDER BY f.lane
"""


async def waiting(db: Database, worker: str, in_lanes: Sequence[str]) -> list[str]:
    """Return in which of these lanes something waits that a worker has not tried."""
    rows = await db.rows(Waiting, _WAITING, worker=worker, lanes=list(in_lanes))
    return [row.lane for row in rows]
