"""How far a chain is read for an address: the newest block is the cursor, those before it are where
reading can begin anew after a reorganisation.
"""

from datetime import UTC, datetime
from typing import NamedTuple

from db.engine import Database, Tx

KEPT = 500  # of one address


class Watch(NamedTuple):
    """What is read: transfers to this address, on this chain."""

    network: str
    pay_to: str


class BlockRow(NamedTuple):
    """A block up to which all was read."""

    number: int
    hash: str
    at: datetime


_OF = "FROM chain_block WHERE network = %(network)s AND pay_to = %(pay_to)s"
_NEWEST = f"SELECT number, hash, at {_OF} ORDER BY number DESC LIMIT %(most)s"


async def newest(db: Database, watch: Watch, most: int = 1) -> list[BlockRow]:
    """Return the blocks up to which was read, the newest first."""
    return await db.rows(BlockRow, _NEWEST, **watch._asdict(), most=most)


_MOVE = """
INSERT INTO chain_block (network, pay_to, number, hash, at)
VALUES (%(network)s, %(pay_to)s, %(number)s, %(hash)s, %(at)s) ON CONFLICT DO NOTHING
"""
_FORGET = f"DELETE {_OF} AND number < (SELECT min(number) FROM ({_NEWEST}) kept)"


async def lock(tx: Tx, watch: Watch) -> None:
    """Have nobody else move the cursor of this address until the transaction ends."""
    name = f"chain {watch.network} {watch.pay_to}"
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(%(name)s, 0))", name=name)


async def is_at(tx: Tx, watch: Watch, number: int | None, hash_: str | None) -> bool:
    """Say whether a locked cursor is at this block; None: nothing was read."""
    row = await tx.row(BlockRow, _NEWEST, **watch._asdict(), most=1)
    return (number, hash_) == (None, None) if row is None else (row.number, row.hash) == (
        number,
        hash_,
    )  # fmt: skip


async def move(tx: Tx, watch: Watch, number: int, hash_: str, at_s: int) -> None:
    """Move a locked cursor on; the oldest of the blocks that are kept are forgotten."""
    at = datetime.fromtimestamp(at_s, UTC)
    await tx.execute(_MOVE, **watch._asdict(), number=number, hash=hash_, at=at)
    await tx.execute(_FORGET, **watch._asdict(), most=KEPT)


async def go_back(tx: Tx, watch: Watch, number: int) -> None:
    """Move a locked cursor back to a block."""
    await tx.execute(f"DELETE {_OF} AND number > %(number)s", **watch._asdict(), number=number)
