"""What nobody paid for is purged; where it is paid all the same, it comes back to owe that."""

import secrets
from datetime import datetime

from app.advance.invoices import Invoices
from app.advance.outcome import Missing, Outcome
from db import invoices, jobs, lapsed, sessions
from db.engine import Row, Tx
from db.lapsed_tables import LapsedInvoice
from payments import rail
from pricing.quote import Quote
from statemachine import job as job_law
from statemachine import session as session_law
from statemachine.decision import InvoiceWanted
from statemachine.invoice import InvoiceState

PURGED = "The invoice was not paid in time, and the request was deleted a day later."


class Purging(Invoices):
    """What can be done with what was never paid."""

    async def purge_unpaid(self, tx: Tx, rows: list[Row]) -> int:
        """Purge what these lapsed invoices were for; return how many are gone."""
        return await lapsed.purge(tx, rows)

    async def settle_purged(
        self, tx: Tx, payment_hash: str, settled: rail.Settled, now: datetime
    ) -> Outcome:
        """Take in a payment of what was purged: its job or session is there again, and owes it.

        It is known by its old id, and the money goes where that said.
        """
        kept = await lapsed.take(tx, payment_hash)
        if kept is None:
            return Missing()
        owner_id = kept.invoice_id.partition(":")[0]
        if kept.purpose == "deposit":
            await self._restore_session(tx, owner_id, kept, now)
        elif kept.purpose != "topup":
            await self._restore_job(tx, owner_id, kept, now)
        is_job = kept.purpose in ("eval", "ask")
        wanted = InvoiceWanted(kept.invoice_id, kept.purpose, kept.amount_msat)
        job_id, session_id = (owner_id, None) if is_job else (None, owner_id)
        await invoices.insert(
            tx, job_id, session_id, wanted, now, kept.expires_at, InvoiceState.EXPIRED
        )
        row = await invoices.lock(tx, kept.invoice_id)
        assert row is not None, "it was written just now"
        row.payment_hash, row.wallet = payment_hash, kept.wallet
        await invoices.move(tx, row, invoices.facts_of(row))
        return await self.settle_invoice(tx, kept.invoice_id, settled, now)

    async def _restore_job(self, tx: Tx, job_id: str, kept: LapsedInvoice, now: datetime) -> None:
        eval_msat = int(kept.eval_msat or 0)
        if kept.quote is not None:
            begun = job_law.begin_asked(job_id, eval_msat, Quote.from_json(kept.quote))
        else:
            begun = job_law.begin(job_id, eval_msat, None)
        row = await jobs.insert(tx, begun.facts, "", kept.refund_to, "created", now)
        event = job_law.Lapsed(PURGED)
        await jobs.move(tx, row, job_law.decide(begun.facts, event).facts, event.kind.value, now)

    async def _restore_session(
        self, tx: Tx, session_id: str, kept: LapsedInvoice, now: datetime
    ) -> None:
        minimum_msat = self._terms.session_minimum_msat
        begun = session_law.begin(session_id, kept.amount_msat, minimum_msat)
        # Nobody ever held its credential, so another one is as good: who paid is shown it.
        nonce = secrets.token_hex(16)
        row = await sessions.insert(tx, begun.facts, kept.refund_to, nonce, None, now, now)
        after = session_law.decide(begun.facts, session_law.Lapsed())
        await sessions.move(tx, row, after.facts, row.expires_at, now)
