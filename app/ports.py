"""What is asked of the outside, as Protocols: who keeps them is named in `app.main` alone."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from payments.bolt11 import Invoice
from payments.faults import Call, Fault
from payments.lnurl import BadDestination, Destination
from payments.public_http import Away, Refused
from payments.rail import Failed, Opened, Settled
from pricing.money import BtcPrice, Msat
from pricing.oracle import OracleStatus, PriceUnavailable


class Playground(Protocol):
    """What only the stub rail can do: be the buyer's wallet, and misbehave when told to."""

    async def receive(
        self, payment_hash: str, *, amount_msat: Msat | None = None, late: bool = False
    ) -> Settled | Failed:
        """Have the buyer pay an invoice of ours."""
        ...

    async def buyer_invoice(self, amount_msat: Msat, memo: str, expiry_s: int) -> Opened:
        """Have the buyer's wallet make an invoice."""
        ...

    async def script_fault(
        self, call: Call, fault: Fault, times: int = 1, delay_s: float = 0
    ) -> None:
        """Make the next calls of one kind fail in one way."""
        ...

    async def clear_faults(self) -> None:
        """Behave again."""
        ...


class Prices(Protocol):
    """What a bitcoin costs now, or that nobody can say."""

    async def price(self) -> BtcPrice | PriceUnavailable:
        """Return a price that is young enough, or say why there is none."""
        ...

    async def healthy(self) -> PriceUnavailable | None:
        """Return None when a price can be named."""
        ...

    def status(self) -> OracleStatus:
        """Return what each source last said. Nobody is asked."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Destinations(Protocol):
    """Where payouts can go by themselves: Lightning addresses and LNURL-pay."""

    def parse(self, text: str) -> Destination | BadDestination:
        """Return what a text means as a destination. Nobody is asked."""
        ...

    async def fetch_invoice(
        self, destination: Destination, amount_msat: Msat, comment: str = ""
    ) -> Invoice | Refused | Away:
        """Return an invoice of exactly this amount, made by the destination just now."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


Clock = Callable[[], datetime]  # aware, UTC
