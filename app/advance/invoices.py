"""Invoices: what the rail says of them, and what that means to whose they are."""

from app.advance.act import Act
from app.advance.outcome import Applied, Missing, Outcome, Replayed
from app.advance.owners import lock_invoice
from app.advance.writing import made_by, perform
from db import invoices
from payments import rail
from statemachine import invoice as law
from statemachine.machine import IllegalTransition


async def open(act: Act, invoice_id: str, opened: rail.Opened) -> Outcome:
    """Open an invoice that the rail has made."""
    found = await lock_invoice(act, invoice_id)
    if found is None:
        return Missing()
    owner, invoice = found
    try:
        after = made_by(act, invoice, opened)
    except IllegalTransition:
        return Replayed()
    await invoices.move(act.tx, invoice, after)
    await owner.touch(act, f"{invoice.purpose}_invoice_opened")
    return Applied()


async def settle(act: Act, invoice_id: str, settled: rail.Settled) -> Outcome:
    """Settle an invoice whose money has arrived, and apply that to its owner."""
    found = await lock_invoice(act, invoice_id)
    if found is None:
        return Missing()
    owner, invoice = found
    event = owner.settled(invoice.purpose)
    try:
        paid = law.Paid(settled.amount_msat, awaited=event is not None)
        decision = law.decide(invoices.facts_of(invoice), paid)
    except IllegalTransition:
        return Replayed()
    invoice.preimage, invoice.received_msat = settled.preimage, settled.amount_msat
    invoice.settled_at, invoice.check_at = act.now, None
    await invoices.move(act.tx, invoice, decision.facts)
    await perform(act, owner.payee, decision)
    if event is None:
        await owner.touch(act, "unawaited_payment")
    else:
        await owner.step(act, event)
    return Applied()


async def book(act: Act, invoice_id: str, settled: rail.Settled, waits: bool) -> bool:
    """Do that. Where another process is booking the same payment, wait for it or say False."""
    mine = await invoices.take_to_settle(act.tx, settled.payment_hash)
    if not mine and not waits:
        return False
    await settle(act, invoice_id, settled)
    return True


async def lapse(act: Act, invoice_id: str) -> Outcome:
    """Expire an invoice that was not paid in time, and apply that to its owner.

    The rail is still asked about it afterwards: a late payment is taken in and owed back.
    """
    found = await lock_invoice(act, invoice_id)
    if found is None:
        return Missing()
    owner, invoice = found
    try:
        decision = law.decide(invoices.facts_of(invoice), law.Lapsed())
    except IllegalTransition:
        return Replayed()
    await invoices.move(act.tx, invoice, decision.facts)
    event = owner.lapsed(invoice.purpose)
    if event is not None:
        return await owner.step(act, event)
    await owner.touch(act, f"{invoice.purpose}_lapsed")
    return Applied()
