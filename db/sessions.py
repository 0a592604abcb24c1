"""Sessions: insert, lock, move, look, and whose credentials are taken."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from db import invoices
from db.engine import Database, Tx
from db.invoices import InvoiceRow
from db.lookups import Lookup
from db.rows import Reads, columns, in_one_moment
from statemachine.session import SessionEnd, SessionFacts, SessionState

CHANNEL = "boltwork_job"  # a session's id is told where a job's is: whoever waits, waits for an id

_INSERT = """
INSERT INTO session (id, state, version, minimum_msat, reserved_msat, topups, rests, refund_to,
                     nonce, claim_sha256, created_at, updated_at, expires_at)
VALUES (%(id)s, %(state)s, 1, %(minimum_msat)s, 0, 0, 0, %(refund_to)s, %(nonce)s,
        %(claim_sha256)s, %(now)s, %(now)s, %(until)s)
"""


async def insert(
    tx: Tx,
    facts: SessionFacts,
    refund_to: str | None,
    nonce: str,
    claim_sha256: str | None,
    until: datetime,
    now: datetime,
) -> None:
    """Write a new session; `until`: it is forgotten when its deposit has not come by then."""
    await tx.execute(
        _INSERT,
        id=facts.id,
        state=facts.state,
        minimum_msat=facts.minimum_msat,
        refund_to=refund_to,
        nonce=nonce,
        claim_sha256=claim_sha256,
        now=now,
        until=until,
    )


class SessionRow(NamedTuple):
    """A session whose row is locked until the transaction ends."""

    id: str
    state: SessionState
    minimum_msat: int
    reserved_msat: int
    topups: int
    rests: int
    refund_to: str | None
    ended: SessionEnd | None
    expires_at: datetime


LOCK = f"SELECT {columns(SessionRow)} FROM session WHERE id = %(id)s FOR UPDATE"


async def lock(tx: Tx, session_id: str) -> SessionRow | None:
    """Return the session's row, locked; None when there is none."""
    return await tx.row(SessionRow, LOCK, id=session_id)


def facts_of(row: SessionRow, balance_msat: int) -> SessionFacts:
    """Return the law's view of a locked row, with its balance in the books."""
    return SessionFacts(
        id=row.id,
        state=row.state,
        balance_msat=balance_msat,
        minimum_msat=row.minimum_msat,
        reserved_msat=row.reserved_msat,
        topups=row.topups,
        rests=row.rests,
        ended=row.ended,
    )


_MOVE = """
UPDATE session SET state = %(state)s, reserved_msat = %(reserved_msat)s, topups = %(topups)s,
       rests = %(rests)s, ended = %(ended)s, expires_at = %(expires_at)s, version = version + 1,
       updated_at = %(now)s WHERE id = %(id)s
"""
_TELL = "SELECT pg_notify(%(channel)s, %(id)s)"
_TOUCH = """
WITH changed AS (
  UPDATE session SET version = version + 1, updated_at = %(now)s WHERE id = %(id)s)
SELECT pg_notify(%(channel)s, %(id)s)
"""


async def move(
    tx: Tx, row: SessionRow, after: SessionFacts, expires_at: datetime, now: datetime
) -> None:
    """Write the facts after an event, and tell whoever waits for another state.

    What only changes the balance is told to nobody: Postgres commits what it has to tell of one
    after the other, and these are many.
    """
    await tx.execute(
        _MOVE,
        id=row.id,
        state=after.state,
        reserved_msat=after.reserved_msat,
        topups=after.topups,
        rests=after.rests,
        ended=after.ended,
        expires_at=expires_at,
        now=now,
    )
    if row.state != after.state:
        await tx.execute(_TELL, channel=CHANNEL, id=row.id)


async def touch(tx: Tx, session_id: str, now: datetime) -> None:
    """Count a visible change that leaves the state as it is."""
    await tx.execute(_TOUCH, id=session_id, now=now, channel=CHANNEL)


class SessionView(NamedTuple):
    """A session with its balance."""

    id: str
    state: SessionState
    version: int
    minimum_msat: int
    reserved_msat: int
    topups: int
    refund_to: str | None
    nonce: str
    claim_sha256: str | None
    credential_used_at: datetime | None
    created_at: datetime
    expires_at: datetime
    ended: SessionEnd | None
    balance_msat: int
    is_revoked: bool  # one of the links that were shown


_GET = """
SELECT s.id, s.state, s.version, s.minimum_msat, s.reserved_msat, s.topups, s.refund_to, s.nonce,
       s.claim_sha256, s.credential_used_at, s.created_at, s.expires_at, s.ended,
       coalesce(a.balance, 0) AS balance_msat, EXISTS (SELECT 1 FROM revocation r
       WHERE r.session_id = s.id AND r.link = ANY(%(links)s)) AS is_revoked
  FROM session s LEFT JOIN account a ON a.name = 'session:' || s.id AND a.asset = 'msat'
 WHERE s.id = %(id)s
"""


