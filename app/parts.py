"""The parts that `app.main` has put together, as the rest of `app` sees them: Protocols only."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.advance import Shell
from app.agents.agent import Agent
from app.agents.chat import Chat
from app.credentials import Credentials
from app.settings import Settings
from app.throttle import Throttle
from db.engine import Database
from db.promises import Outbox
from db.signals import Signals
from payments.bolt11 import Invoice
from payments.faults import Call, Fault
from payments.lnurl import BadDestination, Destination
from payments.public_http import Away, Refused
from payments.rail import Failed, Opened, Rail, Settled, Wallets
from pricing.money import BtcPrice, Msat
from pricing.oracle import OracleStatus, PriceUnavailable
from pricing.rates import RateCard


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


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a handler, a keeper or a loop works with."""

    settings: Settings
    db: Database
    outbox: Outbox
    signals: Signals
    shell: Shell
    rail: Rail
    agent: Agent
    chat: Chat
    oracle: Prices
    destinations: Destinations
    card: RateCard
    throttle: Throttle
    credentials: Credentials
    clock: Clock
    new_id: Callable[[], str]  # 128 bits of chance, hex: whoever knows a job's id may read it
    wallets: Wallets | None  # the rail's own doors to open one after the other, where it can
    stub: Playground | None  # the stub rail's own doors, when there is one to play with
