"""Holds: insert, lock, move, and what the house gives away on one day."""

from datetime import date, datetime

from sqlalchemy import text
from sqlmodel import col, select

from db.engine import Database, Tx, execute
from db.tables import Hold
from statemachine.hold import HOLD, HoldFacts


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
    tx.add(
        Hold(
            id=facts.id,
            state=facts.state,
            session_id=facts.session_id,
            budgets=budgets,
            day=day,
            purpose=purpose,
            amount_msat=facts.amount_msat,
            created_at=now,
            expires_at=until,
        )
    )
    await tx.flush()


async def session_of(tx: Tx, hold_id: str) -> str | None:
    """Return whose balance a hold is of; it never changes, so no lock is needed."""
    query = select(Hold.session_id).where(col(Hold.id) == hold_id)
    return (await tx.exec(query)).one_or_none()


async def lock(tx: Tx, hold_id: str) -> Hold | None:
    """Return the hold's row, locked. Whoever needs its session's lock too takes that one first."""
    query = select(Hold).where(col(Hold.id) == hold_id).with_for_update()
    return (await tx.exec(query)).one_or_none()


def facts_of(row: Hold) -> HoldFacts:
    """Return the law's view of a row."""
    return HoldFacts(
        id=row.id,
        state=row.state,
        amount_msat=row.amount_msat,
        session_id=row.session_id,
        charge_msat=row.charge_msat,
    )


async def move(tx: Tx, row: Hold, after: HoldFacts, now: datetime) -> None:
    """Write the facts after an event."""
    row.state, row.charge_msat = after.state, after.charge_msat
    if HOLD.final(after.state):
        row.ended_at = now
    await tx.flush()


async def due(db: Database, now: datetime, limit: int) -> list[str]:
    """Return holds whose call should have been over by now."""
    rows = await db.read_all(
        "SELECT id FROM hold WHERE state = 'held' AND expires_at <= %(now)s"
        " ORDER BY expires_at LIMIT %(limit)s",
        now=now,
        limit=limit,
    )
    return [row["id"] for row in rows]


_OPEN_DAY = text("INSERT INTO free_day (day, used_msat) VALUES (:day, 0) ON CONFLICT DO NOTHING")
_GIVE = text(
    "UPDATE free_day SET used_msat = used_msat + :amount WHERE day = :day"
    " AND used_msat + :amount <= :cap RETURNING used_msat"
)
_USED = text("SELECT used_msat FROM free_day WHERE day = :day")
_TAKE_BACK = text("UPDATE free_day SET used_msat = used_msat - :amount WHERE day = :day")


async def give(tx: Tx, day: date, amount_msat: int, cap_msat: int) -> int | None:
    """Set money of the house aside for one day; what was given, when the cap is in the way."""
    await execute(tx, _OPEN_DAY, {"day": day})
    values = {"day": day, "amount": amount_msat, "cap": cap_msat}
    if (await execute(tx, _GIVE, values)).one_or_none() is not None:
        return None
    return int((await execute(tx, _USED, {"day": day})).scalar_one())


async def take_back(tx: Tx, day: date, amount_msat: int) -> None:
    """Give back to a day what a call did not need."""
    await execute(tx, _TAKE_BACK, {"day": day, "amount": amount_msat})