async def get(reads: Reads, session_id: str, links: Sequence[str] = ()) -> SessionView | None:
    """Return a session with its balance, and whether one of these links was revoked."""
    return await reads.row(SessionView, _GET, id=session_id, links=list(links))


class Standing(NamedTuple):
    """Whether a credential is taken, and a request of its session."""

    nonce: str
    is_new: bool
    is_revoked: bool
    version: int | None
    is_its_asker: bool | None


# One text for all the links: a key has no lists.
_STANDINGS = Lookup(
    Standing,
    ["id", "links", "request_id"],
    """
SELECT s.nonce, s.credential_used_at IS NULL AS is_new, EXISTS (SELECT 1 FROM revocation r
       WHERE r.session_id = s.id AND r.link = ANY(string_to_array(asked.links, ' '))) AS is_revoked,
       j.version, split_part(asked.links, ' ', -1) = ANY(j.credential) AS is_its_asker
  FROM session s LEFT JOIN job j ON j.id = asked.request_id AND j.session_id = s.id
 WHERE s.id = asked.id
""",
)


async def standing(
    db: Database, session_id: str, links: Sequence[str], request_id: str
) -> Standing | None:
    """Return whether a credential is taken (its session's nonce, and whether one of these links was
    revoked) and was used before; and the version of a request of that session, None where there is
    none, and whether the last of these links, or one made from it, has asked for it.
    """
    return await _STANDINGS.find(db, session_id, " ".join(links), request_id)


_OPEN_INVOICES = (
    f"{invoices.SELECT} WHERE session_id = %(id)s AND (purpose = 'deposit'"
    " OR state IN ('wanted', 'open')) ORDER BY created_at"
)


async def open_invoices(reads: Reads, session_id: str) -> list[InvoiceRow]:
    """Return its deposit, and its top-up where one is pending."""
    return await reads.rows(InvoiceRow, _OPEN_INVOICES, id=session_id)


async def with_invoices(
    reads: Reads, session_id: str
) -> tuple[SessionView | None, list[InvoiceRow]]:
    """Return a session and its open_invoices, both of one moment: what is still to pay is not on
    the balance, and what was paid is."""
    asked_for = await open_invoices(reads, session_id)
    if all(invoice.to_pay is None for invoice in asked_for):
        return await get(reads, session_id), asked_for
    asking, reading = partial(open_invoices, reads, session_id), partial(get, reads, session_id)
    return await in_one_moment(reading, asking)


async def idle(db: Database, now: datetime, limit: int) -> list[str]:
    """Return sessions that nobody has used for too long, and that no request runs on."""
    rows = await db.read_all(
        "SELECT id FROM session WHERE state IN ('active', 'paused') AND expires_at <= %(now)s"
        " AND reserved_msat = 0 ORDER BY expires_at LIMIT %(limit)s",
        now=now,
        limit=limit,
    )
    return [row["id"] for row in rows]


_TOPUP = """
SELECT id FROM invoice WHERE session_id = %(id)s AND purpose = 'topup'
   AND state IN ('wanted', 'open')
"""


class Named(NamedTuple):
    """The name of an invoice."""

    id: str


async def pending_topup(reads: Reads, session_id: str) -> str | None:
    """Return the name of the top-up that is not paid yet, if there is one."""
    found = await reads.row(Named, _TOPUP, id=session_id)
    return found.id if found else None


_REVOKE = """
INSERT INTO revocation (session_id, link, at) VALUES (%(session_id)s, %(link)s, %(now)s)
ON CONFLICT (session_id, link) DO NOTHING
"""


async def revoke(tx: Tx, session_id: str, link: str, now: datetime) -> None:
    """Take a credential, and all its children, no more."""
    await tx.execute(_REVOKE, session_id=session_id, link=link, now=now)


_RENEW = """
UPDATE session SET nonce = %(nonce)s, credential_used_at = %(now)s WHERE id = %(id)s
"""


async def renew(tx: Tx, session_id: str, nonce: str, now: datetime) -> None:
    """Take no credential of this session any more but a new one with this nonce.

    It counts as used: its holder is given it, and those who hold an old one know the session's id.
    """
    await tx.execute(_RENEW, id=session_id, nonce=nonce, now=now)
    await touch(tx, session_id, now)


async def direct(tx: Tx, session_id: str, refund_to: str) -> None:
    """Name where all that the session will owe goes by itself."""
    await tx.execute(
        "UPDATE session SET refund_to = %(to)s WHERE id = %(id)s", id=session_id, to=refund_to
    )


_USED = """
UPDATE session SET credential_used_at = %(now)s WHERE id = %(id)s AND credential_used_at IS NULL
"""


async def mark_used(tx: Tx, session_id: str, now: datetime) -> None:
    """Write down that somebody holds the credential: it is shown to nobody else from now on."""
    await tx.execute(_USED, id=session_id, now=now)
