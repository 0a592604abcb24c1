"""What nobody paid for is purged; where it is paid all the same, it comes back to owe that."""

from app.advance.act import Act
from app.advance.invoices import settle as settle_invoice
from app.advance.outcome import Missing, Outcome
from app.advance.owners import OWNERS
from app.advance.writing import wanted_by
from db import invoices, lapsed
from db.lapsed import Unpaid
from payments import rail
from statemachine.decision import InvoiceWanted
from statemachine.invoice import InvoiceState
from statemachine.owner import named


async def purge(act: Act, rows: list[Unpaid]) -> int:
    """Purge what these lapsed invoices were for; return how many are gone."""
    return await lapsed.purge(act.tx, rows)


async def settle(act: Act, payment_hash: str, settled: rail.Settled) -> Outcome:
    """Take in a payment of what was purged: its job or session is there again, and owes it.

    It is known by its old id, and the money goes where that said.
    """
    kept = await lapsed.take(act.tx, payment_hash)
    if kept is None:
        return Missing()
    owner = named(kept.invoice_id).owner
    await OWNERS[owner.kind].restore(act, owner.id, kept)
    wanted = InvoiceWanted(kept.invoice_id, kept.purpose, kept.amount_msat)
    row = wanted_by(act, owner, wanted)
    row.state, row.expires_at = InvoiceState.EXPIRED, kept.expires_at
    row.payment_hash, row.wallet = payment_hash, kept.wallet
    await invoices.insert(act.tx, row)
    return await settle_invoice(act, kept.invoice_id, settled)
