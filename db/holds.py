"""Holds: insert, lock, move, and what the house gives away on one day."""

from datetime import date, datetime

from db.engine import Database, Tx
from db.tables import Hold
from statemachine.hold import HOLD, HoldFacts

_INSERT = """
INSERT INTO hold (id, state, session_id, budgets, day, purpose, amount_msat, charge_msat,
                  created_at, expires_at)
VALUES (%(id)s, %(state)s, %(session_id)s, %(budgets)s, %(day)s, %(purpose)s, %(amount_msat)s, 0,
        %(now)s, %(until)s)
"""


async def insert(
    tx: Tx,
    facts: HoldFacts,
    purpose: str,
    budgets: list[str] | None,
    day: date | None,
    now: datetime,
    until: datetime,
) -> None:
    """Write a new hold; when nobody has ended it by `until`, it is let go of."""
    await tx.execute(
        _INSERT,
        id=facts.id,
        state=facts.state,
        session_id=facts.session_id,
        budgets=budgets,
        day=day,
        purpose=purpose,
        amount_msat=facts.amount_msat,
        now=now,
        until=until,
    )


async def lock(tx: Tx, hold_id: str) -> Hold | None:
    """Return the hold's row, locked. Whoever needs its session's lock too takes that one first."""
    row = await tx.one("SELECT * FROM hold WHERE id = %(id)s FOR UPDATE", id=hold_id)
    return Hold.model_validate(row) if row else None


def facts_of(row: Hold) -> HoldFacts:
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


async def move(tx: Tx, row: Hold, after: HoldFacts, now: datetime) -> None:
    """Write the facts after an event."""
    row.state, row.charge_msat, row.spent_msat = after.state, after.charge_msat, after.spent_msat
    if HOLD.final(after.state):
        row.ended_at = now
    await tx.execute(_MOVE, **dict(row))


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
    if await tx.execute(_GIVE, day=day, amount=amount_msat, cap=cap_msat):
        return None
    row = await tx.one("SELECT used_msat FROM free_day WHERE day = %(day)s", day=day)
    return int(row["used_msat"]) if row else 0


async def take_back(tx: Tx, day: date, amount_msat: int) -> None:
    """Give back to a day what a call did not need."""
    await tx.execute(_TAKE_BACK, day=day, amount=amount_msat)
