"""Claims of many workers at one moment, in one statement: each is given the item whose turn it is.

It is as if one had claimed after the other, in the order in which they have asked. Nobody waits
here for what another transaction has locked, and nobody is given what he has tried: whom that
leaves with nothing, though something may wait for him, is told so, and claims by himself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from psycopg.types.json import Jsonb

from db.arrays import integers, texts
from db.claims import BATCH_OF, DEADLINE, PAY, Claim, written
from db.engine import Tx
from statemachine.entries import Asset
from statemachine.lease import LeaseFacts


@dataclass(frozen=True, slots=True)
class Claimer:
    """A worker of the network that claims one item: under what name it is to hold it, and how many
    it may hold at once.
    """

    worker: str
    lease_id: str
    at_once: int


# So many workers at most are served by one statement. A text for each size: Postgres is to plan
# for as few heads as there are, and of a number that it is told later it thinks a tenth of a lane.
SIZES: Final = (1, 4, 16, 64)
MOST: Final = SIZES[-1]

_PAY_PCT = "coalesce((CAST(%(pay)s AS jsonb) ->> r.lane)::bigint, 0)"
_CLAIM = """
WITH asked AS MATERIALIZED (
  SELECT asked.worker, asked.name, asked.at_once, asked.place, rooms.room
    FROM unnest(%(workers)s::text[], %(names)s::text[], %(at_once)s::bigint[])
         WITH ORDINALITY AS asked(worker, name, at_once, place)
    LEFT JOIN rooms_of_workers(%(workers)s::text[], %(at_once)s::bigint[]) AS rooms
      ON rooms.hand = asked.worker),
able AS MATERIALIZED (
  SELECT a.*, row_number() OVER (ORDER BY a.place) AS turn FROM asked a WHERE a.room > 0),
heads AS MATERIALIZED (
  SELECT head.id FROM lane_floor f CROSS JOIN LATERAL (
         SELECT i.id, i.rank FROM item i
          WHERE i.state = 'pending' AND i.rank IS NOT NULL AND i.lane = f.lane AND i.rank >= f.rank
          ORDER BY i.rank, i.id LIMIT {size}) AS head
   WHERE f.lane = ANY(%(lanes)s::text[])
   ORDER BY head.rank, head.id LIMIT (SELECT count(*) FROM able)),
taken AS MATERIALIZED (
  SELECT i.id, i.rank, i.tried FROM item i
   WHERE i.id = ANY(ARRAY(SELECT id FROM heads)) AND i.state = 'pending'
   ORDER BY i.rank, i.id FOR UPDATE SKIP LOCKED),
pairs AS MATERIALIZED (
  SELECT t.id, a.worker, a.name, a.at_once - a.room + 1 AS hand, a.worker <> ALL(t.tried) AS fits
    FROM (SELECT id, tried, row_number() OVER (ORDER BY rank, id) AS turn FROM taken) t
    JOIN able a ON a.turn = t.turn),
claimed AS (
  UPDATE item SET state = %(state)s, number = number + 1
   WHERE item.id = ANY(ARRAY(SELECT id FROM pairs WHERE fits))
  RETURNING item.id, item.number, item.lane, item.asked, item.share_amount, item.batch_id,
            item.weight),
timed AS (
  SELECT r.id, r.number, p.worker, p.name, {pay_pct} AS pay_pct, {until} AS deadline
    FROM claimed r JOIN pairs p ON p.id = r.id LEFT JOIN LATERAL (
         SELECT work, took_ms FROM worker_lane WHERE worker_id = p.worker AND lane = r.lane
            AND items >= %(known_after)s LIMIT 1) s ON true),
held AS (
  INSERT INTO lease (item_id, number, state, worker, until, deadline, created_at, id, pay_pct)
  SELECT id, number, %(lease_state)s, worker, least(%(until)s, deadline), deadline, %(now)s, name,
         pay_pct
    FROM timed RETURNING item_id, id, pay_pct, until, deadline),
unbegun AS MATERIALIZED (
  SELECT b.id FROM batch b WHERE b.id = ANY(ARRAY(SELECT batch_id FROM claimed))
     AND b.state = 'queued' ORDER BY b.id FOR NO KEY UPDATE),
begun AS (
  UPDATE batch b SET state = %(begun)s, version = version + 1, updated_at = %(now)s
   WHERE b.id = ANY(ARRAY(SELECT id FROM unbegun)) RETURNING b.id),
told AS MATERIALIZED (SELECT pg_notify(%(channel)s, id) FROM begun),
nothing AS MATERIALIZED (
  SELECT (SELECT count(*) FROM heads) < (SELECT count(*) FROM able)
         AND NOT EXISTS (SELECT FROM pairs WHERE NOT fits) AS is_left)
SELECT a.name AS asked_as, a.room IS NOT NULL AND (a.room = 0 OR nothing.is_left) AS is_sure,
       a.room > 0 AS has_room,
       i.id, i.number, i.lane, i.asked, i.share_amount, b.asset, i.batch_id, h.id AS lease_id,
       h.pay_pct, {pay} AS pay_amount, h.until, h.deadline
  FROM asked a CROSS JOIN nothing LEFT JOIN held h ON h.id = a.name
  LEFT JOIN claimed i ON i.id = h.item_id LEFT JOIN {batch} b ON true
 WHERE (SELECT count(*) FROM told) >= 0 ORDER BY a.place
"""


def _of_size(size: int) -> str:
    return _CLAIM.format(
        size=size,
        pay_pct=_PAY_PCT,
        until=DEADLINE.format(hand="p.hand"),
        pay=PAY.format(pct="h.pay_pct"),
        batch=BATCH_OF,
    )


_CLAIMS: Final = {size: _of_size(size) for size in SIZES}


class Dealt(NamedTuple):
    """What a worker is given; and whether it was seen that it might be given something."""

    claims: list[Claim]
    has_room: bool = False


class _Answer(NamedTuple):
    """What somebody who has asked is told; of one who is given nothing, no more than his name and
    whether there was nothing for him.
    """

    asked_as: str
    is_sure: bool
    has_room: bool
    id: str
    number: int
    lane: str
    asked: dict[str, Any]
    share_amount: int
    asset: Asset
    batch_id: str
    lease_id: str | None
    pay_pct: int
    pay_amount: int
    until: datetime
    deadline: datetime


async def claim_each(
    tx: Tx,
    claimers: Sequence[Claimer],
    pay_pct: Mapping[str, int],
    lease: LeaseFacts,
    now: datetime,
) -> dict[str, Dealt]:
    """Claim an item for each of at most so many workers, none of them twice, in one of the lanes
    that their part of what it costs is told of; return what each is given, by the name of its
    lease. Who isn't among these is to claim by himself.

    See `db.claims.claim` for what is written.
    """
    size = next(size for size in SIZES if size >= len(claimers))
    rows = await tx.rows(
        _Answer,
        _CLAIMS[size],
        workers=texts([each.worker for each in claimers]),
        names=texts([each.lease_id for each in claimers]),
        at_once=integers([each.at_once for each in claimers]),
        lanes=texts(list(pay_pct)),
        pay=Jsonb(dict(pay_pct)),
        **written(lease, now),
    )
    return {
        row.asked_as: Dealt([Claim(*row[3:])] if row.lease_id is not None else [], row.has_room)
        for row in rows
        if row.lease_id is not None or row.is_sure
    }
