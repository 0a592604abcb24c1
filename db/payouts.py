"""Payouts and their attempts: insert, lock, move, and which the rail should be asked about."""

from datetime import datetime

from psycopg.rows import DictRow
from sqlalchemy import text
from sqlmodel import col, select

from db.engine import Database, Tx, execute
from db.tables import Payout, PayoutAttempt
from statemachine.payout import PayoutFacts, PayoutState


async def insert(
    tx: Tx,
    facts: PayoutFacts,
    job_id: str | None,
    session_id: str | None,
    reason: str,
    now: datetime,
) -> None:
    """Write a payout that a job or a session owes from now on."""
    tx.add(
        Payout(
            id=facts.id,
            job_id=job_id,
            session_id=session_id,
            reason=reason,
            state=facts.state,
            amount_msat=facts.amount_msat,
            attempts=0,
            refund_to=facts.refund_to,
            failures=0,
            created_at=now,
            updated_at=now,
        )
    )
    await tx.flush()


async def lock(tx: Tx, payout_id: str) -> Payout | None:
    """Return the payout's row, locked. Whoever needs its owner's lock too takes that one first."""
    query = select(Payout).where(col(Payout.id) == payout_id).with_for_update()
    return (await tx.exec(query)).one_or_none()


def facts_of(payout: Payout) -> PayoutFacts:
    """Return the law's view of a row."""
    return PayoutFacts(
        id=payout.id,
        state=payout.state,
        amount_msat=payout.amount_msat,
        attempts=payout.attempts,
        refund_to=payout.refund_to,
        failures=payout.failures,
    )


async def move(tx: Tx, payout: Payout, after: PayoutFacts, note: str | None, now: datetime) -> None:
    """Write the state after an event, with what to tell a person about it."""
    payout.state, payout.attempts = after.state, after.attempts
    payout.refund_to, payout.failures = after.refund_to, after.failures
    payout.note, payout.updated_at = note, now
    if after.state is PayoutState.PAID:
        payout.paid_at = now
    await tx.flush()


async def attempt(tx: Tx, payout_id: str, number: int) -> PayoutAttempt | None:
    """Return one attempt's row."""
    query = select(PayoutAttempt).where(
        col(PayoutAttempt.payout_id) == payout_id, col(PayoutAttempt.number) == number
    )
    return (await tx.exec(query)).one_or_none()


async def of_owner(db: Database, owner_id: str) -> list[DictRow]:
    """Return what a job or a session owes, oldest first, each with its live attempt's hash."""
    return await db.read_all(
        "SELECT p.*, (SELECT a.payment_hash FROM payout_attempt a WHERE a.payout_id = p.id"
        " AND a.outcome IN ('live', 'settled')) AS payment_hash FROM payout p"
        " WHERE p.job_id = %(id)s OR p.session_id = %(id)s ORDER BY p.created_at, p.id",
        id=owner_id,
    )


async def get(db: Database, payout_id: str) -> DictRow | None:
    """Return one payout, as it is now."""
    return await db.read_one("SELECT * FROM payout WHERE id = %(id)s", id=payout_id)


async def live_attempt(db: Database, payout_id: str, number: int) -> DictRow | None:
    """Return an attempt whose outcome is not known yet."""
    return await db.read_one(
        "SELECT * FROM payout_attempt WHERE payout_id = %(id)s AND number = %(n)s"
        " AND outcome = 'live'",
        id=payout_id,
        n=number,
    )


async def hash_is_known(db: Database, payment_hash: str) -> str | None:
    """Say what we know a payment_hash as: "invoice" (one of ours), "payout", or None."""
    row = await db.read_one(
        "SELECT 'invoice' AS known FROM invoice WHERE payment_hash = %(h)s"
        " UNION ALL SELECT 'payout' FROM payout_attempt WHERE payment_hash = %(h)s",
        h=payment_hash,
    )
    return str(row["known"]) if row else None


_CALL = text(
    "UPDATE payout_attempt SET called_at = :now, called_by = :by"
    " WHERE payout_id = :id AND number = :n AND outcome = 'live' AND called_at IS NULL"
    " RETURNING payment_hash"
)


async def mark_called(tx: Tx, payout_id: str, number: int, by: str, now: datetime) -> bool:
    """Claim the one pay call of an attempt; False when somebody has claimed it already."""
    values = {"now": now, "by": by, "id": payout_id, "n": number}
    return (await execute(tx, _CALL, values)).one_or_none() is not None


_UNCALL = text(
    "UPDATE payout_attempt SET called_at = NULL, called_by = NULL"
    " WHERE payout_id = :id AND number = :n AND outcome = 'live'"
)


async def unmark_called(tx: Tx, payout_id: str, number: int) -> None:
    """Give the pay call back: it is certain that nothing was sent."""
    await execute(tx, _UNCALL, {"id": payout_id, "n": number})


_DUE = text(
    "UPDATE payout_attempt SET checks = checks + 1, check_at ="
    " CAST(:now AS timestamptz) + least(:most_s, :least_s * power(2, least(checks, 20)))"
    " * interval '1 second'"
    " WHERE payment_hash IN (SELECT payment_hash FROM payout_attempt WHERE check_at IS NOT NULL"
    " AND check_at <= :now ORDER BY check_at LIMIT :limit FOR UPDATE SKIP LOCKED)"
    " RETURNING payout_id, number, payment_hash, called_at, expires_at"
)


async def take_due(
    tx: Tx, now: datetime, least_s: int, most_s: int, limit: int
) -> list[tuple[str, int]]:
    """Return live attempts whose turn it is to be asked about; the next turn comes later."""
    values = {"now": now, "least_s": least_s, "most_s": most_s, "limit": limit}
    return [(row.payout_id, row.number) for row in (await execute(tx, _DUE, values)).all()]
