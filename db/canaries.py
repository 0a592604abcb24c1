"""Canaries: written as a batch of one that a worker holds, found when they are brought, judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from db.engine import Database, Tx
from db.rows import columns
from statemachine.amends import MOST_ITEMS, Charge, Shares
from statemachine.canary import CanaryFacts, CanaryState
from statemachine.entries import Asset
from statemachine.item import ItemState
from statemachine.lease import LeaseFacts, LeaseState
from statemachine.speed import Speed

LATE = timedelta(days=1)  # what was asked for since then may be asked of another
NEWEST = 200  # of which one is drawn


@dataclass(frozen=True, slots=True)
class NewCanary:
    """A canary as it is ordered: what is asked for, and what the worker holds it by."""

    batch_id: str
    item_id: str
    lease_id: str
    lane: str
    asked: dict[str, Any]
    weight: int  # its price in micro-USD
    share_amount: int  # and in msat
    pay_pct: int
    quote: dict[str, Any]


# As an item is that somebody has claimed: but for its turn, which it never had.
_INSERT = """
WITH ordered AS (
  INSERT INTO item (id, batch_id, place, state, lane, weight, share_amount, number, asked,
                    created_at)
  VALUES (%(item_id)s, %(batch_id)s, 1, %(claimed)s, %(lane)s, %(weight)s, %(share_amount)s, 1,
          %(asked)s, %(now)s) RETURNING id),
held AS (
  INSERT INTO lease (item_id, number, state, worker, until, deadline, created_at, id, pay_pct)
  SELECT id, 1, %(held)s, %(worker_id)s, %(until)s, %(deadline)s, %(now)s, %(lease_id)s,
         %(pay_pct)s FROM ordered)
INSERT INTO canary (item_id, worker_id, state, created_at)
SELECT id, %(worker_id)s, %(given)s, %(now)s FROM ordered
"""


async def insert(
    tx: Tx, new: NewCanary, facts: CanaryFacts, lease: LeaseFacts, now: datetime
) -> None:
    """Write a canary whose batch is written, with the lease by which its worker holds it."""
    await tx.execute(
        _INSERT,
        item_id=facts.id,
        batch_id=new.batch_id,
        claimed=ItemState.CLAIMED,
        lane=new.lane,
        weight=new.weight,
        share_amount=new.share_amount,
        asked=Jsonb(new.asked),
        held=LeaseState.HELD,
        worker_id=facts.worker_id,
        until=lease.until,
        deadline=lease.deadline,
        lease_id=new.lease_id,
        pay_pct=new.pay_pct,
        given=facts.state,
        now=now,
    )


@dataclass(frozen=True, slots=True)
class InHand:
    """How many items a worker holds, and how fast it is in a lane."""

    items: int
    speed: Speed


class _InHand(NamedTuple):
    held: int
    took_ms: int | None
    work: int | None
    items: int | None


_IN_HAND = """
SELECT (SELECT count(*) FROM lease l WHERE l.worker = %(id)s AND l.state = 'held'
           AND l.id IS NOT NULL) AS held, s.took_ms, s.work, s.items
  FROM (VALUES (1)) one(row) LEFT JOIN worker_lane s ON s.worker_id = %(id)s AND s.lane = %(lane)s
"""


async def in_hand(tx: Tx, worker_id: str, lane: str) -> InHand:
    """Return what a locked worker holds."""
    row = await tx.row(_InHand, _IN_HAND, id=worker_id, lane=lane)
    assert row is not None, "it selects one row"
    return InHand(row.held, Speed(row.took_ms or 0, row.work or 0, row.items or 0))


class CanaryRow(NamedTuple):
    """A canary whose row is locked until the transaction ends."""

    item_id: str
    worker_id: str
    state: CanaryState
    unlike_pct: int | None


_LOCK = f"SELECT {columns(CanaryRow)} FROM canary WHERE item_id = %(id)s FOR UPDATE"


async def lock(tx: Tx, item_id: str) -> CanaryRow | None:
    """Return a canary's row, locked; who needs its worker's lock too takes that one after it."""
    return await tx.row(CanaryRow, _LOCK, id=item_id)


def facts_of(row: CanaryRow) -> CanaryFacts:
    """Return the law's view of a row."""
    return CanaryFacts(row.item_id, row.worker_id, row.state, row.unlike_pct)


_MOVE = """
UPDATE canary SET state = %(state)s, unlike_pct = %(unlike_pct)s, judged_at = %(now)s,
       forfeited_msat = %(msat)s, forfeited_microusdc = %(microusdc)s,
       added_msat = %(added_msat)s, added_microusdc = %(added_microusdc)s
 WHERE item_id = %(id)s
"""


async def move(
    tx: Tx, after: CanaryFacts, lost: dict[Asset, int], shares: dict[Asset, Shares], now: datetime
) -> None:
    """Write how a canary was judged, what its worker has lost by it, and what the house has added
    to that for its buyers."""
    await tx.execute(
        _MOVE,
        id=after.id,
        state=after.state,
        unlike_pct=after.unlike_pct,
        msat=lost[Asset.MSAT],
        microusdc=lost[Asset.MICROUSDC],
        added_msat=shares[Asset.MSAT].added,
        added_microusdc=shares[Asset.MICROUSDC].added,
        now=now,
    )


class _Is(NamedTuple):
    is_one: bool


