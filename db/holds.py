"""Holds: insert, lock, move, and what the house gives away on one day."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from db import balances, ledger
from db.balances import Spendable
from db.engine import Database, Tx
from db.rows import columns
from statemachine.decision import Decision
from statemachine.entries import Asset
from statemachine.hold import HOLD, HoldFacts, HoldState
from statemachine.session import Grounds

_INSERT = """
INSERT INTO hold (id, state, day, purpose, amount_msat, charge_msat, created_at, expires_at)
VALUES (%(id)s, %(state)s, %(day)s, %(purpose)s, %(amount_msat)s, 0, %(now)s, %(until)s)
"""


async def insert_free(
    tx: Tx, facts: HoldFacts, purpose: str, day: date, now: datetime, until: datetime
) -> None:
    """Write a new hold on what the house gives away on a day; when nobody has ended it by `until`,
    it is let go of.
    """
    await tx.execute(
        _INSERT,
        id=facts.id,
        state=facts.state,
        day=day,
        purpose=purpose,
        amount_msat=facts.amount_msat,
        now=now,
        until=until,
    )


_BEGIN_AT_ONCE = """
SELECT begin_hold(%(id)s, %(session_id)s, %(purpose)s, %(amount_msat)s, %(least_msat)s,
                  %(until)s, %(idle_at)s, %(links)s, %(limits)s, %(asset)s, %(at)s, %(keys)s,
                  %(of)s, %(accounts)s, %(kinds)s, %(amounts)s) AS is_done
"""

# The function is called for a row that is found, and for none else.
_BEGIN_SHOWN = f"""{_BEGIN_AT_ONCE}
  FROM session WHERE id = %(session_id)s AND nonce = %(nonce)s AND credential_used_at IS NOT NULL
   AND NOT EXISTS (SELECT FROM revocation WHERE revocation.session_id = %(session_id)s
                      AND link = ANY(%(shown)s))
"""


class Shown(NamedTuple):
    """What a session's row is asked about a credential: its nonce, and the links it is made of."""

    nonce: str
    links: Sequence[str]


async def begin_at_once(
    tx: Tx,
    decision: Decision[HoldFacts],
    grounds: Grounds,
    budgets: Sequence[tuple[str, int]],
    purpose: str,
    until: datetime,
    idle_at: datetime,
    now: datetime,
    shown: Shown | None = None,
) -> bool:
    """Write a new hold on a session with all that goes with it, in one call, where its grounds are
    met and each of the budgets (link, limit) has enough left. False: nothing is written.

    `shown`: and only where the session takes this credential, which was used before.
    """
    facts = decision.facts
    return await _is_done(
        tx,
        _BEGIN_AT_ONCE if shown is None else _BEGIN_SHOWN,
        id=facts.id,
        session_id=facts.session_id,
        purpose=purpose,
        amount_msat=facts.amount_msat,
        least_msat=grounds.balance_msat,
        until=until,
        idle_at=idle_at,
        links=[link for link, _ in budgets] or None,
        limits=[limit_msat for _, limit_msat in budgets] or None,
        nonce=shown.nonce if shown is not None else None,
        shown=list(shown.links) if shown is not None else None,
        **ledger.values_of(decision.entries, Asset.MSAT, now),
    )


_END_AT_ONCE = """
SELECT end_hold(%(id)s, %(session_id)s, %(state)s, %(amount_msat)s, %(charge_msat)s, %(spent_msat)s,
                %(over_msat)s, %(links)s, %(asset)s, %(at)s, %(keys)s, %(of)s, %(accounts)s,
                %(kinds)s, %(amounts)s) AS is_done
"""


