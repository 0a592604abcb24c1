"""Sessions: insert, lock, move, look, and what their credentials may still spend."""

from collections.abc import Sequence
from datetime import datetime

from psycopg.rows import DictRow
from sqlalchemy import text
from sqlmodel import col, select

from db.engine import Database, Tx, execute
from db.tables import Revocation, Session
from statemachine.entries import of_session
from statemachine.session import SessionFacts

CHANNEL = "boltwork_job"  # a session's id is told where a job's is: whoever waits, waits for an id
_NOTIFY = text("SELECT pg_notify(:channel, :session_id)")
_BALANCE = text("SELECT balance FROM account WHERE name = :name AND asset = 'msat'")


async def insert(
    tx: Tx, facts: SessionFacts, refund_to: str | None, nonce: str, until: datetime, now: datetime
) -> Session:
    """Write a new session; `until`: it is forgotten when its deposit has not come by then."""
    row = Session(
        id=facts.id,
        state=facts.state,
        version=1,
        minimum_msat=facts.minimum_msat,
        refund_to=refund_to,
        nonce=nonce,
        created_at=now,
        updated_at=now,
        expires_at=until,
    )
    tx.add(row)
    await tx.flush()
    return row


async def lock(tx: Tx, session_id: str) -> Session | None:
    """Return the session's row, locked until the transaction ends; None when there is none."""
    query = select(Session).where(col(Session.id) == session_id).with_for_update()
    return (await tx.exec(query)).one_or_none()


async def facts_of(tx: Tx, row: Session) -> SessionFacts:
    """Return the law's view of a locked row, with its balance in the books."""
    kept = (await execute(tx, _BALANCE, {"name": of_session(row.id).name})).scalar_one_or_none()
    return SessionFacts(
        id=row.id,
        state=row.state,
        balance_msat=kept or 0,
        minimum_msat=row.minimum_msat,
        reserved_msat=row.reserved_msat,
        topups=row.topups,
        rests=row.rests,
    )


async def move(
    tx: Tx, row: Session, after: SessionFacts, expires_at: datetime, now: datetime
) -> None:
    """Write the facts after an event, and tell whoever waits."""
    row.state, row.reserved_msat = after.state, after.reserved_msat
    row.topups, row.rests, row.expires_at = after.topups, after.rests, expires_at
    await touch(tx, row, now)


async def touch(tx: Tx, row: Session, now: datetime) -> None:
    """Count a visible change that leaves the state as it is."""
    row.version += 1
    row.updated_at = now
    await tx.flush()
    await execute(tx, _NOTIFY, {"channel": CHANNEL, "session_id": row.id})


async def get(db: Database, session_id: str, links: Sequence[str] = ()) -> DictRow | None:
    """Return a session with its balance, and whether one of these links was revoked."""
    return await db.read_one(
        "SELECT s.*, coalesce(a.balance, 0) AS balance_msat, EXISTS (SELECT 1 FROM revocation r"
        " WHERE r.session_id = s.id AND r.link = ANY(%(links)s)) AS is_revoked FROM session s"
        " LEFT JOIN account a ON a.name = 'session:' || s.id AND a.asset = 'msat'"
        " WHERE s.id = %(id)s",
        id=session_id,
        links=list(links),
    )


# One text for all the links: to write an array for psycopg costs more than to read this.
_STANDING = """
SELECT s.nonce, s.credential_used_at IS NULL AS is_new, EXISTS (SELECT 1 FROM revocation r
       WHERE r.session_id = s.id AND r.link = ANY(string_to_array(%(links)s, ' '))) AS is_revoked,
       j.version, split_part(%(links)s, ' ', -1) = ANY(j.credential) AS is_its_asker
  FROM session s LEFT JOIN job j ON j.id = %(request_id)s AND j.session_id = s.id
 WHERE s.id = %(id)s
"""


async def standing(
    db: Database, session_id: str, links: Sequence[str], request_id: str
) -> DictRow | None:
    """Return whether a credential is taken (its session's nonce, and whether one of these links was
    revoked) and was used before; and the version of a request of that session, None where there is
    none, and whether the last of these links, or one made from it, has asked for it.
    """
    values = {"id": session_id, "links": " ".join(links), "request_id": request_id}
    return await db.read_one(_STANDING, **values)


