"""Invoices: what the rail says of them, and what that means to the job or session they are for."""

from datetime import datetime, timedelta

from app.advance.jobs import Jobs
from app.advance.outcome import Applied, Missing, Outcome, Replayed
from app.advance.writing import owner_of
from db import invoices
from db.engine import Tx
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


class Invoices(Jobs):
    """What can be told to an invoice of ours."""

    async def open_invoice(
        self, tx: Tx, invoice_id: str, opened: rail.Opened, now: datetime
    ) -> Outcome:
        """Tell an invoice that the rail has made it."""
        found = await self._lock_both(tx, invoice_id)
        if found is None:
            return Missing()
        row, invoice = found
        try:
            decision = law.decide(invoices.facts_of(invoice), law.Opened(opened.payment_hash))
        except IllegalTransition:
            return Replayed()
        invoice.bolt11, invoice.payment_hash = opened.bolt11, opened.payment_hash
        invoice.expires_at, invoice.wallet = opened.expires_at, opened.wallet
        invoice.check_at = now + timedelta(seconds=self._terms.sweep_s)
        await invoices.move(tx, invoice, decision.facts)
        await self._touch(tx, row, f"{invoice.purpose}_invoice_opened", now)
        return Applied()

    async def settle_invoice(
        self, tx: Tx, invoice_id: str, settled: rail.Settled, now: datetime
    ) -> Outcome:
        """Tell an invoice that the rail holds its money, and whom it pays what that means."""
        found = await self._lock_both(tx, invoice_id)
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
        invoice.settled_at, invoice.check_at = now, None
        await invoices.move(tx, invoice, decision.facts)
        await self._perform(tx, owner_of(row), decision, now)
        if meaning is None:
            await self._touch(tx, row, "unawaited_payment", now)
        elif isinstance(row, Session):
            topped_up = meaning is session_law.SessionEvent.TOPPED_UP
            event = session_law.ToppedUp() if topped_up else session_law.Deposited()
            await self._step_session(tx, row, event, now)
        elif meaning is job_law.JobEvent.EVAL_PAID:
            await self._step(tx, row, job_law.EvalPaid(), now)
        else:
            await self._step(tx, row, job_law.WorkPaid(), now)
        return Applied()

    async def lapse_invoice(self, tx: Tx, invoice_id: str, now: datetime) -> Outcome:
        """Tell an invoice and whom it pays that nobody paid in time.

        The rail is still asked about it afterwards: a late payment is taken in and owed back.
        """
        found = await self._lock_both(tx, invoice_id)
        if found is None:
            return Missing()
        row, invoice = found
        try:
            decision = law.decide(invoices.facts_of(invoice), law.Lapsed())
        except IllegalTransition:
            return Replayed()
        await invoices.move(tx, invoice, decision.facts)
        if isinstance(row, Job):
            return await self._step(tx, row, job_law.Lapsed(_LAPSED[invoice.purpose]), now)
        if invoice.purpose == "deposit":
            return await self._step_session(tx, row, session_law.Lapsed(), now)
        await self._touch(tx, row, "topup_lapsed", now)
        return Applied()


def _meaning(
    row: Job | Session, invoice: Invoice
) -> job_law.JobEvent | session_law.SessionEvent | None:
    """Return what a payment of this invoice is to whom it is for; None when it is unawaited."""
    if isinstance(row, Job):
        return job_law.awaits(row.state, invoice.purpose)
    return session_law.awaits(row.state, invoice.purpose)
