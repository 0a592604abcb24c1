"""Keys of workers that speak another network's dialect: one of a worker, the last that was made."""

from datetime import datetime
from typing import NamedTuple

from db.engine import Database, Tx
from db.rows import columns
from db.workers import WorkerRow
from statemachine.entries import Asset
from statemachine.lease import LeaseState

_PUT = """
INSERT INTO stock_key (worker_id, sha256, created_at) VALUES (%(worker_id)s, %(sha256)s, %(now)s)
ON CONFLICT (worker_id) DO UPDATE SET sha256 = excluded.sha256, created_at = excluded.created_at
"""


async def put(tx: Tx, worker_id: str, sha256: str, now: datetime) -> None:
    """Write a worker's key; the one that it had is none from then on."""
    await tx.execute(_PUT, worker_id=worker_id, sha256=sha256, now=now)


_BY_KEY = f"""
SELECT {columns(WorkerRow)} FROM worker
 WHERE id = (SELECT worker_id FROM stock_key WHERE sha256 = %(sha256)s)
"""


async def worker(db: Database, sha256: str) -> WorkerRow | None:
    """Return the worker whose key has this hash."""
    return await db.row(WorkerRow, _BY_KEY, sha256=sha256)


class Awaited(NamedTuple):
    """A lease, as who brings its file to the address of that file is known by it."""

    worker: str
    state: LeaseState


async def awaited(db: Database, lease_id: str) -> Awaited | None:
    """Return the lease of this name, whoever holds it."""
    query = "SELECT worker, state FROM lease WHERE id = %(id)s"
    return await db.row(Awaited, query, id=lease_id)


class Earned(NamedTuple):
    """What a worker has ever earned in one asset."""

    asset: Asset
    amount: int


async def earned(db: Database, worker_id: str) -> dict[Asset, int]:
    """Return what a worker has ever earned, by asset; what is not there is nothing."""
    query = (
        "SELECT asset, sum(amount)::bigint AS amount FROM earning"
        " WHERE worker_id = %(id)s GROUP BY asset"
    )
    return {row.asset: row.amount for row in await db.rows(Earned, query, id=worker_id)}
