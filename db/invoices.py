"""Invoices: insert, find, move, and which of them somebody should ask the rail about."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from db.engine import Database, Tx
from db.owners import owner_of
from db.rows import columns
from db.tables import Invoice
from statemachine.invoice import InvoiceFacts, InvoiceState
from statemachine.owner import Purpose

_INSERT = """
INSERT INTO invoice (id, job_id, session_id, batch_id, account_id, purpose, state, amount_msat,
                     bolt11, payment_hash, wallet, created_at, expires_at, check_at, checks)
VALUES (%(id)s, %(job_id)s, %(session_id)s, %(batch_id)s, %(account_id)s, %(purpose)s, %(state)s,
        %(amount_msat)s, %(bolt11)s, %(payment_hash)s, %(wallet)s, %(created_at)s,
        %(expires_at)s, %(check_at)s, 0)
"""


async def insert(tx: Tx, invoice: Invoice) -> None:
    """Write a new invoice."""
    await tx.execute(_INSERT, **dict(invoice))


async def lock(tx: Tx, invoice_id: str) -> Invoice | None:
    """Return the invoice's row, locked. Whoever needs the job's lock too takes that one first."""
    row = await tx.one("SELECT * FROM invoice WHERE id = %(id)s FOR UPDATE", id=invoice_id)
    return Invoice.model_validate(row) if row else None


def facts_of(invoice: Invoice) -> InvoiceFacts:
    """Return the law's view of a row."""
    return InvoiceFacts(
        id=invoice.id,
        account=owner_of(invoice).account,
        state=invoice.state,
        amount_msat=invoice.amount_msat,
        payment_hash=invoice.payment_hash or "",
    )


_MOVE = """
UPDATE invoice SET state = %(state)s, bolt11 = %(bolt11)s, payment_hash = %(payment_hash)s,
       wallet = %(wallet)s, preimage = %(preimage)s, received_msat = %(received_msat)s,
       settled_at = %(settled_at)s, expires_at = %(expires_at)s, check_at = %(check_at)s
 WHERE id = %(id)s
"""


async def move(tx: Tx, invoice: Invoice, after: InvoiceFacts) -> None:
    """Write the state after an event, and what the row holds of it."""
    invoice.state = after.state
    await tx.execute(_MOVE, **dict(invoice))


class MadeInvoice(NamedTuple):
    """An invoice that the rail has made: it can be shown."""

    id: str
    owner_id: str
    purpose: Purpose
    state: InvoiceState
    amount_msat: int
    bolt11: str
    payment_hash: str
    created_at: datetime
    expires_at: datetime


class InvoiceRow(NamedTuple):
    """An invoice as it is now."""

    id: str
    job_id: str | None
    session_id: str | None
    batch_id: str | None
    account_id: str | None
    purpose: Purpose
    state: InvoiceState
    amount_msat: int
    bolt11: str | None
    payment_hash: str | None
    wallet: str | None
    created_at: datetime
    expires_at: datetime | None
    settled_at: datetime | None

    @property
    def made(self) -> MadeInvoice | None:
        """Return what the rail has made; None while it has not."""
        return made_of(self)

    @property
    def to_pay(self) -> MadeInvoice | None:
        """Return the invoice where it can be paid now."""
        return self.made if self.state is InvoiceState.OPEN else None


def made_of(row: InvoiceRow | Invoice) -> MadeInvoice | None:
    """Return what the rail has made of an invoice; None while it has not."""
    bolt11, payment_hash, until = row.bolt11, row.payment_hash, row.expires_at
    if bolt11 is None or payment_hash is None or until is None:
        return None
    told = (row.purpose, row.state, row.amount_msat, bolt11, payment_hash)
    return MadeInvoice(row.id, owner_of(row).id, *told, row.created_at, until)


SELECT = f"SELECT {columns(InvoiceRow)} FROM invoice"


async def get(db: Database, invoice_id: str) -> InvoiceRow | None:
    """Return an invoice as it is now."""
    return await db.row(InvoiceRow, f"{SELECT} WHERE id = %(id)s", id=invoice_id)


async def by_hash(db: Database, payment_hash: str) -> InvoiceRow | None:
    """Return the invoice of ours with this payment_hash."""
    return await db.row(InvoiceRow, f"{SELECT} WHERE payment_hash = %(h)s", h=payment_hash)


async def take_to_settle(tx: Tx, payment_hash: str) -> bool:
    """Say whether this transaction is the one that books a payment; False: another is about to.

    Every process hears of every payment: none waits for what another does already.
    """
    query = "SELECT pg_try_advisory_xact_lock(hashtextextended(%(h)s, 0)) AS taken"
    row = await tx.one(query, h=payment_hash)
    return row is not None and bool(row["taken"])


_DUE = """
UPDATE invoice SET checks = checks + 1, check_at = CASE WHEN expires_at < %(forget_before)s
       THEN NULL ELSE CAST(%(now)s AS timestamptz) + interval '1 second' * least(
       CASE state WHEN 'open' THEN %(most_open_s)s ELSE %(most_late_s)s END,
       %(least_s)s * power(2, least(checks, 20))) END
 WHERE id IN (SELECT id FROM invoice WHERE check_at IS NOT NULL AND check_at <= %(until)s
       ORDER BY check_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING payment_hash
"""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the rail is asked about one invoice. Pauses double, up to a most."""

    least_s: int
    most_open_s: int  # while it can be paid
    most_late_s: int  # after it expired
    forget: timedelta  # how long after its expiry nobody asks any more
    ahead: timedelta = timedelta(0)  # whose turn comes so soon is asked about now


async def take_due(tx: Tx, now: datetime, pace: Pace, limit: int) -> list[str]:
    """Return payment hashes whose turn it is to be asked about; the next turn comes later.

    Two sweepers never take the same one.
    """
    rows = await tx.all(
        _DUE,
        now=now,
        until=now + pace.ahead,
        least_s=pace.least_s,
        most_open_s=pace.most_open_s,
        most_late_s=pace.most_late_s,
        forget_before=now - pace.forget,
        limit=limit,
    )
    return [row["payment_hash"] for row in rows if row["payment_hash"]]


async def ask_all(tx: Tx, now: datetime) -> None:
    """Make every open invoice due at once: the rail's channel was away, and replays nothing."""
    await tx.execute(
        "UPDATE invoice SET check_at = %(now)s, checks = 0 WHERE state = 'open'", now=now
    )


class Lapsed(NamedTuple):
    """An invoice whose time is over."""

    id: str
    payment_hash: str | None
    expires_at: datetime


async def lapsed(db: Database, now: datetime, skipped: list[str], limit: int) -> list[Lapsed]:
    """Return invoices whose time is over and that are still open, or were never made."""
    return await db.rows(
        Lapsed,
        f"SELECT {columns(Lapsed)} FROM invoice"
        " WHERE state IN ('open', 'wanted') AND expires_at <= %(now)s AND id <> ALL(%(skipped)s)"
        " ORDER BY expires_at LIMIT %(limit)s",
        now=now,
        skipped=skipped,
        limit=limit,
    )
