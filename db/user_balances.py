"""What people's accounts have, in each asset, and what has moved it."""

from datetime import datetime
from typing import NamedTuple

from db import invoices
from db.engine import Database
from db.invoices import InvoiceRow
from statemachine.entries import Asset, of_user


class Kept(NamedTuple):
    """What an account has in one asset."""

    asset: Asset
    balance: int


async def balances(db: Database, account_id: str) -> dict[Asset, int]:
    """Return what an account has in every asset, in its smallest unit."""
    rows = await db.rows(
        Kept,
        "SELECT asset, balance FROM account WHERE name = %(name)s",
        name=of_user(account_id).name,
    )
    return dict.fromkeys(Asset, 0) | {row.asset: row.balance for row in rows}


class Move(NamedTuple):
    """What one entry of the books has added to an account; less than nothing: it took."""

    id: int
    key: str
    asset: Asset
    at: datetime
    amount: int


_MOVES = """
SELECT e.id, e.key, e.asset, e.at, -p.amount AS amount
  FROM (SELECT entry_id, amount FROM posting WHERE account = %(name)s AND entry_id < %(before)s
         ORDER BY entry_id DESC LIMIT %(most)s) p
       CROSS JOIN LATERAL (SELECT id, key, asset, at FROM entry WHERE id = p.entry_id LIMIT 1) e
 ORDER BY p.entry_id DESC
"""


async def moves(db: Database, account_id: str, before: int, most: int) -> list[Move]:
    """Return what has moved an account, the newest first, of entries before one."""
    name = of_user(account_id).name
    return await db.rows(Move, _MOVES, name=name, before=before, most=most)


_OPEN = f"""
{invoices.SELECT} WHERE account_id = %(id)s AND state = 'open' ORDER BY created_at DESC
 LIMIT %(most)s
"""


async def open_deposits(db: Database, account_id: str, most: int) -> list[InvoiceRow]:
    """Return deposits of an account that nobody has paid yet, the newest first."""
    return await db.rows(InvoiceRow, _OPEN, id=account_id, most=most)
