"""Leases: found by their item and number, beaten, ended, and which are due to lapse."""

from datetime import datetime
from typing import Any, NamedTuple

from db.claims import PAY
from db.engine import Database, Tx
from db.rows import columns
from statemachine.entries import Asset
from statemachine.item import ItemState
from statemachine.lease import LeaseFacts, LeaseState


class LeaseRow(NamedTuple):
    """A lease whose row is locked until the transaction ends."""

    item_id: str
    number: int
    state: LeaseState
    worker: str
    until: datetime
    deadline: datetime
    progress: int
    sha256: str | None
    id: str | None  # of a worker of the network
    pay_pct: int
    created_at: datetime
    preview: str | None  # by what name it is stored how its item looks by now


_LOCK = f"""
SELECT {columns(LeaseRow)} FROM lease WHERE item_id = %(item_id)s AND number = %(number)s FOR UPDATE
"""
_LOCK_HELD = f"""
SELECT {columns(LeaseRow)} FROM lease WHERE item_id = %(item_id)s AND state = 'held' FOR UPDATE
"""


async def lock(tx: Tx, item_id: str, number: int) -> LeaseRow | None:
    """Return a lease's row, locked; who needs its item's lock too takes that one first."""
    return await tx.row(LeaseRow, _LOCK, item_id=item_id, number=number)


async def lock_held(tx: Tx, item_id: str) -> LeaseRow | None:
    """Return the lease that holds an item, locked; None where nobody does."""
    return await tx.row(LeaseRow, _LOCK_HELD, item_id=item_id)


_GET = f"""
SELECT {columns(LeaseRow)} FROM lease WHERE item_id = %(item_id)s AND number = %(number)s
"""


async def get(db: Database, item_id: str, number: int) -> LeaseRow | None:
    """Return a lease as it is now."""
    return await db.row(LeaseRow, _GET, item_id=item_id, number=number)


class Named(NamedTuple):
    """A lease of a worker of the network, with what it is to make and how it is paid for it."""

    id: str
    item_id: str
    number: int
    state: LeaseState
    until: datetime
    deadline: datetime
    progress: int
    pay_pct: int
    lane: str
    asked: dict[str, Any]
    share_amount: int
    asset: Asset
    item: ItemState
    pay_amount: int


_NAMED = f"""
SELECT l.id, l.item_id, l.number, l.state, l.until, l.deadline, l.progress, l.pay_pct, i.lane,
       i.asked, i.share_amount, b.asset, i.state AS item,
       {PAY.format(pct="l.pay_pct")} AS pay_amount
  FROM lease l JOIN item i ON i.id = l.item_id JOIN batch b ON b.id = i.batch_id
 WHERE l.worker = %(worker)s
"""


async def named(db: Database, lease_id: str, worker: str) -> Named | None:
    """Return a lease of a worker by the lease's own name; another's isn't there for it."""
    query = f"{_NAMED} AND l.id = %(id)s"
    return await db.row(Named, query, id=lease_id, worker=worker)


async def held_by(db: Database, worker: str) -> list[Named]:
    """Return what a worker of the network holds, the oldest first."""
    query = f"{_NAMED} AND l.state = 'held' AND l.id IS NOT NULL ORDER BY l.created_at, l.id"
    return await db.rows(Named, query, worker=worker)


class _Counted(NamedTuple):
    leases: int


_HOLDS = """
SELECT count(*) AS leases FROM lease
 WHERE worker = %(worker)s AND state = 'held' AND id IS NOT NULL
"""


async def count_held(db: Database, worker: str) -> int:
    """Return how much a worker of the network holds."""
    row = await db.row(_Counted, _HOLDS, worker=worker)
    return row.leases if row else 0


def facts_of(row: LeaseRow) -> LeaseFacts:
    """Return the law's view of a row."""
    return LeaseFacts(row.item_id, row.number, row.state, row.until, row.deadline, row.sha256)


# No column of an index is written: a row that beats stays on its page.
_BEAT = """
UPDATE lease SET until = %(until)s, progress = greatest(progress, %(progress)s),
       preview = coalesce(%(preview)s, preview)
 WHERE item_id = %(item_id)s AND number = %(number)s
"""
_END = """
UPDATE lease SET state = %(state)s, sha256 = %(sha256)s, ended_at = %(now)s
 WHERE item_id = %(item_id)s AND number = %(number)s
"""


async def beat(tx: Tx, after: LeaseFacts, progress: int, preview: str | None) -> None:
    """Write until when a lease is held, and how far its holder has come, in percent.

    `preview`: by what name it is stored how its item looks by now; None: as before.
    """
    await tx.execute(
        _BEAT,
        item_id=after.item_id,
        number=after.number,
        until=after.until,
        progress=progress,
        preview=preview,
    )


async def end(tx: Tx, after: LeaseFacts, now: datetime) -> None:
    """Write how a lease has ended."""
    await tx.execute(
        _END,
        item_id=after.item_id,
        number=after.number,
        state=after.state,
        sha256=after.sha256,
        now=now,
    )


_SPEND = """
UPDATE lease SET cost_amount = %(cost_amount)s
 WHERE item_id = %(item_id)s AND number = %(number)s AND cost_amount = 0
"""


async def spend(tx: Tx, item_id: str, number: int, cost_amount: int) -> bool:
    """Write what the call of a lease's holder has cost the house; False: it was written before."""
    return bool(await tx.count(_SPEND, item_id=item_id, number=number, cost_amount=cost_amount))


class Due(NamedTuple):
    """A lease whose time is over."""

    item_id: str
    number: int


_DUE = f"""
SELECT {columns(Due)} FROM lease WHERE state = 'held' AND until <= %(now)s LIMIT %(limit)s
"""


async def due(db: Database, now: datetime, limit: int) -> list[Due]:
    """Return leases whose holders were not heard of in time."""
    return await db.rows(Due, _DUE, now=now, limit=limit)
