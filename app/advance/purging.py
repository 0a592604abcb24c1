"""What nobody paid for is purged; where it is paid all the same, it comes back to owe that."""

import secrets

from app.advance.act import Act
from app.advance.invoices import settle as settle_invoice
from app.advance.outcome import Missing, Outcome
from db import invoices, jobs, lapsed, sessions
from db.engine import Row
from db.lapsed_tables import LapsedInvoice
from payments import rail
from pricing.quote import Quote
from statemachine import job as job_law
from statemachine import session as session_law
from statemachine.decision import InvoiceWanted
from statemachine.invoice import InvoiceState

PURGED = "The invoice was not paid in time, and the request was deleted a day later."


async def purge(act: Act, rows: list[Row]) -> int:
    """Purge what these lapsed invoices were for; return how many are gone."""
    return await lapsed.purge(act.tx, rows)


async def settle(act: Act, payment_hash: str, settled: rail.Settled) -> Outcome:
    """Take in a payment of what was purged: its job or session is there again, and owes it.

    It is known by its old id, and the money goes where that said.
    """
    kept = await lapsed.take(act.tx, payment_hash)
    if kept is None:
        return Missing()
    owner_id = kept.invoice_id.partition(":")[0]
    if kept.purpose == "deposit":
        await _restore_session(act, owner_id, kept)
    elif kept.purpose != "topup":
        await _restore_job(act, owner_id, kept)
    is_job = kept.purpose in ("eval", "ask")
    wanted = InvoiceWanted(kept.invoice_id, kept.purpose, kept.amount_msat)
    job_id, session_id = (owner_id, None) if is_job else (None, owner_id)
    await invoices.insert(
        act.tx, job_id, session_id, wanted, act.now, kept.expires_at, InvoiceState.EXPIRED
    )
    row = await invoices.lock(act.tx, kept.invoice_id)
    assert row is not None, "it was written just now"
    row.payment_hash, row.wallet = payment_hash, kept.wallet
    await invoices.move(act.tx, row, invoices.facts_of(row))
    return await settle_invoice(act, kept.invoice_id, settled)


async def _restore_job(act: Act, job_id: str, kept: LapsedInvoice) -> None:
    eval_msat = int(kept.eval_msat or 0)
    if kept.quote is not None:
        begun = job_law.begin_asked(job_id, eval_msat, Quote.from_json(kept.quote))
    else:
        begun = job_law.begin(job_id, eval_msat, None)
    row = await jobs.insert(act.tx, begun.facts, "", kept.refund_to, "created", act.now)
    event = job_law.Lapsed(PURGED)
    after = job_law.decide(begun.facts, event).facts
    await jobs.move(act.tx, row, after, event.kind.value, act.now)


async def _restore_session(act: Act, session_id: str, kept: LapsedInvoice) -> None:
    begun = session_law.begin(session_id, kept.amount_msat, act.terms.session_minimum_msat)
    # Nobody ever held its credential, so another one is as good: who paid is shown it.
    nonce, now = secrets.token_hex(16), act.now
    row = await sessions.insert(act.tx, begun.facts, kept.refund_to, nonce, None, now, now)
    after = session_law.decide(begun.facts, session_law.Lapsed())
    await sessions.move(act.tx, row, after.facts, row.expires_at, now)