async def end_at_once(
    tx: Tx,
    decision: Decision[HoldFacts],
    grounds: Grounds,
    links: Sequence[str],
    now: datetime,
) -> bool:
    """Write the end of a hold on a session with all that goes with it, in one call, where it is
    still held and its grounds are met. `links`: the budgets it was begun with. False: nothing is
    written.
    """
    facts = decision.facts
    return await _is_done(
        tx,
        _END_AT_ONCE,
        id=facts.id,
        session_id=facts.session_id,
        state=facts.state,
        amount_msat=facts.amount_msat,
        charge_msat=facts.charge_msat,
        spent_msat=facts.spent_msat,
        over_msat=grounds.over_minimum_msat,
        links=list(links) or None,
        **ledger.values_of(decision.entries, Asset.MSAT, now),
    )


async def _is_done(tx: Tx, call: str, **values: Any) -> bool:
    told = await tx.row(balances.Done, call, **values)
    return told is not None and told.is_done


class HoldRow(NamedTuple):
    """A hold whose row is locked until the transaction ends."""

    id: str
    state: HoldState
    session_id: str | None
    budgets: list[str] | None
    day: date | None
    amount_msat: int
    charge_msat: int
    spent_msat: int


_LOCK = f"SELECT {columns(HoldRow)} FROM hold WHERE id = %(id)s FOR UPDATE"


async def lock(tx: Tx, hold_id: str) -> tuple[HoldRow, Spendable | None] | None:
    """Return the hold's row, locked, and before it its session; None: the house pays."""
    payer = await balances.ask_payer(tx, hold_id)
    held = await tx.ask(_LOCK, id=hold_id)
    row = await held.row(HoldRow)
    return None if row is None else (row, await balances.payer_of(payer))


def facts_of(row: HoldRow) -> HoldFacts:
    """Return the law's view of a row."""
    return HoldFacts(
        id=row.id,
        state=row.state,
        amount_msat=row.amount_msat,
        session_id=row.session_id,
        charge_msat=row.charge_msat,
        spent_msat=row.spent_msat,
    )


_MOVE = """
UPDATE hold SET state = %(state)s, charge_msat = %(charge_msat)s, spent_msat = %(spent_msat)s,
       ended_at = %(ended_at)s
 WHERE id = %(id)s
"""


async def move(tx: Tx, after: HoldFacts, now: datetime) -> None:
    """Write the facts after an event."""
    await tx.execute(
        _MOVE,
        id=after.id,
        state=after.state,
        charge_msat=after.charge_msat,
        spent_msat=after.spent_msat,
        ended_at=now if HOLD.final(after.state) else None,
    )


async def due(db: Database, now: datetime, limit: int) -> list[str]:
    """Return holds whose call should have been over by now."""
    rows = await db.read_all(
        "SELECT id FROM hold WHERE state = 'held' AND expires_at <= %(now)s"
        " ORDER BY expires_at LIMIT %(limit)s",
        now=now,
        limit=limit,
    )
    return [row["id"] for row in rows]


_OPEN_DAY = "INSERT INTO free_day (day, used_msat) VALUES (%(day)s, 0) ON CONFLICT DO NOTHING"
_GIVE = """
UPDATE free_day SET used_msat = used_msat + %(amount)s WHERE day = %(day)s
   AND used_msat + %(amount)s <= %(cap)s
"""
_TAKE_BACK = "UPDATE free_day SET used_msat = used_msat - %(amount)s WHERE day = %(day)s"


async def give(tx: Tx, day: date, amount_msat: int, cap_msat: int) -> int | None:
    """Set money of the house aside for one day; what was given, when the cap is in the way."""
    await tx.execute(_OPEN_DAY, day=day)
    if await tx.count(_GIVE, day=day, amount=amount_msat, cap=cap_msat):
        return None
    row = await tx.one("SELECT used_msat FROM free_day WHERE day = %(day)s", day=day)
    return int(row["used_msat"]) if row else 0


async def take_back(tx: Tx, day: date, amount_msat: int) -> None:
    """Give back to a day what a call did not need."""
    await tx.execute(_TAKE_BACK, day=day, amount=amount_msat)
