"""The first invoice of each purchase: the rail makes it before anything is written.

An invoice that isn't recorded afterwards was never shown to a buyer: it just expires.
"""

from dataclasses import dataclass

from app.loops.readiness import Readiness
from app.promises.keeping import Keeper
from app.refusal import Refusal, Why, unavailable
from db import invoices
from db.engine import Database
from db.invoices import MadeInvoice
from payments import rail
from statemachine.invoice import InvoiceState
from statemachine.owner import Purpose


@dataclass(frozen=True, slots=True)
class Invoicing:
    """What a desk asks for when there is something to pay."""

    db: Database
    keeper: Keeper
    readiness: Readiness

    async def new(self, key: str, purpose: Purpose, amount_msat: int) -> rail.Opened:
        """Have the rail make an invoice. Raises Refusal (503) where it makes none."""
        opened = await self.keeper.new_invoice(key, purpose, amount_msat)
        if isinstance(opened, rail.Unavailable):
            raise self._no_invoice(opened.retry_after_s)
        return opened

    async def made_before(self, invoice_id: str) -> MadeInvoice:
        """Return the invoice that an earlier request was answered with. Raises Refusal (503)."""
        row = await invoices.get(self.db, invoice_id)
        made = row.made if row is not None else None
        if made is None:
            raise self._no_invoice(0)
        return made

    def _no_invoice(self, asked_s: int) -> Refusal:
        """Return why nothing can be paid just now, and when the rail may be asked again."""
        return unavailable(
            Why.NO_INVOICE,
            "The Lightning wallet can't make an invoice just now. Nothing was charged.",
            max(asked_s, self.readiness.retry_after_s("rail")),
        )


def check_open(invoice: MadeInvoice) -> None:
    """Refuse to offer again, under the same name, what can't be paid any more."""
    if invoice.state is InvoiceState.SETTLED:
        raise Refusal(
            Why.PAID_ALREADY,
            "What this Idempotency-Key names is paid for.",
            "Send the same request with its proof, or with a new key to buy it again.",
        )
    if invoice.state is not InvoiceState.OPEN:
        raise Refusal(
            Why.OFFER_EXPIRED,
            "The offer that this Idempotency-Key names has expired. Use a new key.",
        )
