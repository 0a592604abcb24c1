"""How a decision of the law becomes rows: invoices wanted, payouts owed, entries, promises.

Rows are locked in one order (job, session, invoice, payout), so that two of these never wait for
each other.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.advance.outcome import Terms
from db import invoices, jobs, ledger, payouts, sessions
from db.engine import Tx
from db.promises import Outbox
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


class Writing:
    """Writes down what was decided. Every method works inside the transaction it is given."""

    def __init__(self, outbox: Outbox, terms: Terms) -> None:
        self._outbox, self._terms = outbox, terms

    async def _perform(
        self,
        tx: Tx,
        owner: Owner,
        decision: Decision[object],
        now: datetime,
        anew: bool = False,  # its promises may have been made before, and wait
    ) -> None:
        promises = list(decision.promises)
        for owed in decision.owed:
            facts = payout_law.PayoutFacts(
                owed.id, PayoutState.OWED, owed.amount_msat, refund_to=owner.refund_to
            )
            await payouts.insert(tx, facts, owner.job_id, owner.session_id, owed.reason, now)
            promises += payout_law.begin(facts).promises
        for wanted in decision.wanted:
            # A first invoice that is not made in time was shown to nobody; work was asked for.
            made_by = None if wanted.purpose == "work" else self._until(now)
            await invoices.insert(tx, owner.job_id, owner.session_id, wanted, now, made_by)
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
        if any(wanted.purpose != "work" for wanted in decision.wanted):
            wait_s = self._terms.grace_s
        at = now + timedelta(seconds=wait_s) if wait_s else None
        await self._outbox.stage(tx, promise, at, anew=anew)

    def _until(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self._terms.eval_invoice_s)

    async def drop_invoice(self, tx: Tx, invoice_id: str) -> None:
        """Tell an invoice that nobody needs it any more; a payment all the same is owed back."""
        await self.lock_owner(tx, invoice_id)
        await self._drop(tx, invoice_id)

    async def _drop(self, tx: Tx, invoice_id: str) -> None:
        invoice = await invoices.lock(tx, invoice_id)
        if invoice is None:
            return
        try:
            decision = invoice_law.decide(invoices.facts_of(invoice), invoice_law.Dropped())
        except IllegalTransition:
            return  # paid or lapsed at the same moment: the law has that covered
        await invoices.move(tx, invoice, decision.facts)

    async def lock_owner(self, tx: Tx, name: str) -> Job | Session | None:
        """Lock the job or the session that an invoice or a payout of this name belongs to."""
        owner_id = name.partition(":")[0]
        if session_law.owns(name):
            return await sessions.lock(tx, owner_id)
        return await jobs.lock(tx, owner_id)

    async def _lock_both(self, tx: Tx, invoice_id: str) -> tuple[Job | Session, Invoice] | None:
        row = await self.lock_owner(tx, invoice_id)
        invoice = await invoices.lock(tx, invoice_id)
        return None if row is None or invoice is None else (row, invoice)

    async def _lock_payout(self, tx: Tx, payout_id: str) -> tuple[Job | Session, Payout] | None:
        row = await self.lock_owner(tx, payout_id)
        payout = await payouts.lock(tx, payout_id)
        return None if row is None or payout is None else (row, payout)

    async def _touch(self, tx: Tx, row: Job | Session, event: str, now: datetime) -> None:
        """Count a change that others can see, and tell whoever waits for one."""
        if isinstance(row, Job):
            await jobs.touch(tx, row, event, now)
        else:
            await sessions.touch(tx, row, now)
