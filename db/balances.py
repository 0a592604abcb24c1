"""What sessions and their credentials' budgets have left: looked at, set aside, given back.

All of it under the lock of the session's row.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from db import ledger
from db.engine import Asked, Row, Tx
from db.rows import columns
from db.sessions import LOCK, SessionRow
from statemachine.entries import Asset, Entry, of_session, of_user
from statemachine.session import Grounds

_USERS = "SELECT balance FROM account WHERE name = %(name)s AND asset = %(asset)s"
_BALANCE = "SELECT balance FROM account WHERE name = %(name)s AND asset = 'msat'"


async def balance(tx: Tx, session_id: str) -> int:
    """Return what the books say of a locked session."""
    return _msat(await tx.one(_BALANCE, name=of_session(session_id).name))


async def lock_of_user(tx: Tx, account_id: str, asset: Asset) -> int:
    """Return what a person's account has in an asset; it is locked until the transaction ends."""
    query = f"{_USERS} FOR UPDATE"
    row = await tx.one(query, name=of_user(account_id).name, asset=asset.value)
    return int(row["balance"]) if row else 0


_DEBIT_USER = """
SELECT debit_account(%(account)s, %(key_id)s, %(amount)s, %(asset)s, %(at)s, %(keys)s, %(of)s,
                     %(accounts)s, %(kinds)s, %(amounts)s) AS left_amount
"""
NOT_OF_KEY = -1


class Left(NamedTuple):
    """What is in the way of a debit: what the account has, or NOT_OF_KEY; None: it is done."""

    left_amount: int | None


async def debit_user(
    tx: Tx,
    account_id: str,
    key_id: str | None,
    amount: int,
    asset: Asset,
    entries: Sequence[Entry],
    now: datetime,
) -> int | None:
    """Have a person's account pay, in one call: see that it has so much, count that of the key that
    has it pay, and post the entries, which are all in this asset.

    Else nothing is written, and it says why: what the account has, where that is less; NOT_OF_KEY
    where the key may not spend so much, or was revoked.
    """
    told = await tx.row(
        Left,
        _DEBIT_USER,
        account=of_user(account_id).name,
        key_id=key_id,
        amount=amount,
        **ledger.values_of(entries, asset, now),
    )
    assert told is not None, "a call returns a row"
    return told.left_amount


class Spendable(NamedTuple):
    """A locked session with what can be spent of it."""

    row: SessionRow
    balance_msat: int
    left_msat: int | None  # of the narrowest of the budgets; None without any


async def lock_to_spend(
    tx: Tx, session_id: str, budgets: Sequence[tuple[str, int]] = ()
) -> Spendable | None:
    """Lock a session, and look what it and these budgets (link, limit) have left."""
    locked = await tx.ask(LOCK, id=session_id)
    # After the lock, and not with it: who has waited for one would see what was before.
    kept = await tx.ask(_BALANCE, name=of_session(session_id).name)
    left = await tx.ask(_LEFT, **_named(budgets)) if budgets else None
    row = await locked.row(SessionRow)
    if row is None:
        return None
    least = None if left is None else await left.one()
    return Spendable(row, _msat(await kept.one()), least["left_msat"] if least else None)


_PAYER = f"""
SELECT {columns(SessionRow)} FROM session
 WHERE id = (SELECT session_id FROM hold WHERE id = %(hold_id)s) FOR UPDATE
"""
_PAYERS_BALANCE = """
SELECT balance FROM account WHERE asset = 'msat'
   AND name = 'session:' || (SELECT session_id FROM hold WHERE id = %(hold_id)s)
"""


async def ask_payer(tx: Tx, hold_id: str) -> tuple[Asked, Asked]:
    """Ask for the session that a hold is of, locked, and for its balance: see `payer_of`."""
    return await tx.ask(_PAYER, hold_id=hold_id), await tx.ask(_PAYERS_BALANCE, hold_id=hold_id)


async def payer_of(asked: tuple[Asked, Asked]) -> Spendable | None:
    """Return the locked session that a hold is of, which never changes; None: the house pays."""
    row, kept = await asked[0].row(SessionRow), await asked[1].one()
    return None if row is None else Spendable(row, _msat(kept), None)


def _msat(kept: Row | None) -> int:
    return int(kept["balance"]) if kept else 0


_SET_ASIDE = """
SELECT set_aside(%(id)s, %(amount_msat)s, %(least_msat)s, %(links)s, %(limits)s, 'msat', %(now)s,
                 %(idle_at)s) AS is_done
"""


class Done(NamedTuple):
    """Whether all that a call should write is written; else nothing is."""

    is_done: bool


async def set_aside(
    tx: Tx,
    session_id: str,
    grounds: Grounds,
    budgets: Sequence[tuple[str, int]],
    idle_at: datetime,
    now: datetime,
) -> bool:
    """Set an amount of a session aside, in one call, where its grounds are met and each of the
    budgets (link, limit) has enough left. False: nothing is written. The entry is the caller's.
    """
    told = await tx.row(
        Done,
        _SET_ASIDE,
        id=session_id,
        amount_msat=grounds.reserved_by_msat,
        least_msat=grounds.balance_msat,
        **(_named(budgets) if budgets else {"links": None, "limits": None}),
        idle_at=idle_at,
        now=now,
    )
    return told is not None and told.is_done


_GIVE_BACK = """
SELECT give_back(%(id)s, %(amount_msat)s, %(back_msat)s, %(over_msat)s, %(links)s, 'msat',
                 %(now)s) AS balance_msat
"""


class Kept(NamedTuple):
    """What was on a balance."""

    balance_msat: int | None


async def give_back(
    tx: Tx, session_id: str, grounds: Grounds, links: Sequence[str] | None, now: datetime
) -> int | None:
    """Have nothing of an amount set aside any more, in one call, where its grounds are met; return
    the balance before its entry, which is the caller's. None: nothing is written.
    """
    told = await tx.row(
        Kept,
        _GIVE_BACK,
        id=session_id,
        amount_msat=-grounds.reserved_by_msat,
        back_msat=grounds.balance_by_msat,
        over_msat=grounds.over_minimum_msat,
        links=list(links) if links else None,
        now=now,
    )
    return told.balance_msat if told else None


_LEFT = """
SELECT min(asked.limit_msat - coalesce(a.used_msat, 0)) AS left_msat
  FROM unnest(CAST(%(links)s AS text[]), CAST(%(limits)s AS bigint[])) AS asked(link, limit_msat)
  LEFT JOIN allowance a ON a.link = asked.link
"""
_UNSPEND = """
UPDATE allowance SET used_msat = used_msat - %(amount)s WHERE link = ANY(CAST(%(links)s AS text[]))
"""


def _named(budgets: Sequence[tuple[str, int]]) -> dict[str, list[Any]]:
    return {"links": [link for link, _ in budgets], "limits": [most for _, most in budgets]}


async def unspend(tx: Tx, links: Sequence[str], amount_msat: int) -> None:
    """Give back to each of these budgets what a request did not need."""
    await tx.execute(_UNSPEND, links=list(links), amount=amount_msat)
