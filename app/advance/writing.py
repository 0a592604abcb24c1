"""How a decision of the law becomes rows: invoices wanted, payouts owed, entries, promises.

Rows are locked in one order (job, session, invoice, payout), so that two of these never wait for
each other.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.advance.act import Act
from db import invoices, ledger, payouts
from statemachine import invoice as invoice_law
from statemachine import payout as payout_law
from statemachine.decision import Decision
from statemachine.machine import IllegalTransition
from statemachine.owner import Owner
from statemachine.payout import PayoutState
from statemachine.promises import Promise, pause_s


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
            owed.id, PayoutState.OWED, owed.amount_msat, refund_to=payee.refund_to
        )
        await payouts.insert(act.tx, facts, payee.owner, owed.reason, act.now)
        promises += payout_law.begin(facts).promises
    for wanted in decision.wanted:
        # A first invoice that is not made in time was shown to nobody; work was asked for.
        made_by = invoice_until(act) if wanted.purpose.is_asked_for else None
        await invoices.insert(act.tx, payee.owner, wanted, act.now, made_by)
    for invoice_id in decision.dropped:
        await drop_invoice(act, invoice_id)
    if decision.entries:
        await ledger.post(act.tx, decision.entries, act.now)
    for promise in promises:
        await _stage(act, promise, decision, anew)


async def _stage(act: Act, promise: Promise, decision: Decision[object], anew: bool) -> None:
    wait_s = pause_s(promise)
    if any(wanted.purpose.is_asked_for for wanted in decision.wanted):
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
