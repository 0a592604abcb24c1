"""THE SHELL: lock → decide → write state, entries, promises → commit. Nothing outside is called.

It is the only writer of a state column. Rows are locked in one order, job before invoice before
payout, so that two of these never wait for each other. An event that the law does not allow any
more is a replay, and a named outcome: nothing changed, and nothing is wrong.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from db import invoices, jobs, ledger, payouts
from db.engine import Tx
from db.promises import Outbox
from db.tables import Invoice, Job, Payout, PayoutAttempt
from payments import rail
from payments.bolt11 import Invoice as Bolt11
from statemachine import invoice as invoice_law
from statemachine import job as job_law
from statemachine import payout as payout_law
from statemachine.decision import Decision
from statemachine.machine import IllegalTransition
from statemachine.payout import PayoutState
from statemachine.promises import Promise, pause_s


@dataclass(frozen=True, slots=True)
class Applied:
    """The event happened, and everything that goes with it is written."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The event was told before, or comes too late to mean anything: nothing changed."""


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no such row."""


Outcome = Applied | Replayed | Missing


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things hold, in seconds."""

    eval_invoice_s: int = 3600
    work_invoice_s: int = 3600
    sweep_s: int = 30  # when the rail is first asked about an invoice that it did not tell of
    payout_check_s: int = 5  # when the rail is first asked about a payout it did not answer for
    grace_s: int = 15  # how long whoever staged an eval invoice has to make it himself


