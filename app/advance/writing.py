"""How a decision of the law becomes rows: invoices wanted, payouts owed, entries, promises.

Rows are locked in one order (job or batch, item, lease, session, invoice, payout), so that two of
these never wait for each other.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.advance.act import Act
from db import invoices, ledger, payouts
from db.invoices import MadeInvoice
from db.owners import columns_of
from db.tables import Invoice
from payments import rail
from statemachine import invoice as invoice_law
from statemachine import payout as payout_law
from statemachine.decision import Decision, InvoiceWanted
from statemachine.machine import IllegalTransition
from statemachine.owner import Owner
from statemachine.payout import PayoutState
from statemachine.promises import pause_s


@dataclass(frozen=True, slots=True)
class Payee:
    """Whose an invoice or a payout is, and where what he is owed goes by itself."""

    owner: Owner
    refund_to: str | None


async def perform(
    act: Act,
    payee: Payee,
    decision: Decision[object],
    anew: bool = False,  # its promises may have been made before, and wait
) -> None:
    """Write all that goes with a decision of the law, but the state itself."""
    promises = list(decision.promises)
    for owed in decision.owed:
        facts = payout_law.PayoutFacts(
            owed.id,
            PayoutState.OWED,
            owed.amount,
            refund_to=payee.refund_to,
            asset=owed.asset,
        )
        await payouts.insert(act.tx, facts, payee.owner, owed.reason, act.now, act.cell)
        promises += payout_law.begin(facts).promises
    for wanted in decision.wanted:
        await invoices.insert(act.tx, wanted_by(act, payee.owner, wanted))
    for invoice_id in decision.dropped:
        await drop_invoice(act, invoice_id)
    if decision.entries:
        await ledger.post(act.tx, decision.entries, act.now)
    for promise in promises:
        wait_s = pause_s(promise)
        at = act.now + timedelta(seconds=wait_s) if wait_s else None
        await act.outbox.stage(act.tx, promise, at, anew=anew)


def wanted_by(act: Act, owner: Owner, wanted: InvoiceWanted) -> Invoice:
    """Return the row of an invoice that the rail has yet to make."""
    whose: dict[str, Any] = dict(columns_of(owner))
    return Invoice(
        id=wanted.id,
        **whose,
        purpose=wanted.purpose,
        state=invoice_law.InvoiceState.WANTED,
        amount_msat=wanted.amount_msat,
        created_at=act.now,
    )


def made_by(act: Act, invoice: Invoice, opened: rail.Opened) -> invoice_law.InvoiceFacts:
    """Write on a row what the rail has made for it; return what the law says that it is then."""
    if opened.amount_msat != invoice.amount_msat:
        raise ValueError(f"the rail made {invoice.id} for another amount than it has")
    decision = invoice_law.decide(
        invoices.facts_of(invoice), invoice_law.Opened(opened.payment_hash)
    )
    invoice.bolt11, invoice.payment_hash = opened.bolt11, opened.payment_hash
    invoice.expires_at, invoice.wallet = opened.expires_at, opened.wallet
    invoice.check_at = act.now + timedelta(seconds=act.terms.sweep_s)
    return decision.facts


async def write_first(
    act: Act, owner: Owner, decision: Decision[object], opened: rail.Opened
) -> MadeInvoice:
    """Write the invoice that goes with this decision, which the rail has made before.

    Nobody has seen it: had this transaction not come to be, it would lapse, and nothing else.
    """
    [wanted] = decision.wanted
    invoice = wanted_by(act, owner, wanted)
    invoice.state = made_by(act, invoice, opened).state
    await invoices.insert(act.tx, invoice)
    made = invoices.made_of(invoice)
    assert made is not None, "it was made by the rail"
    return made


def invoice_until(act: Act) -> datetime:
    """Return until when an invoice that is wanted now can be paid."""
    return act.now + timedelta(seconds=act.terms.eval_invoice_s)


async def drop_invoice(act: Act, invoice_id: str) -> None:
    """Drop an invoice that its owner, who is locked, does not need any more."""
    invoice = await invoices.lock(act.tx, invoice_id)
    if invoice is None:
        return
    try:
        decision = invoice_law.decide(invoices.facts_of(invoice), invoice_law.Dropped())
    except IllegalTransition:
        return  # paid or lapsed at the same moment: the law has that covered
    await invoices.move(act.tx, invoice, decision.facts)
