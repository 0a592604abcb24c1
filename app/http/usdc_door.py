"""The third door of a 402: USDC by a signed order (x402), for whatever has a price in dollars.

Here a payment is read, and what became of it is told; what it buys is the sales desk's.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from app.http.paywall import Sold
from app.ports import Clock, UsdcRail
from app.trade.usdc_sales import Bought, NotPaid, Thing, UsdcSales, purchase_of
from payments.usdc.payment import Payment, UsdcOffer
from payments.usdc.x402 import (
    RESPONSE,
    SIGNATURE,
    Flaw,
    Refused,
    header_of,
    order_in,
    read_payment,
    required,
)
from pricing.money import usd_in_usdc

PENDING = {"payment_state": "unknown", "retry_action": "poll"}


@dataclass(frozen=True, slots=True)
class UsdcDoor:
    """Offers what has a price in dollars for USDC, and takes payments for it."""

    usdc: UsdcRail
    sales: UsdcSales
    is_well: Callable[[], bool]  # False: payments could not be settled just now
    clock: Clock

    def required(self, sold: Sold, url: str, error: str) -> dict[str, Any] | None:
        """Return what a 402 asks for, in its header and its body; None where nothing is offered."""
        offer = self._offer(sold)
        if offer is None or not self.is_well():
            return None
        return required([offer], url, sold.description, error)

    async def bought(
        self,
        request: Request,
        sold: Sold,
        prepare: Callable[[Payment], Awaitable[Thing]],
    ) -> Bought | NotPaid | None:
        """Return what the payment that a request brings has bought; None when it brings none.

        `prepare` is asked for what is to be sold. Raises Refusal, as the sales desk does.
        """
        offer, brought = self._offer(sold), request.headers.getlist(SIGNATURE)
        if offer is None or not brought:
            return None
        paid = await self._read(brought, offer)
        if isinstance(paid, Refused):
            return NotPaid(paid.sentence, self._refused(paid), paid.retry_action)
        key = request.headers.get("idempotency-key")
        purchase = purchase_of(paid, sold.resource, sold.body or b"", key)

        async def thing() -> Thing:
            return await prepare(paid)

        return await self.sales.buy(paid, purchase, thing, is_named=key is not None)

    async def answered(self, request: Request, bought: Bought, answer: Response) -> Response:
        """Return an answer that tells what became of a payment. Once it is sent, the next such
        request buys anew; but a buyer who has gone meanwhile asks for this one again."""
        answer.headers[RESPONSE] = header_of(bought.told)
        if not await request.is_disconnected():
            answer.background = BackgroundTask(self.sales.answered, bought)
        return answer

    def _refused(self, refused: Refused) -> dict[str, Any]:
        told = {"success": False, "errorReason": refused.flaw.value, "transaction": ""}
        return {**told, "network": self.usdc.network.caip2}

    def _offer(self, sold: Sold) -> UsdcOffer | None:
        if sold.price_microusd is None:
            return None
        return self.usdc.offer(usd_in_usdc(sold.price_microusd))

    async def _read(self, brought: list[str], offer: UsdcOffer) -> Payment | Refused:
        if len(set(brought)) > 1:
            return Refused(Flaw.UNREADABLE, f"{SIGNATURE} is sent twice. Send one payment.")
        paid = read_payment(brought[0], [offer], self.clock())
        if isinstance(paid, Payment):
            return paid
        # What was claimed in its time is good for what it bought, whatever the time and the price
        # are now: its sender must not be asked for another one.
        order = order_in(brought[0])
        known = await self.sales.settling.known(*order) if order is not None else None
        return known or paid
