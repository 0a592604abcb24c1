"""The buyers of batches: each pays an invoice, looks on, and now and then gives it up."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from app.ports import Wanted
from app.trade.batches import Line, Order
from app.trade.once import Name
from db import batches
from pricing.money import MicroUsd
from statemachine.notice import Topic
from tests.simulation import wishes
from tests.simulation.makers import LANES
from tests.simulation.payers import GONE, KEY_LIFE, Crowd, Payer
from tests.simulation.process import Process

PRICES_MICROUSD = (1, 700, 4_000, 5_000, 39_999, 250_000)
SIZES = (1, 1, 1, 2, 3, 5, 8)
PAYERS = 5  # whose turn it is, and whose limits hold: several batches are one's


def prices(dice: Random, sizes: Sequence[int] = SIZES) -> tuple[int, ...]:
    """Return what the items of a batch cost: often all the same."""
    size = dice.choice(sizes)
    if dice.random() < 0.5:
        return (dice.choice(PRICES_MICROUSD),) * size
    return tuple(dice.choice(PRICES_MICROUSD) for _ in range(size))


def lines(tag: str, prices_microusd: Sequence[int]) -> list[Line]:
    """Return the lines of an order, which its items can be known by."""
    lanes = [LANES[price % len(LANES)] for price in prices_microusd]
    return [
        Line(Wanted(lane, f"{tag} {place}", 8, 8), lane, MicroUsd(price))
        for place, (lane, price) in enumerate(zip(lanes, prices_microusd, strict=True), start=1)
    ]


@dataclass(eq=False)
class Shopper(Payer):
    """One buyer of one batch."""

    prices_microusd: tuple[int, ...] = ()
    turn_of: str = ""

    over = ("completed", "failed", "cancelled", "expired")


class Shoppers(Crowd[Shopper]):
    """All of them, and what they do next."""

    sizes: Sequence[int] = SIZES  # of what they order

    def arrive(self) -> Shopper:
        """See Crowd."""
        dice, number = self._dice, len(self.active) + len(self.past)
        shopper = Shopper(
            name=f"m{number}",
            key=f"m{number}" if dice.random() < 0.6 else None,
            gives_up=dice.random() < 0.1,
            came_at=self._clock.true,
            refund_to=f"m{number}@wallet.example.org" if dice.random() < 0.35 else None,
            prices_microusd=prices(dice, self.sizes),
            turn_of=f"payer {dice.randrange(PAYERS)}",
        )
        order = wishes.Order(None, None, (), shopper.prices_microusd)
        self.wishes.orders[shopper.name] = order
        self.active.append(shopper)
        return shopper

    def wish(self, shopper: Shopper) -> str | None:
        """See Crowd."""
        if not shopper.owner_id:
            return "create" if self.comes_back(shopper, 4 if shopper.key else 0) else None
        if door := self.comes_for_money(shopper):
            return door
        if self._dice.random() < 0.04:
            return "cancel"
        repeats = shopper.key and self._clock.true < shopper.came_at + KEY_LIFE
        return "create" if repeats and self._dice.random() < 0.02 else "poll"

    async def create(self, shopper: Shopper, process: Process) -> None:
        """Order it."""
        name = None
        if shopper.key is not None:
            sha = hashlib.sha256(shopper.name.encode()).hexdigest()
            name = Name("peer:simulation", shopper.key, sha)
        wanted = lines(shopper.name, shopper.prices_microusd)
        told = self.word(process, Topic.BATCH)
        order = Order(wanted, shopper.turn_of, refund_to=shopper.refund_to, webhook=told)
        made = await process.house.batches.place(order, name)
        assert shopper.owner_id in ("", made.owner_id), "one key gave two batches"
        shopper.owner_id = made.owner_id
        self.show(shopper, made.purpose, made.bolt11)

    async def poll(self, shopper: Shopper, process: Process) -> None:
        """Look how it stands; the rail is asked while its channel is down."""
        house = process.house
        view = await batches.view(house.db, shopper.owner_id)
        if view is None:  # purged: whether that was right the auditor says
            shopper.status = GONE
            return
        if view.state == "awaiting_payment" and not house.waiting.is_pushed:
            for payment_hash in shopper.shown.values():
                await house.booking.look_up(payment_hash)
            view = await batches.view(house.db, shopper.owner_id)
            assert view is not None
        refunds = [house.shapes.refund(payout, None) for payout in view.payouts]
        shopper.status = {"state": view.state, "refunds": refunds}

    async def cancel(self, shopper: Shopper, process: Process) -> None:
        """Give it up: what nobody holds of it is not made."""
        self._weather.counts["buyer: gives a batch up"] += 1
        await process.house.batches.cancel(shopper.owner_id)
