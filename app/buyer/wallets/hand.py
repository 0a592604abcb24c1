"""A person's wallet: the invoice is shown as a code, and paid by scanning it."""

from collections.abc import Callable

from payments.bolt11 import Invoice
from payments.rail import Outcome, Pending, Unavailable


class HandWallet:
    """Shows what is to be paid, and never knows whether it was."""

    name = "scan"
    is_by_hand = True
    network: str | None = None

    def __init__(self, show: Callable[[Invoice], None]) -> None:
        self._show = show

    async def pay(self, invoice: Invoice) -> Outcome:
        """See Wallet."""
        self._show(invoice)
        return Pending()

    async def look_up(self, invoice: Invoice) -> Outcome:
        """See Wallet."""
        return Pending()

    async def make_invoice(self, amount_sats: int, memo: str) -> str | Unavailable:
        """See Wallet."""
        return Unavailable("a person's wallet makes its invoices itself")

    async def close(self) -> None:
        """See Wallet."""
