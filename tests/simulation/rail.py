"""The rail as our process sees the node: slow, silent, forgetful, and now and then wrong.

What it says for good is true, as the Protocol demands; what it says of a payment under way may be
a lie until some minutes after the invoice has expired.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from random import Random
from typing import TypeVar

from payments.rail import (
    Absent,
    Failed,
    GivenUp,
    Opened,
    Outcome,
    Pending,
    Settled,
    Unavailable,
    Unknown,
    Unsent,
)
from pricing.money import Msat
from tests.simulation.clock import Clock
from tests.simulation.node import Node, Ours, Sent
from tests.simulation.wallet import NETWORK, Theirs, secret
from tests.simulation.weather import Weather

T = TypeVar("T")

LONGEST_LIE = timedelta(minutes=5)  # after the expiry of the invoice that it is about
LONGEST_WAY_S = 3 * 3600


class SimulatedRail:
    """Implements Rail over a simulated node."""

    name = "simulated"
    identity = wallet = "simulated:1"
    least_fee_limit_msat = Msat(1_000)
    network = NETWORK

    def __init__(
        self,
        node: Node,
        weather: Weather,
        dice: Random,
        clock: Clock,
        gate: Callable[[str], Awaitable[None]],
    ) -> None:
        self._node, self._weather, self._dice, self._clock = node, weather, dice, clock
        self._gate = gate
        self._takes_at_once = dice.random() < 0.5
        self.push_is_up = True

    async def create_invoice(
        self, key: str, amount_msat: Msat, memo: str, expiry_s: int
    ) -> Opened | Unavailable:
        """See Rail. Every call that arrives makes an invoice, like LNbits."""
        await self._begin("create_invoice")
        if self._weather.strikes("rail: refused"):
            return await self._end("create_invoice", Unavailable("refused"))
        preimage, payment_hash = secret(self._dice)
        expires_at = self._clock.true + timedelta(seconds=expiry_s)
        self._node.invoices[payment_hash] = Ours(
            key, payment_hash, preimage, amount_msat, expires_at
        )
        if self._weather.strikes("rail: no answer to create"):
            return await self._end("create_invoice", Unavailable("no answer"))
        opened = Opened(f"lnbcrt-{payment_hash}", payment_hash, amount_msat, expires_at)
        return await self._end("create_invoice", opened)

    async def look_up_invoice(self, payment_hash: str, wallet: str | None = None) -> Outcome:
        """See Rail."""
        await self._begin("look_up_invoice")
        answer: Outcome = Pending()
        invoice = self._node.invoices.get(payment_hash)
        if invoice is not None and invoice.expires_at < self._clock.true and not invoice.given_up:
            invoice.given_up = self._weather.strikes("rail: gives an expired invoice up")
        if self._weather.strikes("rail: no answer to look-up"):
            answer = Unknown("no answer")
        elif invoice is None:
            answer = Absent("no such invoice")
        elif invoice.given_up and invoice.received_msat is None:
            answer = GivenUp("it expired, and was given up")
        elif invoice.received_msat is not None:
            answer = Settled(payment_hash, Msat(invoice.received_msat), invoice.preimage)
        return await self._end("look_up_invoice", answer)

    async def pay(self, bolt11: str, fee_limit_msat: Msat, wallet: str | None = None) -> Outcome:
        """See Rail."""
        await self._begin("pay")
        to = self._node.wallets.by_text[bolt11]
        self._node.calls[to.payment_hash] = self._node.calls.get(to.payment_hash, 0) + 1
        sent = self._node.sent.get(to.payment_hash)
        answer = self._told(sent) if sent else self._pay(to, fee_limit_msat)
        if isinstance(answer, Unsent):
            self._node.unsent[to.payment_hash] = self._node.unsent.get(to.payment_hash, 0) + 1
        return await self._end("pay", answer)

    async def look_up_payment(self, payment_hash: str, wallet: str | None = None) -> Outcome:
        """See Rail."""
        await self._begin("look_up_payment")
        sent = self._node.sent.get(payment_hash)
        answer: Outcome = self._told(sent) if sent else Absent("no such payment")
        if self._weather.strikes("rail: no answer to look-up"):
            answer = Unknown("no answer")
        return await self._end("look_up_payment", answer)

    async def balance_msat(self) -> Msat | Unknown:
        """See Rail. Some wallets take off what is on its way, and others when it is sent."""
        await self._begin("balance")
        held_msat = self._node.balance_msat
        if self._takes_at_once:
            held_msat -= self._node.reserved_msat()
        answer: Msat | Unknown = Msat(held_msat)
        if self._weather.strikes("rail: no answer to look-up"):
            answer = Unknown("no answer")
        return await self._end("balance", answer)

    async def pushes(self) -> AsyncIterator[Settled | None]:
        """Tell nothing: here the world itself delivers."""
        return
        yield

    async def healthy(self) -> Unavailable | None:
        """See Rail."""
        return None

    async def close(self) -> None:
        """Nothing to let go of."""

    def _pay(self, to: Theirs, fee_limit_msat: int) -> Outcome:
        node, strikes = self._node, self._weather.strikes
        if to.expires_at <= self._clock.true:
            return Failed("the invoice has expired")
        fee_msat = 0 if self._weather.calm else self._dice.randrange(0, fee_limit_msat + 1)
        short = node.balance_msat - node.reserved_msat() < to.amount_msat + fee_msat
        if short or strikes("rail: unsent"):
            return Unsent("short of funds")
        if strikes("rail: no route"):
            node.send(to, 0, timedelta(0), False, "")
            return Failed("no route")
        if strikes("rail: payment without an answer, never sent"):
            return Unknown("no answer")
        silent = {
            "rail: payment without an answer, settled": True,
            "rail: payment without an answer, settles later": True,
            "rail: payment without an answer, fails later": False,
        }
        fate = self._weather.pick(*silent)
        if fate is not None:
            lie = self._lie(silent[fate])
            after = timedelta(0) if fate.endswith("settled") else self._way(to, lie)
            node.send(to, fee_msat, after, silent[fate], lie)
            return Unknown("no answer")
        honest = {"rail: payment pending, settles": True, "rail: payment pending, fails": False}
        fate = self._weather.pick(*honest)
        if fate is not None:
            lie = self._lie(honest[fate])
            node.send(to, fee_msat, self._way(to, lie), honest[fate], lie)
            return Pending()
        return self._told(node.send(to, fee_msat, timedelta(0), True, ""))

    def _lie(self, settles: bool) -> str:
        if not settles:
            return ""
        names = {
            "rail: says failed, and it settles": "failed",
            "rail: says absent, and it settles": "absent",
        }
        return names.get(self._weather.pick(*names) or "", "")

    def _way(self, to: Theirs, lie: str) -> timedelta:
        longest = timedelta(seconds=LONGEST_WAY_S)
        if lie:
            longest = min(longest, to.expires_at + LONGEST_LIE - self._clock.true)
        return timedelta(seconds=self._dice.randrange(1, int(longest.total_seconds()) + 2))

    def _told(self, sent: Sent) -> Outcome:
        if sent.settled:
            to = sent.to
            fee_msat = Msat(sent.fee_msat)
            return Settled(to.payment_hash, Msat(to.amount_msat), to.preimage, fee_msat)
        if sent.ended or sent.lie == "failed":
            return Failed("the payment failed")
        return Absent("no such payment") if sent.lie == "absent" else Pending()

    async def _begin(self, call: str) -> None:
        await self._gate(f"rail {call}: before")
        while self._weather.strikes("rail: slow"):
            await self._gate(f"rail {call}: slow")

    async def _end(self, call: str, answer: T) -> T:
        await self._gate(f"rail {call}: after")
        return answer
