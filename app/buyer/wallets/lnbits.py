"""A wallet at an LNbits of the buyer's, by its admin key: the rail of the house, the other way."""

import secrets
from datetime import UTC, datetime

from payments.bolt11 import Invoice, fee_limit_msat
from payments.lnbits import LnbitsRail
from payments.rail import Outcome, Unavailable
from pricing.money import Msat, sats_to_msat

REFUND_EXPIRY_S = 86_400


class LnbitsWallet:
    """One LNbits wallet. LNbits sends for a payment hash at most once, however often it is asked.

    The network is that of the first invoice it is to pay: a buyer has no setting for it.
    """

    name = "lnbits"
    is_by_hand = False
    network: str | None = None

    def __init__(self, url: str, api_key: str, timeout_s: float = 30) -> None:
        self._rail = LnbitsRail(url, api_key, clock=lambda: datetime.now(UTC), timeout_s=timeout_s)

    async def pay(self, invoice: Invoice) -> Outcome:
        """See Wallet."""
        self._rail.network = invoice.network
        least_msat = self._rail.least_fee_limit_msat
        limit_msat = fee_limit_msat(Msat(invoice.amount_msat or 0), None, least_msat)
        return await self._rail.pay(invoice.bolt11, limit_msat)

    async def look_up(self, invoice: Invoice) -> Outcome:
        """See Wallet."""
        self._rail.network = invoice.network
        return await self._rail.look_up_payment(invoice.payment_hash)

    async def make_invoice(self, amount_sats: int, memo: str) -> str | Unavailable:
        """See Wallet."""
        key = secrets.token_hex(8)
        amount_msat = sats_to_msat(amount_sats)
        made = await self._rail.create_invoice(key, amount_msat, memo, REFUND_EXPIRY_S)
        return made if isinstance(made, Unavailable) else made.bolt11

    async def close(self) -> None:
        """See Wallet."""
        await self._rail.close()