async def open_invoices(db: Database, session_id: str) -> list[DictRow]:
    """Return its deposit, and its top-up where one is pending."""
    return await db.read_all(
        "SELECT id, purpose, state, amount_msat, bolt11, payment_hash, preimage, expires_at"
        " FROM invoice WHERE session_id = %(id)s AND (purpose = 'deposit'"
        " OR state IN ('wanted', 'open')) ORDER BY created_at",
        id=session_id,
    )


async def idle(db: Database, now: datetime, limit: int) -> list[str]:
    """Return sessions that nobody has used for too long, and that no request runs on."""
    rows = await db.read_all(
        "SELECT id FROM session WHERE state IN ('active', 'paused') AND expires_at <= %(now)s"
        " AND reserved_msat = 0 ORDER BY expires_at LIMIT %(limit)s",
        now=now,
        limit=limit,
    )
    return [row["id"] for row in rows]


_TOPUP = text(
    "SELECT id FROM invoice WHERE session_id = :id AND purpose = 'topup'"
    " AND state IN ('wanted', 'open')"
)


async def pending_topup(tx: Tx, session_id: str) -> str | None:
    """Return the name of the top-up that is not paid yet, if there is one."""
    found: str | None = (await execute(tx, _TOPUP, {"id": session_id})).scalar_one_or_none()
    return found


_LEFT = text(
    "SELECT min(asked.limit_msat - coalesce(a.used_msat, 0)) FROM"
    " unnest(CAST(:links AS text[]), CAST(:limits AS bigint[])) AS asked(link, limit_msat)"
    " LEFT JOIN allowance a ON a.link = asked.link"
)
_SPEND = text(
    "INSERT INTO allowance (link, session_id, limit_msat, used_msat)"
    " SELECT link, :session_id, limit_msat, :amount FROM"
    " unnest(CAST(:links AS text[]), CAST(:limits AS bigint[])) AS asked(link, limit_msat)"
    " ON CONFLICT (link) DO UPDATE SET used_msat = allowance.used_msat + :amount"
)
_UNSPEND = text(
    "UPDATE allowance SET used_msat = used_msat - :amount WHERE link = ANY(CAST(:links AS text[]))"
)


async def least_left(tx: Tx, budgets: Sequence[tuple[str, int]]) -> int | None:
    """Return what the narrowest of these budgets (link, limit) has left; None without any."""
    if not budgets:
        return None
    values = {"links": [link for link, _ in budgets], "limits": [most for _, most in budgets]}
    left: int | None = (await execute(tx, _LEFT, values)).scalar_one()
    return left


async def spend(
    tx: Tx, session_id: str, budgets: Sequence[tuple[str, int]], amount_msat: int
) -> None:
    """Set an amount aside on each of these budgets. Beyond a limit the transaction fails."""
    if budgets:
        values = {
            "session_id": session_id,
            "links": [link for link, _ in budgets],
            "limits": [most for _, most in budgets],
            "amount": amount_msat,
        }
        await execute(tx, _SPEND, values)


async def unspend(tx: Tx, links: Sequence[str], amount_msat: int) -> None:
    """Give back to each of these budgets what a request did not need."""
    await execute(tx, _UNSPEND, {"links": list(links), "amount": amount_msat})


async def revoke(tx: Tx, session_id: str, link: str, now: datetime) -> None:
    """Take a credential, and all its children, no more."""
    if await tx.get(Revocation, (session_id, link)) is None:
        tx.add(Revocation(session_id=session_id, link=link, at=now))
        await tx.flush()


async def renew(tx: Tx, row: Session, nonce: str, now: datetime) -> None:
    """Take no credential of this session any more but a new one with this nonce.

    It counts as used: its holder is given it, and those who hold an old one know the session's id.
    """
    row.nonce, row.credential_used_at = nonce, now
    await touch(tx, row, now)


async def direct(tx: Tx, session_id: str, refund_to: str) -> None:
    """Name where all that the session will owe goes by itself."""
    row = await lock(tx, session_id)
    if row is not None:
        row.refund_to = refund_to
        await tx.flush()


_USED = text(
    "UPDATE session SET credential_used_at = :now WHERE id = :id AND credential_used_at IS NULL"
)


async def mark_used(tx: Tx, session_id: str, now: datetime) -> None:
    """Write down that somebody holds the credential: it is shown to nobody else from now on."""
    await execute(tx, _USED, {"id": session_id, "now": now})
