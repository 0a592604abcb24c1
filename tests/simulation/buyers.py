"""The buyers of jobs: what each of them asks, polls and cancels. Some pay all of it at once."""

import hashlib
from dataclasses import dataclass

from app.trade.asks import Ask
from app.trade.once import Name
from app.trade.orders import Order
from db import jobs
from pricing.money import Msat
from statemachine.notice import Topic
from tests.simulation.payers import GONE, KEY_LIFE, Crowd, Payer
from tests.simulation.process import Process

LIMITS_MSAT = (None, None, None, None, None, 20_000, 500_000, 5_000_000)


@dataclass(eq=False)
class Buyer(Payer):
    """One buyer with one job in mind."""

    request: str = ""
    max_msat: int | None = None
    is_firm: bool = False  # buys by the call: one invoice for all of it


class Buyers(Crowd[Buyer]):
    """All buyers, and what they do next."""

    def arrive(self) -> Buyer:
        """See Crowd."""
        dice, number = self._dice, len(self.active) + len(self.past)
        buyer = Buyer(
            name=f"b{number}",
            request=f"request {number}",
            max_msat=dice.choice(LIMITS_MSAT),
            key=f"k{number}" if dice.random() < 0.6 else None,
            gives_up=dice.random() < 0.1,
            came_at=self._clock.true,
            refund_to=f"b{number}@wallet.example.org" if dice.random() < 0.35 else None,
            is_firm=dice.random() < 0.3,
        )
        self.active.append(buyer)
        return buyer

    def wish(self, buyer: Buyer) -> str | None:
        """See Crowd."""
        dice = self._dice
        if not buyer.owner_id:
            return "create" if self.comes_back(buyer, 4 if buyer.key else 0) else None
        if door := self.comes_for_money(buyer):
            return door
        if dice.random() < 0.03:
            return "cancel"
        repeats = buyer.key and self._clock.true < buyer.came_at + KEY_LIFE
        return "create" if repeats and dice.random() < 0.02 else "poll"

    async def create(self, buyer: Buyer, process: Process) -> None:
        """POST /api/jobs, or /api/ask."""
        max_msat = None if buyer.max_msat is None else Msat(buyer.max_msat)
        name = None
        if buyer.key is not None:
            sha = hashlib.sha256(buyer.request.encode()).hexdigest()
            name = Name("peer:simulation", buyer.key, sha)
        if buyer.is_firm:
            ask = Ask(buyer.request, max_msat, buyer.refund_to)
            row = await process.house.asks.place(ask, name)
        else:
            told = self.word(process, Topic.JOB)
            order = Order(buyer.request, max_msat, buyer.refund_to, webhook=told)
            row = await process.house.orders.place(order, name)
        assert buyer.owner_id in ("", row.owner_id), "one key gave two jobs"
        buyer.owner_id = row.owner_id
        self.show(buyer, row.purpose, row.bolt11)

    async def poll(self, buyer: Buyer, process: Process) -> None:
        """GET /api/jobs/{id}, which asks the rail while its channel is down."""
        house = process.house
        row = await jobs.view(house.db, buyer.owner_id)
        if row is None:  # purged: whether that was right the auditor says
            buyer.status = GONE
            return
        if row.to_pay is not None and not house.waiting.is_pushed:
            await house.booking.look_up(row.to_pay.payment_hash)
            row = await jobs.view(house.db, buyer.owner_id)
            assert row is not None
        buyer.status = house.shapes.status(row)
        for purpose, field in (
            ("eval", "evalInvoice"),
            ("work", "workInvoice"),
            ("ask", "invoice"),
        ):
            if invoice := buyer.status.get(field):
                self.show(buyer, purpose, invoice["paymentRequest"])

    async def cancel(self, buyer: Buyer, process: Process) -> None:
        """POST /api/jobs/{id}/cancel."""
        self._weather.counts["buyer: cancels"] += 1
        await process.house.orders.cancel(buyer.owner_id)
