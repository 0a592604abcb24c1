"""The buyers of batches in USDC: each signs an order, and another one where he hears nothing.

One who was answered signs no more; so whatever he has signed, what he wants is made once.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from app.trade.batches import Order
from app.trade.usdc_sales import NotPaid, Thing, purchase_of
from db import batches
from payments.usdc.address import Address
from payments.usdc.authorization import Authorization
from payments.usdc.payment import Payment
from payments.usdc.x402 import LEAST_LEFT_S
from pricing.money import MicroUsdc
from tests.simulation import wishes
from tests.simulation.payers import GONE, Crowd, Payer
from tests.simulation.process import Process
from tests.simulation.shoppers import PAYERS, lines, prices

SIGNATURE = "0x" + "5" * 130  # nobody looks at it here: the chain is simulated
MOST_ORDERS = 5
NOBODY = Address("")


@dataclass(eq=False)
class Signer(Payer):
    """One buyer of one batch, who has USDC."""

    prices_microusd: tuple[int, ...] = ()
    turn_of: str = ""
    address: Address = NOBODY
    orders: list[Payment] = field(default_factory=list)

    over = ("completed", "failed", "cancelled", "expired")

    @property
    def owed(self) -> list[int]:
        """Nothing that he has to come for: what is owed in USDC comes by itself."""
        return []


@dataclass(frozen=True)
class Sale:
    """What somebody wants, as one of our doors has it."""

    microusdc: int  # its price just now
    resource: str
    prepare: Callable[[Payment], Awaitable[Thing]]


class Signers(Crowd[Signer]):
    """All of them, and what they do next."""

    def arrive(self) -> Signer:
        """See Crowd."""
        dice, number = self._dice, len(self.active) + len(self.past)
        signer = Signer(
            name=f"u{number}",
            key=f"u{number}" if dice.random() < 0.5 else None,
            gives_up=False,
            came_at=self._clock.true,
            refund_to=None,
            prices_microusd=prices(dice),
            turn_of=f"payer {dice.randrange(PAYERS)}",
            address=Address(f"0x{number:040d}"),  # digits have no capitals
        )
        order = wishes.Order(None, None, (), signer.prices_microusd, in_usdc=True)
        self.wishes.orders[signer.name] = order
        self.active.append(signer)
        return signer

    def wish(self, signer: Signer) -> str | None:
        """See Crowd."""
        if not signer.owner_id:
            # Not beside himself: once either is answered, the other one buys anew.
            if signer.busy:
                return None
            return "buy" if self.comes_back(signer, MOST_ORDERS) else None
        if self._dice.random() < 0.04:
            return "cancel"
        return "buy" if self._dice.random() < 0.05 else "poll"

    def pay_long_after(self) -> str | None:
        """Nobody does: an order is good for two minutes."""
        return None

    async def buy(self, signer: Signer, process: Process) -> None:
        """Send an order: one that was sent before, or a new one while he has heard nothing."""
        again = signer.orders and (signer.owner_id or self._dice.random() < 0.4)
        sale = await self.sale(signer, process)
        if sale is None:
            return
        if not again:
            signer.orders.append(self._signed(signer, process, sale.microusdc))
        payment = signer.orders[-1]
        desk = process.house.usdc
        assert desk is not None
        if again and not await self._is_taken(payment, process, sale.microusdc):
            self._weather.counts["buyer: sends an order whose time is over"] += 1
            return
        purchase = purchase_of(payment, sale.resource, signer.name.encode(), signer.key)
        bought = await desk.sales.buy(payment, purchase, lambda: sale.prepare(payment))
        if isinstance(bought, NotPaid):
            self._weather.counts["buyer: is told that an order in USDC paid nothing"] += 1
            return
        if self._dice.random() < 0.2:
            self._weather.counts["buyer: does not hear what an order in USDC bought"] += 1
            return
        assert signer.owner_id in ("", bought.owner.id), "one order bought two things"
        signer.owner_id = bought.owner.id
        await desk.sales.answered(bought)

    async def sale(self, signer: Signer, process: Process) -> Sale | None:
        """Return what he wants, for what it costs now; None: it can't be had any more."""
        order = Order(lines(signer.name, signer.prices_microusd), signer.turn_of)

        async def prepare(payment: Payment) -> Thing:
            return await process.house.batches.for_usdc(payment, order)

        return Sale(sum(signer.prices_microusd), "batches", prepare)

    async def _is_taken(self, payment: Payment, process: Process, microusdc: int) -> bool:
        """Say whether the door takes an order: at the price of now and in its time, or as one that
        was claimed in that.
        """
        order = payment.authorization
        in_time = order.valid_before_s >= self._clock.true.timestamp() + LEAST_LEFT_S
        if in_time and order.amount_microusdc == microusdc:
            return True
        desk = process.house.usdc
        assert desk is not None
        known = desk.sales.settling.known
        return await known(payment.network.caip2, order, payment.signature) is not None

    def _signed(self, signer: Signer, process: Process, microusdc: int) -> Payment:
        usdc = process.built.usdc
        assert usdc is not None
        offer = usdc.offer(MicroUsdc(microusdc))
        now_s = int(self._clock.true.timestamp())
        named = f"{signer.name} {len(signer.orders)}"
        order = Authorization(
            signer.address,
            offer.pay_to,
            offer.amount_microusdc,
            now_s - 600,
            now_s + offer.window_s,
            "0x" + hashlib.sha256(named.encode()).hexdigest(),
        )
        return Payment(offer, order, SIGNATURE)

    async def poll(self, signer: Signer, process: Process) -> None:
        """Look how it stands."""
        view = await batches.view(process.house.db, signer.owner_id)
        signer.status = GONE if view is None else {"state": view.state, "refunds": []}

    async def cancel(self, signer: Signer, process: Process) -> None:
        """Give it up: what nobody holds of it is not made, and what it cost goes back."""
        self._weather.counts["buyer: gives a batch up"] += 1
        await process.house.batches.cancel(signer.owner_id)