async def is_open(tx: Tx, worker_id: str) -> bool:
    """Say whether a locked worker was given a canary that is not judged yet."""
    query = (
        "SELECT EXISTS (SELECT FROM canary WHERE worker_id = %(id)s AND state = 'given') AS is_one"
    )
    row = await tx.row(_Is, query, id=worker_id)
    assert row is not None, "it selects one row"
    return row.is_one


class Brought(NamedTuple):
    """A canary that is to be judged: its item has ended."""

    item_id: str
    state: ItemState
    asked: dict[str, Any]
    look: str | None  # of what was brought
    created_at: datetime


_DUE = """
SELECT c.item_id, i.state, i.asked, a.look, c.created_at
  FROM canary c JOIN item i ON i.id = c.item_id LEFT JOIN artifact a ON a.id = i.artifact
 WHERE c.state = 'given' AND i.state IN ('completed', 'failed', 'dead_letter', 'cancelled')
 ORDER BY c.created_at LIMIT %(most)s
"""


async def due(db: Database, most: int) -> list[Brought]:
    """Return canaries that are to be judged."""
    return await db.rows(Brought, _DUE, most=most)


class Wish(NamedTuple):
    """What somebody asked for of late, and its price in micro-USD."""

    asked: dict[str, Any]
    weight: int


_WISH = """
SELECT asked, weight FROM (
  SELECT w.asked, w.weight, row_number() OVER (ORDER BY w.id) AS place, count(*) OVER () AS all_of
    FROM (
      SELECT i.id, i.asked, i.weight, i.batch_id FROM item i
       WHERE i.lane = %(lane)s AND i.state = 'completed' AND i.ended_at >= %(since)s
       ORDER BY i.ended_at DESC LIMIT %(newest)s) w
    JOIN batch b ON b.id = w.batch_id AND b.funding <> 'house'
   WHERE w.asked ->> 'prompt' <> '' AND NOT EXISTS (
         SELECT FROM lease l WHERE l.item_id = w.id AND l.worker = %(worker_id)s)) AS placed
 WHERE place = 1 + %(drawn)s %% all_of
"""


async def wish_of_late(
    db: Database, lane: str, worker_id: str, drawn: int, now: datetime
) -> Wish | None:
    """Return one of the things that were asked for of late in a lane, and never of this worker, by
    a number that was drawn; None: nothing was.
    """
    values: dict[str, Any] = {"lane": lane, "worker_id": worker_id, "newest": NEWEST}
    return await db.row(Wish, _WISH, drawn=drawn, since=now - LATE, **values)


class _Charged(NamedTuple):
    batch_id: str
    held: int
    own: int


# What it brought since the last canary that was judged before: what that was followed by is not
# known to be anything. Nor what came before one was judged that failed: its buyers have their part
# of that. Batches of the house are canaries themselves. Of a trusted worker nothing is held now.
_CHARGES = """
SELECT made.batch_id, sum(made.held)::bigint AS held, sum(made.own)::bigint AS own FROM (
  SELECT i.batch_id, CASE WHEN w.trusted_at IS NULL THEN e.held_amount ELSE 0 END AS held,
         charge.amount - e.amount - CASE WHEN b.author_id IS NULL THEN 0
         ELSE charge.amount * b.author_pct / (100 + b.author_pct) END AS own
    FROM earning e JOIN item i ON i.id = e.item_id JOIN batch b ON b.id = i.batch_id
    JOIN worker w ON w.id = e.worker_id
   CROSS JOIN LATERAL (SELECT coalesce(i.charged_amount, i.share_amount) AS amount) charge
   WHERE e.worker_id = %(worker_id)s AND e.asset = %(asset)s AND b.funding <> 'house'
     AND e.created_at >= coalesce((
         SELECT max(last.created_at) FROM canary c JOIN earning last ON last.item_id = c.item_id
          WHERE c.worker_id = %(worker_id)s AND c.state IN ('passed', 'failed')
            AND c.item_id <> %(canary_id)s), '-infinity')
     AND e.created_at > coalesce((
         SELECT max(c.judged_at) FROM canary c WHERE c.worker_id = %(worker_id)s
            AND c.state = 'failed' AND c.item_id <> %(canary_id)s), '-infinity')
   ORDER BY e.created_at DESC LIMIT %(most)s) made
 GROUP BY made.batch_id ORDER BY made.batch_id
"""


async def are_of(tx: Tx, worker_id: str, lanes: Sequence[str]) -> bool:
    """Say whether a worker was seen in one of these lanes."""
    query = (
        "SELECT EXISTS (SELECT FROM worker_lane WHERE worker_id = %(id)s"
        " AND lane = ANY(%(lanes)s)) AS is_one"
    )
    row = await tx.row(_Is, query, id=worker_id, lanes=list(lanes))
    assert row is not None, "it selects one row"
    return row.is_one


async def charges(tx: Tx, canary: CanaryRow, asset: Asset) -> list[Charge]:
    """Return what is left of what buyers were charged, by batch, for the last items of a locked
    canary's worker: since the one before.
    """
    found = await tx.rows(
        _Charged,
        _CHARGES,
        worker_id=canary.worker_id,
        canary_id=canary.item_id,
        asset=asset,
        most=MOST_ITEMS,
    )
    return [Charge(*row) for row in found]
