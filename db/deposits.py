"""Deposits in USDC: insert, find, claim, and what an operator looks at."""

from datetime import datetime
from typing import NamedTuple

from db.chain_blocks import Watch
from db.engine import Database, Tx
from db.rows import Reads, columns
from statemachine.deposit import DepositFacts, DepositState


class DepositRow(NamedTuple):
    """A deposit as it is now."""

    id: str
    network: str
    pay_to: str
    txid: str
    block: int
    sent_at: datetime
    payer: str
    amount_microusdc: int
    authorization_id: str | None
    state: DepositState
    account_id: str | None
    note: str | None
    created_at: datetime
    claimed_at: datetime | None
    gone_at: datetime | None


_COLUMNS = columns(DepositRow)
_SELECT = f"SELECT {_COLUMNS} FROM usdc_deposit"
_VALUES = ", ".join(f"%({name})s" for name in DepositRow._fields)
_INSERT = f"INSERT INTO usdc_deposit ({_COLUMNS}) VALUES ({_VALUES}) ON CONFLICT (id) DO NOTHING"


async def insert(tx: Tx, row: DepositRow) -> bool:
    """Write a deposit; False: it was written before."""
    return bool(await tx.count(_INSERT, **row._asdict()))


_SEE = """
UPDATE usdc_deposit SET block = %(block)s, sent_at = %(sent_at)s, gone_at = NULL WHERE id = %(id)s
"""


async def see_again(tx: Tx, deposit_id: str, block: int, sent_at: datetime) -> bool:
    """Note that a deposit is on the chain, in this block; False: there is no such deposit."""
    return bool(await tx.count(_SEE, id=deposit_id, block=block, sent_at=sent_at))


_MISS = """
UPDATE usdc_deposit SET gone_at = %(now)s
 WHERE network = %(network)s AND pay_to = %(pay_to)s AND block > %(block)s AND gone_at IS NULL
"""


async def miss(tx: Tx, watch: Watch, block: int, now: datetime) -> int:
    """Note that all after a block are not on the chain, until they are seen again."""
    return await tx.count(_MISS, **watch._asdict(), block=block, now=now)


async def get(reads: Reads, deposit_id: str) -> DepositRow | None:
    """Return a deposit as it is now."""
    return await reads.row(DepositRow, f"{_SELECT} WHERE id = %(id)s", id=deposit_id)


async def lock(tx: Tx, deposit_id: str) -> DepositRow | None:
    """Return a deposit, locked."""
    return await tx.row(DepositRow, f"{_SELECT} WHERE id = %(id)s FOR UPDATE", id=deposit_id)


async def of_order(tx: Tx, authorization: str) -> DepositRow | None:
    """Return the deposit that a signed order has made, before it was handed to us."""
    query = f"{_SELECT} WHERE authorization_id = %(id)s"
    return await tx.row(DepositRow, query, id=authorization)


_LOCK_UNCLAIMED = f"""
{_SELECT} WHERE state = 'unclaimed' AND payer = %(payer)s AND gone_at IS NULL ORDER BY id FOR UPDATE
"""


async def lock_unclaimed(tx: Tx, payer: str) -> list[DepositRow]:
    """Return all that an address has sent, and nobody has, locked."""
    return await tx.rows(DepositRow, _LOCK_UNCLAIMED, payer=payer)


def facts_of(row: DepositRow) -> DepositFacts:
    """Return the law's view of a row."""
    return DepositFacts(row.id, row.state, row.amount_microusdc, row.account_id)


async def move(tx: Tx, after: DepositFacts, now: datetime) -> None:
    """Write whose a locked deposit is."""
    await tx.execute(
        "UPDATE usdc_deposit SET state = %(state)s, account_id = %(account_id)s,"
        " claimed_at = %(now)s WHERE id = %(id)s",
        id=after.id,
        state=after.state,
        account_id=after.account_id,
        now=now,
    )


async def lock_name(tx: Tx, name: str) -> None:
    """Have whoever acts on the same address, or the same order, wait until this has ended."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(%(name)s, 0))", name=name)


_UNCLAIMED = f"""
{_SELECT} WHERE state = 'unclaimed' ORDER BY created_at DESC, block DESC, id LIMIT %(most)s
"""


async def unclaimed(db: Database, most: int) -> list[DepositRow]:
    """Return what nobody has, the newest first."""
    return await db.rows(DepositRow, _UNCLAIMED, most=most)


async def gone(db: Database, most: int) -> list[DepositRow]:
    """Return what is in the books, and on the chain no more, the oldest first."""
    query = f"{_SELECT} WHERE gone_at IS NOT NULL ORDER BY gone_at, id LIMIT %(most)s"
    return await db.rows(DepositRow, query, most=most)
