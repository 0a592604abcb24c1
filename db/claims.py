"""Items are claimed in one statement: those whose turn it is, each by one worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from db.engine import Tx
from db.jobs import CHANNEL
from statemachine.batch import BATCH, BatchEvent, BatchState
from statemachine.entries import Asset
from statemachine.item import ITEM, ItemEvent, ItemState
from statemachine.lease import LeaseFacts, LeaseState


class _Claimed(NamedTuple):
    """An item as it was when it was claimed."""

    id: str
    number: int
    lane: str
    asked: dict[str, Any]
    share_amount: int
    asset: Asset
    batch_id: str
    lease_id: str | None
    pay_pct: int


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
    until: datetime
    deadline: datetime


# The head of each lane is looked at, and locked is only in the best of them. With the first of its
# items a batch has begun: all of it is one statement, for a claim is what there is most of.
_CLAIM = """
WITH best AS MATERIALIZED (
  SELECT f.lane, f.rank AS floor FROM lane_floor f
   CROSS JOIN LATERAL (
         SELECT i.rank FROM item i WHERE i.state = 'pending' AND i.rank IS NOT NULL
            AND i.lane = f.lane AND i.rank >= f.rank AND %(worker)s <> ALL(i.tried)
          ORDER BY i.rank, i.id LIMIT 1) AS head
   WHERE f.lane = ANY(%(lanes)s) ORDER BY head.rank LIMIT 1),
taken AS MATERIALIZED (
  SELECT i.id FROM item i WHERE i.state = 'pending' AND i.rank IS NOT NULL
     AND i.lane = (SELECT lane FROM best) AND i.rank >= (SELECT floor FROM best)
     AND %(worker)s <> ALL(i.tried)
   ORDER BY i.rank, i.id LIMIT %(most)s FOR UPDATE SKIP LOCKED),
claimed AS (
  UPDATE item SET state = %(state)s, number = number + 1 FROM taken WHERE item.id = taken.id
  RETURNING item.id, item.number, item.lane, item.rank, item.asked, item.share_amount,
            item.batch_id),
held AS (
  INSERT INTO lease (item_id, number, state, worker, until, deadline, created_at, id, pay_pct)
  SELECT id, number, %(lease_state)s, %(worker)s, %(until)s, %(deadline)s, %(now)s,
         (CAST(%(names)s AS text[]))[row_number() OVER (ORDER BY rank, id)],
         coalesce((CAST(%(pay)s AS jsonb) ->> lane)::bigint, 0)
    FROM claimed RETURNING item_id, id, pay_pct),
begun AS (
  UPDATE batch b SET state = %(begun)s, version = version + 1, updated_at = %(now)s
    FROM claimed WHERE b.id = claimed.batch_id AND b.state = 'queued' RETURNING b.id),
told AS MATERIALIZED (SELECT pg_notify(%(channel)s, id) FROM begun)
SELECT c.id, c.number, c.lane, c.asked, c.share_amount,
       (SELECT asset FROM batch b WHERE b.id = c.batch_id) AS asset, c.batch_id,
       h.id AS lease_id, h.pay_pct
  FROM claimed c JOIN held h ON h.item_id = c.id
 WHERE (SELECT count(*) FROM told) >= 0 ORDER BY c.rank, c.id
"""


@dataclass(frozen=True, slots=True)
class Hired:
    """How a worker of the network is paid: a part of what an item costs, by its lane; and names for
    its leases, one for each that it may be given.
    """

    pay_pct: Mapping[str, int]
    names: Sequence[str]


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

    `lease`: until when he holds each. Two claimers never get the same one. A batch whose first item
    it is has begun, and whoever waits for another state of it is told.
    """
    claimed = await tx.rows(
        _Claimed,
        _CLAIM,
        worker=worker,
        lanes=list(in_lanes),
        most=most,
        state=ITEM.step(ItemState.PENDING, ItemEvent.CLAIMED),
        begun=BATCH.step(BatchState.QUEUED, BatchEvent.BEGUN),
        channel=CHANNEL,
        lease_state=LeaseState.HELD,
        until=lease.until,
        deadline=lease.deadline,
        now=now,
        names=list(hired.names),
        pay=Jsonb(dict(hired.pay_pct)),
    )
    return [Claim(*each, lease.until, lease.deadline) for each in claimed]
