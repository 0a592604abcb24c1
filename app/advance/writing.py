"""How a decision of the law becomes rows: invoices wanted, payouts owed, entries, promises.

Rows are locked in one order (job, session, invoice, payout), so that two of these never wait for
each other.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.advance.act import Act
from db import invoices, jobs, ledger, payouts, sessions
from db.tables import Invoice, Job, Payout, Session
from statemachine import invoice as invoice_law
from statemachine import payout as payout_law
from statemachine import session as session_law
from statemachine.decision import Decision
from statemachine.machine import IllegalTransition
from statemachine.payout import PayoutState
from statemachine.promises import Promise, pause_s


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose invoice or payout it is: a job's, or a session's."""

    job_id: str | None
    session_id: str | None
    refund_to: str | None


def owner_of(row: Job | Session) -> Owner:
    """Return a locked row as an owner."""
    if isinstance(row, Job):
        return Owner(row.id, None, row.refund_to)
    return Owner(None, row.id, row.refund_to)


async def perform(
    act: Act,
    owner: Owner,
    decision: Decision[object],
    anew: bool = False,  # its promises may have been made before, and wait
) -> None:
    """Write all that goes with a decision of the law, but the state itself."""
    promises = list(decision.promises)
    for owed in decision.owed:
        facts = payout_law.PayoutFacts(
            owed.id, PayoutState.OWED, owed.amount_msat, refund_to=owner.refund_to
        )
        await payouts.insert(act.tx, facts, owner.job_id, owner.session_id, owed.reason, act.now)
        promises += payout_law.begin(facts).promises
    for wanted in decision.wanted:
        # A first invoice that is not made in time was shown to nobody; work was asked for.
        made_by = None if wanted.purpose == "work" else invoice_until(act)
        await invoices.insert(act.tx, owner.job_id, owner.session_id, wanted, act.now, made_by)
    for invoice_id in decision.dropped:
        await drop_invoice(act, invoice_id)
    if decision.entries:
        await ledger.post(act.tx, decision.entries, act.now)
    for promise in promises:
        await _stage(act, promise, decision, anew)


async def _stage(act: Act, promise: Promise, decision: Decision[object], anew: bool) -> None:
    wait_s = pause_s(promise)
    if any(wanted.purpose != "work" for wanted in decision.wanted):
        wait_s = act.terms.grace_s
    at = act.now + timedelta(seconds=wait_s) if wait_s else None
    await act.outbox.stage(act.tx, promise, at, anew=anew)


def invoice_until(act: Act) -> datetime:
    """Return until when an invoice that is wanted now can be paid."""
    return act.now + timedelta(seconds=act.terms.eval_invoice_s)


async def drop_invoice(act: Act, invoice_id: str) -> None:
    """Tell an invoice, whose owner is locked, that nobody needs it any more."""
    invoice = await invoices.lock(act.tx, invoice_id)
    if invoice is None:
        return
    try:
        decision = invoice_law.decide(invoices.facts_of(invoice), invoice_law.Dropped())
    except IllegalTransition:
        return  # paid or lapsed at the same moment: the law has that covered
    await invoices.move(act.tx, invoice, decision.facts)


async def lock_owner(act: Act, name: str) -> Job | Session | None:
    """Lock the job or the session that an invoice or a payout of this name belongs to."""
    owner_id = name.partition(":")[0]
    if session_law.owns(name):
        return await sessions.lock(act.tx, owner_id)
    return await jobs.lock(act.tx, owner_id)


async def lock_both(act: Act, invoice_id: str) -> tuple[Job | Session, Invoice] | None:
    """Lock an invoice, and before it whose it is."""
    row = await lock_owner(act, invoice_id)
    invoice = await invoices.lock(act.tx, invoice_id)
    return None if row is None or invoice is None else (row, invoice)


async def lock_payout(act: Act, payout_id: str) -> tuple[Job | Session, Payout] | None:
    """Lock a payout, and before it whose it is."""
    row = await lock_owner(act, payout_id)
    payout = await payouts.lock(act.tx, payout_id)
    return None if row is None or payout is None else (row, payout)


async def touch(act: Act, row: Job | Session, event: str) -> None:
    """Count a change that others can see, and tell whoever waits for one."""
    if isinstance(row, Job):
        await jobs.touch(act.tx, row, event, act.now)
    else:
        await sessions.touch(act.tx, row, act.now)
