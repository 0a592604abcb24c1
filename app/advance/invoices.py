"""Invoices: what the rail says of them, and what that means to the job or session they are for."""

from datetime import timedelta

from app.advance import jobs, sessions
from app.advance.act import Act
from app.advance.outcome import Applied, Missing, Outcome, Replayed
from app.advance.writing import drop_invoice, lock_both, lock_owner, owner_of, perform, touch
from db import invoices
from db.tables import Invoice, Job, Session
from payments import rail
from statemachine import invoice as law
from statemachine import job as job_law
from statemachine import session as session_law
from statemachine.machine import IllegalTransition

_LAPSED = {
    "eval": "The evaluation invoice was not paid in time. Nothing was charged.",
    "work": "The work invoice was not paid in time. Only the evaluation was charged.",
    "ask": "The invoice was not paid in time. Nothing was charged.",
}


async def open(act: Act, invoice_id: str, opened: rail.Opened) -> Outcome:
    """Tell an invoice that the rail has made it."""
    found = await lock_both(act, invoice_id)
    if found is None:
        return Missing()
    row, invoice = found
    try:
        decision = law.decide(invoices.facts_of(invoice), law.Opened(opened.payment_hash))
    except IllegalTransition:
        return Replayed()
    invoice.bolt11, invoice.payment_hash = opened.bolt11, opened.payment_hash
    invoice.expires_at, invoice.wallet = opened.expires_at, opened.wallet
    invoice.check_at = act.now + timedelta(seconds=act.terms.sweep_s)
    await invoices.move(act.tx, invoice, decision.facts)
    await touch(act, row, f"{invoice.purpose}_invoice_opened")
    return Applied()


async def settle(act: Act, invoice_id: str, settled: rail.Settled) -> Outcome:
    """Tell an invoice that the rail holds its money, and whom it pays what that means."""
    found = await lock_both(act, invoice_id)
    if found is None:
        return Missing()
    row, invoice = found
    meaning = _meaning(row, invoice)
    try:
        paid = law.Paid(settled.amount_msat, awaited=meaning is not None)
        decision = law.decide(invoices.facts_of(invoice), paid)
    except IllegalTransition:
        return Replayed()
    invoice.preimage, invoice.received_msat = settled.preimage, settled.amount_msat
    invoice.settled_at, invoice.check_at = act.now, None
    await invoices.move(act.tx, invoice, decision.facts)
    await perform(act, owner_of(row), decision)
    if meaning is None:
        await touch(act, row, "unawaited_payment")
    elif isinstance(row, Session):
        topped_up = meaning is session_law.SessionEvent.TOPPED_UP
        event = session_law.ToppedUp() if topped_up else session_law.Deposited()
        await sessions.step(act, row, event)
    elif meaning is job_law.JobEvent.EVAL_PAID:
        await jobs.step(act, row, job_law.EvalPaid())
    else:
        await jobs.step(act, row, job_law.WorkPaid())
    return Applied()


async def book(act: Act, invoice_id: str, settled: rail.Settled, waits: bool) -> bool:
    """Do that. Where another process is booking the same payment, wait for it or say False."""
    mine = await invoices.take_to_settle(act.tx, settled.payment_hash)
    if not mine and not waits:
        return False
    await settle(act, invoice_id, settled)
    return True


async def lapse(act: Act, invoice_id: str) -> Outcome:
    """Tell an invoice and whom it pays that nobody paid in time.

    The rail is still asked about it afterwards: a late payment is taken in and owed back.
    """
    found = await lock_both(act, invoice_id)
    if found is None:
        return Missing()
    row, invoice = found
    try:
        decision = law.decide(invoices.facts_of(invoice), law.Lapsed())
    except IllegalTransition:
        return Replayed()
    await invoices.move(act.tx, invoice, decision.facts)
    if isinstance(row, Job):
        return await jobs.step(act, row, job_law.Lapsed(_LAPSED[invoice.purpose]))
    if invoice.purpose == "deposit":
        return await sessions.step(act, row, session_law.Lapsed())
    await touch(act, row, "topup_lapsed")
    return Applied()


async def drop(act: Act, invoice_id: str) -> None:
    """Tell an invoice that nobody needs it any more; a payment all the same is owed back."""
    await lock_owner(act, invoice_id)
    await drop_invoice(act, invoice_id)


def _meaning(
    row: Job | Session, invoice: Invoice
) -> job_law.JobEvent | session_law.SessionEvent | None:
    """Return what a payment of this invoice is to whom it is for; None when it is unawaited."""
    if isinstance(row, Job):
        return job_law.awaits(row.state, invoice.purpose)
    return session_law.awaits(row.state, invoice.purpose)
