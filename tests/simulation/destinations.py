"""Lightning addresses of the buyers: strangers' servers, which give invoices or something else."""

from collections.abc import Awaitable, Callable
from random import Random

from payments import lnurl
from payments.bolt11 import Invoice
from payments.lnurl import BadDestination, Destination
from payments.public_http import Away, Refused
from pricing.money import Msat
from tests.simulation.clock import Clock
from tests.simulation.node import Node
from tests.simulation.wallet import NETWORK, Theirs
from tests.simulation.weather import Weather


class SimulatedDestinations:
    """Implements Destinations: the real reading of what buyers write, and simulated servers."""

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
        self._given: dict[str, Theirs] = {}

    def parse(self, text: str) -> Destination | BadDestination:
        """See Destinations."""
        return lnurl.parse(text)

    async def fetch_invoice(
        self, destination: Destination, amount_msat: Msat, comment: str = ""
    ) -> Invoice | Refused | Away:
        """See Destinations."""
        await self._gate("destination: before")
        while self._weather.strikes("destination: slow"):
            await self._gate("destination: slow")
        answer = self._answer(destination, amount_msat)
        await self._gate("destination: after")
        return answer

    def _answer(self, destination: Destination, amount_msat: Msat) -> Invoice | Refused | Away:
        strikes = self._weather.strikes
        if strikes("destination: away"):
            return Away("nobody answers")
        if strikes("destination: refuses"):
            return Refused("It does not take this.")
        wallets, now = self._node.wallets, self._clock.true
        expiry_s = self._dice.choice((60, 600, 86_400))
        if strikes("destination: the invoice it gave before"):
            theirs = self._given.get(destination.text)
        elif strikes("destination: wrong amount"):
            theirs = wallets.make(amount_msat * 2, expiry_s, now, signed=False)
        elif strikes("destination: expired"):
            theirs = wallets.make(amount_msat, 0, now, signed=False)
        elif strikes("destination: an invoice of ours"):
            stolen = self._dice.choice(self._node.shown)
            theirs = wallets.make(amount_msat, expiry_s, now, stolen, signed=False)
        else:
            theirs = wallets.make(amount_msat, expiry_s, now, signed=False)
        if theirs is None:
            return Away("nobody answers")
        self._given[destination.text] = theirs
        return Invoice(
            bolt11=theirs.bolt11,
            payment_hash=theirs.payment_hash,
            amount_msat=Msat(theirs.amount_msat),
            expires_at=theirs.expires_at,
            network=NETWORK,
            payee="",
            description="",
        )

    async def close(self) -> None:
        """Nothing to let go of."""