class Shell:
    """Makes truth fact: every method works inside the transaction it is given."""

    def __init__(self, outbox: Outbox, terms: Terms) -> None:
        self._outbox, self._terms = outbox, terms

    async def begin(
        self,
        tx: Tx,
        job_id: str,
        request: str,
        eval_msat: int,
        max_msat: int | None,
        refund_to: str | None,
        now: datetime,
    ) -> None:
        """Create a job that wants its evaluation invoice."""
        decision = job_law.begin(job_id, eval_msat, max_msat)
        await jobs.insert(tx, decision.facts, request, refund_to, "created", now)
        await self._perform(tx, job_id, refund_to, decision, now)

    async def advance(self, tx: Tx, job_id: str, event: job_law.Event, now: datetime) -> Outcome:
        """Tell a job what happened."""
        job = await jobs.lock(tx, job_id)
        if job is None:
            return Missing()
        return await self._step(tx, job, event, now)

    async def _step(self, tx: Tx, job: Job, event: job_law.Event, now: datetime) -> Outcome:
        try:
            decision = job_law.decide(jobs.facts_of(job), event)
        except IllegalTransition:
            return Replayed()
        await jobs.move(tx, job, decision.facts, event.kind.value, now)
        recovered = isinstance(event, job_law.Recovered)
        await self._perform(tx, job.id, job.refund_to, decision, now, anew=recovered)
        return Applied()

    async def open_invoice(
        self, tx: Tx, invoice_id: str, opened: rail.Opened, now: datetime
    ) -> Outcome:
        """Tell an invoice that the rail has made it."""
        found = await self._lock_both(tx, invoice_id)
        if found is None:
            return Missing()
        job, invoice = found
        try:
            event = invoice_law.Opened(opened.payment_hash)
            decision = invoice_law.decide(invoices.facts_of(invoice), event)
        except IllegalTransition:
            return Replayed()
        invoice.bolt11, invoice.payment_hash = opened.bolt11, opened.payment_hash
        invoice.expires_at = opened.expires_at
        invoice.check_at = now + timedelta(seconds=self._terms.sweep_s)
        await invoices.move(tx, invoice, decision.facts)
        await jobs.touch(tx, job, f"{invoice.purpose}_invoice_opened", now)
        return Applied()

    async def settle_invoice(
        self, tx: Tx, invoice_id: str, settled: rail.Settled, now: datetime
    ) -> Outcome:
        """Tell an invoice that the rail holds its money, and its job what that means to it."""
        found = await self._lock_both(tx, invoice_id)
        if found is None:
            return Missing()
        job, invoice = found
        meaning = job_law.awaits(job.state, invoice.purpose)
        try:
            paid = invoice_law.Paid(settled.amount_msat, awaited=meaning is not None)
            decision = invoice_law.decide(invoices.facts_of(invoice), paid)
        except IllegalTransition:
            return Replayed()
        invoice.preimage, invoice.received_msat = settled.preimage, settled.amount_msat
        invoice.settled_at, invoice.check_at = now, None
        await invoices.move(tx, invoice, decision.facts)
        await self._perform(tx, job.id, job.refund_to, decision, now)
        if meaning is None:
            await jobs.touch(tx, job, "unawaited_payment", now)
        elif meaning is job_law.JobEvent.EVAL_PAID:
            await self._step(tx, job, job_law.EvalPaid(), now)
        else:
            await self._step(tx, job, job_law.WorkPaid(), now)
        return Applied()

    async def lapse_invoice(self, tx: Tx, invoice_id: str, now: datetime) -> Outcome:
        """Tell an invoice and its job that nobody paid in time.

        The rail is still asked about it afterwards: a late payment is taken in and owed back.
        """
        found = await self._lock_both(tx, invoice_id)
        if found is None:
            return Missing()
        job, invoice = found
        try:
            decision = invoice_law.decide(invoices.facts_of(invoice), invoice_law.Lapsed())
        except IllegalTransition:
            return Replayed()
        await invoices.move(tx, invoice, decision.facts)
        what = "evaluation" if invoice.purpose == "eval" else "work"
        lapsed = job_law.Lapsed(f"The {what} invoice was not paid in time. Nothing was charged.")
        return await self._step(tx, job, lapsed, now)

    async def send_payout(
        self, tx: Tx, payout_id: str, to: Bolt11, fee_limit_msat: int, now: datetime
    ) -> Outcome:
        """Begin an attempt to a checked destination: in flight from this commit on.

        A payment_hash that was used before, or a second live attempt, fails the transaction on a
        unique index.
        """
        found = await self._lock_payout(tx, payout_id)
        if found is None:
            return Missing()
        job, payout = found
        try:
            decision = payout_law.decide(payouts.facts_of(payout), payout_law.Sent())
        except IllegalTransition:
            return Replayed()
        tx.add(
            PayoutAttempt(
                payment_hash=to.payment_hash,
                payout_id=payout_id,
                number=decision.facts.attempts,
                bolt11=to.bolt11,
                fee_limit_msat=fee_limit_msat,
                expires_at=to.expires_at,
                outcome="live",
                check_at=now + timedelta(seconds=self._terms.payout_check_s),
            )
        )
        await payouts.move(tx, payout, decision.facts, "The payment is on its way.", now)
        await self._perform(tx, job.id, job.refund_to, decision, now)
        await jobs.touch(tx, job, "refund_sent", now)
        return Applied()

    async def settle_payout(
        self, tx: Tx, payout_id: str, number: int, settled: rail.Settled, now: datetime
    ) -> Outcome:
        """Tell a payout that its payee has the money."""
        event = payout_law.Settled(settled.fee_msat)
        attempt = await self._end_attempt(tx, payout_id, number, event, "Paid.", now)
        if attempt is None:
            return Replayed()
        attempt.outcome, attempt.preimage = "settled", settled.preimage
        attempt.fee_msat = settled.fee_msat
        await tx.flush()
        return Applied()

    async def return_payout(
        self, tx: Tx, payout_id: str, number: int, reason: str, now: datetime
    ) -> Outcome:
        """Tell a payout that an attempt, for good, did not happen: it is owed again."""
        event = payout_law.Returned()
        attempt = await self._end_attempt(tx, payout_id, number, event, reason, now)
        if attempt is None:
            return Replayed()
        attempt.outcome = "returned"
        await tx.flush()
        return Applied()

    async def refuse_payout(
        self, tx: Tx, payout_id: str, failures: int, reason: str, now: datetime
    ) -> Outcome:
        """Tell a payout that its destination gave no invoice; `failures` names the try."""
        return await self._turn(tx, payout_id, payout_law.Refused(), reason, now, failures)

    async def redirect_payout(
        self, tx: Tx, payout_id: str, refund_to: str, now: datetime
    ) -> Outcome:
        """Tell a payout that it has another destination."""
        note = "Another destination was named."
        return await self._turn(tx, payout_id, payout_law.Redirected(refund_to), note, now)

    async def _turn(
        self,
        tx: Tx,
        payout_id: str,
        event: payout_law.Event,
        note: str,
        now: datetime,
        failures: int | None = None,
    ) -> Outcome:
        found = await self._lock_payout(tx, payout_id)
        if found is None:
            return Missing()
        job, payout = found
        if failures is not None and payout.failures != failures:
            return Replayed()  # that try was told of before
        try:
            decision = payout_law.decide(payouts.facts_of(payout), event)
        except IllegalTransition:
            return Replayed()
        await payouts.move(tx, payout, decision.facts, note, now)
        await self._perform(tx, job.id, job.refund_to, decision, now, anew=True)
        await jobs.touch(tx, job, f"refund_{event.kind.value}", now)
        return Applied()

    async def _end_attempt(
        self, tx: Tx, payout_id: str, number: int, event: payout_law.Event, note: str, now: datetime
    ) -> PayoutAttempt | None:
        found = await self._lock_payout(tx, payout_id)
        attempt = await payouts.attempt(tx, payout_id, number)
        if found is None or attempt is None or attempt.outcome != "live":
            return None
        job, payout = found
        decision = payout_law.decide(payouts.facts_of(payout), event)
        attempt.check_at = None
        await payouts.move(tx, payout, decision.facts, note, now)
        await self._perform(tx, job.id, job.refund_to, decision, now, anew=True)
        await jobs.touch(tx, job, f"refund_{event.kind.value}", now)
        return attempt

    async def _perform(
        self,
        tx: Tx,
        job_id: str,
        refund_to: str | None,
        decision: Decision[object],
        now: datetime,
        anew: bool = False,  # its promises may have been made before, and wait
    ) -> None:
        promises = list(decision.promises)
        for owed in decision.owed:
            facts = payout_law.PayoutFacts(
                owed.id, job_id, PayoutState.OWED, owed.amount_msat, refund_to=refund_to
            )
            await payouts.insert(tx, facts, owed.reason, now)
            promises += payout_law.begin(facts).promises
        for wanted in decision.wanted:
            # An eval invoice that is not made in time was shown to nobody; work was asked for.
            made_by = self._until(now) if wanted.purpose == "eval" else None
            await invoices.insert(tx, job_id, wanted, now, made_by)
        for invoice_id in decision.dropped:
            await self._drop(tx, invoice_id)
        if decision.entries:
            await ledger.post(tx, decision.entries, now)
        for promise in promises:
            await self._stage(tx, promise, decision, now, anew)

    async def _stage(
        self, tx: Tx, promise: Promise, decision: Decision[object], now: datetime, anew: bool
    ) -> None:
        wait_s = pause_s(promise)
        if any(wanted.purpose == "eval" for wanted in decision.wanted):
            wait_s = self._terms.grace_s
        at = now + timedelta(seconds=wait_s) if wait_s else None
        await self._outbox.stage(tx, promise, at, anew=anew)

    def _until(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self._terms.eval_invoice_s)

    async def _drop(self, tx: Tx, invoice_id: str) -> None:
        invoice = await invoices.lock(tx, invoice_id)
        if invoice is None:
            return
        try:
            decision = invoice_law.decide(invoices.facts_of(invoice), invoice_law.Dropped())
        except IllegalTransition:
            return  # paid or lapsed at the same moment: the law has that covered
        await invoices.move(tx, invoice, decision.facts)

    async def _lock_both(self, tx: Tx, invoice_id: str) -> tuple[Job, Invoice] | None:
        job = await jobs.lock(tx, invoice_id.rpartition(":")[0])
        invoice = await invoices.lock(tx, invoice_id)
        return None if job is None or invoice is None else (job, invoice)

    async def _lock_payout(self, tx: Tx, payout_id: str) -> tuple[Job, Payout] | None:
        job = await jobs.lock(tx, payout_id.partition(":")[0])
        payout = await payouts.lock(tx, payout_id)
        return None if job is None or payout is None else (job, payout)
