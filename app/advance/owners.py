"""Who owns money: one entry a kind, of how it is locked and what becomes of it.

A new kind of owner is a kind in statemachine/owner.py, its columns in db/owners.py and one line
here. Rows are locked in one order (owner, invoice, payout), so that two of these never wait for
each other.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from app.advance import accounts, batches, jobs, sessions
from app.advance.act import Act
from app.advance.outcome import Outcome
from app.advance.writing import Payee
from db import authorizations, invoices, payouts, people
from db import batches as batch_rows
from db import jobs as job_rows
from db import sessions as session_rows
from db.authorizations import AuthorizationRow
from db.batches import BatchRow
from db.engine import Tx
from db.jobs import JobRow
from db.lapsed_tables import LapsedInvoice
from db.people import AccountRow
from db.sessions import SessionRow
from db.tables import Invoice, Payout
from statemachine import account as account_law
from statemachine import batch as batch_law
from statemachine import job as job_law
from statemachine import session as session_law
from statemachine.owner import Owner, OwnerKind, Purpose, named

R = TypeVar("R")  # its row
E = TypeVar("E")  # what can happen to it


@dataclass(frozen=True)
class Means(Generic[R, E]):
    """What a kind of owner means by what happens to its money."""

    lock: Callable[[Tx, str], Awaitable[R | None]]
    payee: Callable[[R], Payee]
    settled: Callable[[R, Purpose], E | None]  # what a payment is to it; None: it awaits none
    lapsed: Callable[[Purpose], E | None]  # what an unpaid invoice is to it; None: nothing
    step: Callable[[Act, R, E], Awaitable[Outcome]]
    touch: Callable[[Act, R, str], Awaitable[None]]  # who waits for a change is told of one
    restore: Callable[[Act, str, LapsedInvoice], Awaitable[None]]  # when what was purged is paid


OWNERS: Mapping[OwnerKind, Means[Any, Any]] = {
    OwnerKind.JOB: Means[JobRow, job_law.Event](
        lock=job_rows.lock,
        payee=jobs.payee_of,
        settled=lambda row, purpose: job_law.awaits(row.state, purpose),
        lapsed=lambda purpose: job_law.Lapsed(purpose.lapsed),
        step=jobs.step,
        touch=jobs.touch,
        restore=jobs.restore,
    ),
    OwnerKind.SESSION: Means[SessionRow, session_law.Event](
        lock=session_rows.lock,
        payee=sessions.payee_of,
        settled=lambda row, purpose: session_law.awaits(row.state, purpose),
        lapsed=session_law.lapses,
        step=sessions.step,
        touch=sessions.touch,
        restore=sessions.restore,
    ),
    OwnerKind.BATCH: Means[BatchRow, batch_law.Event](
        lock=batch_rows.lock,
        payee=batches.payee_of,
        settled=lambda row, _: batch_law.awaits(row.state),
        lapsed=lambda _: batch_law.Lapsed(),
        step=batches.step,
        touch=batches.touch,
        restore=batches.restore,
    ),
    OwnerKind.ACCOUNT: Means[AccountRow, account_law.Credited](
        lock=people.lock,
        payee=accounts.payee_of,
        settled=lambda row, _: account_law.Credited(),  # however late: it is always there
        lapsed=lambda _: None,
        step=accounts.step,
        touch=accounts.touch,
        restore=accounts.restore,
    ),
}


@dataclass(frozen=True, slots=True)
class Locked:
    """An owner whose row is locked in this transaction, whatever he is."""

    owner: Owner
    row: Any

    @property
    def payee(self) -> Payee:
        """Who is paid what he is owed."""
        return OWNERS[self.owner.kind].payee(self.row)

    def settled(self, purpose: Purpose) -> object | None:
        """Return the event that a payment for this is to him; None when he awaits none."""
        return OWNERS[self.owner.kind].settled(self.row, purpose)

    def lapsed(self, purpose: Purpose) -> object | None:
        """Return the event that it is to him when this was not paid in time; None for none."""
        return OWNERS[self.owner.kind].lapsed(purpose)

    async def step(self, act: Act, event: object) -> Outcome:
        """Apply an event to the owner."""
        return await OWNERS[self.owner.kind].step(act, self.row, event)

    async def touch(self, act: Act, event: str) -> None:
        """Count a change that others can see, and tell whoever waits for one."""
        await OWNERS[self.owner.kind].touch(act, self.row, event)


async def lock(act: Act, name: str) -> Locked | None:
    """Lock whose an invoice or a payout of this name is."""
    owner = named(name).owner
    row = await OWNERS[owner.kind].lock(act.tx, owner.id)
    return None if row is None else Locked(owner, row)


async def lock_invoice(act: Act, invoice_id: str) -> tuple[Locked, Invoice] | None:
    """Lock an invoice, and before it whose it is."""
    owner = await lock(act, invoice_id)
    invoice = await invoices.lock(act.tx, invoice_id)
    return None if owner is None or invoice is None else (owner, invoice)


async def lock_payout(act: Act, payout_id: str) -> tuple[Locked, Payout] | None:
    """Lock a payout, and before it whose it is."""
    owner = await lock(act, payout_id)
    payout = await payouts.lock(act.tx, payout_id)
    return None if owner is None or payout is None else (owner, payout)


async def lock_authorization(act: Act, order_id: str) -> tuple[Locked, AuthorizationRow] | None:
    """Lock a buyer's order in USDC, and before it what it was claimed for."""
    claimed = await authorizations.read(act.tx, order_id)
    if claimed is None:
        return None
    owner = claimed.owner
    locked = await OWNERS[owner.kind].lock(act.tx, owner.id)
    row = await authorizations.lock(act.tx, order_id)
    assert locked is not None and row is not None, "neither is deleted while the other is there"
    return Locked(owner, locked), row
