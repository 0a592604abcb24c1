"""Names for every place where the code commits or calls the outside, and who may stand there.

A probe is told the name before and after; it does nothing, or ends the process there on purpose.
Each call is counted and timed by the same name.
`db.engine` names its commits itself; these wrappers name the calls.
"""

import os
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import aclosing
from typing import TypeVar

from app.agents.agent import Accepted, Agent, Broke, Progress, Rejected, Result, unwatched
from app.agents.chat import Chat, Declined, Drawn, Piece, Turn
from app.ports import Destinations, Prices
from app.telemetry.calls import calling, counting
from db.engine import Probe
from payments.bolt11 import Invoice
from payments.lnurl import BadDestination, Destination
from payments.public_http import Away, Refused
from payments.rail import (
    KnownWallet,
    NewWallet,
    Opened,
    Outcome,
    Rail,
    Settled,
    Unavailable,
    Unknown,
    Wallets,
)
from pricing.money import BtcPrice, Msat
from pricing.oracle import OracleStatus, PriceUnavailable

T = TypeVar("T")


def crash_at(where: str) -> Probe:
    """Return a probe that ends the process, as a crash does, at the n-th passing of a place.

    `where` is the name of the place, and `#n` for another passing than the first.
    """
    name, _, number = where.partition("#")
    passings: Counter[str] = Counter()

    def passing(place: str) -> None:
        passings[place] += 1
        if place == name and passings[place] == int(number or 1):
            os._exit(137)

    return passing


async def _named(passing: Probe, name: str, call: Awaitable[T]) -> T:
    passing(f"{name}: before")
    with calling(name) as observed:
        answer = await call
        observed.answered(answer)
    passing(f"{name}: after")
    return answer


class ProbedRail:
    """A rail whose every call is named."""

    def __init__(self, rail: Rail, passing: Probe) -> None:
        self._rail, self._passing = rail, passing
        self.name, self.identity, self.network = rail.name, rail.identity, rail.network
        self.least_fee_limit_msat = rail.least_fee_limit_msat

    @property
    def wallet(self) -> str:
        """See Rail."""
        return self._rail.wallet

    @property
    def push_is_up(self) -> bool:
        """See Rail."""
        return self._rail.push_is_up

    async def create_invoice(
        self, key: str, amount_msat: Msat, memo: str, expiry_s: int
    ) -> Opened | Unavailable:
        """See Rail."""
        call = self._rail.create_invoice(key, amount_msat, memo, expiry_s)
        return await _named(self._passing, "rail create_invoice", call)

    async def look_up_invoice(self, payment_hash: str, wallet: str | None = None) -> Outcome:
        """See Rail."""
        call = self._rail.look_up_invoice(payment_hash, wallet)
        return await _named(self._passing, "rail look_up_invoice", call)

    async def pay(self, bolt11: str, fee_limit_msat: Msat, wallet: str | None = None) -> Outcome:
        """See Rail."""
        call = self._rail.pay(bolt11, fee_limit_msat, wallet)
        return await _named(self._passing, "rail pay", call)

    async def look_up_payment(self, payment_hash: str, wallet: str | None = None) -> Outcome:
        """See Rail."""
        call = self._rail.look_up_payment(payment_hash, wallet)
        return await _named(self._passing, "rail look_up_payment", call)

    async def balance_msat(self) -> Msat | Unknown:
        """See Rail."""
        return await _named(self._passing, "rail balance", self._rail.balance_msat())

    async def pushes(self) -> AsyncIterator[Settled | None]:
        """See Rail."""
        async for push in self._rail.pushes():
            self._passing("rail push: before")
            yield push

    async def healthy(self) -> Unavailable | None:
        """See Rail."""
        return await _named(self._passing, "rail healthy", self._rail.healthy())

    async def close(self) -> None:
        """See Rail."""
        await self._rail.close()


class ProbedWallets:
    """A rail's doings with wallets, each of which is named."""

    def __init__(self, wallets: Wallets, passing: Probe) -> None:
        self._wallets, self._passing = wallets, passing

    async def open_wallet(self, name: str) -> NewWallet | Unavailable:
        """See Wallets."""
        return await _named(self._passing, "rail open_wallet", self._wallets.open_wallet(name))

    async def balance_of(self, wallet: str) -> Msat | Unknown:
        """See Wallets."""
        return await _named(self._passing, "rail balance_of", self._wallets.balance_of(wallet))

    async def delete_wallet(self, wallet: str) -> Unavailable | None:
        """See Wallets."""
        call = self._wallets.delete_wallet(wallet)
        return await _named(self._passing, "rail delete_wallet", call)

    def use(self, wallets: Sequence[KnownWallet], left_msat: Msat) -> None:
        """See Wallets."""
        self._wallets.use(wallets, left_msat)


class ProbedAgent:
    """An agent whose every call is named."""

    def __init__(self, agent: Agent, passing: Probe) -> None:
        self._agent, self._passing = agent, passing
        self.name, self.eval_model, self.work_model = agent.name, agent.eval_model, agent.work_model
        self.max_output_tokens = agent.max_output_tokens
        self.max_eval_output_tokens = agent.max_eval_output_tokens

    async def judge(self, request: str) -> Accepted | Rejected | Broke:
        """See Agent."""
        return await _named(self._passing, "agent judge", self._agent.judge(request))

    async def work(
        self, request: str, max_output_tokens: int, progress: Progress = unwatched
    ) -> Result | Rejected | Broke:
        """See Agent."""
        call = self._agent.work(request, max_output_tokens, progress)
        return await _named(self._passing, "agent work", call)

    async def healthy(self) -> Broke | None:
        """See Agent."""
        return await _named(self._passing, "agent healthy", self._agent.healthy())

    async def close(self) -> None:
        """See Agent."""
        await self._agent.close()


class ProbedChat:
    """A chat whose every call is named."""

    def __init__(self, chat: Chat, passing: Probe) -> None:
        self._chat, self._passing = chat, passing
        self.name, self.chat_model, self.image_model = chat.name, chat.chat_model, chat.image_model
        self.max_output_tokens, self.max_image_tokens = (
            chat.max_output_tokens,
            chat.max_image_tokens,
        )
        self.most_history_bytes = chat.most_history_bytes

    def takes(self, model: str) -> str:
        """See Chat."""
        return self._chat.takes(model)

    async def answer(
        self, model: str, turns: Sequence[Turn], max_output_tokens: int
    ) -> AsyncGenerator[Piece, None]:
        """See Chat."""
        self._passing("chat answer: before")
        with counting("chat answer") as observed:
            async with aclosing(self._chat.answer(model, turns, max_output_tokens)) as pieces:
                async for piece in pieces:
                    self._passing("chat piece: before")
                    observed.answered(piece)
                    yield piece
        self._passing("chat answer: after")

    async def draw(self, prompt: str) -> Drawn | Declined | Broke:
        """See Chat."""
        return await _named(self._passing, "chat draw", self._chat.draw(prompt))

    async def healthy(self) -> Broke | None:
        """See Chat."""
        return await _named(self._passing, "chat healthy", self._chat.healthy())

    async def close(self) -> None:
        """See Chat."""
        await self._chat.close()


class ProbedOracle:
    """An oracle whose every question is named."""

    def __init__(self, oracle: Prices, passing: Probe) -> None:
        self._oracle, self._passing = oracle, passing

    async def price(self) -> BtcPrice | PriceUnavailable:
        """See Prices."""
        return await _named(self._passing, "oracle price", self._oracle.price())

    async def healthy(self) -> PriceUnavailable | None:
        """See Prices."""
        return await _named(self._passing, "oracle healthy", self._oracle.healthy())

    def status(self) -> OracleStatus:
        """See Prices."""
        return self._oracle.status()

    async def close(self) -> None:
        """See Prices."""
        await self._oracle.close()


class ProbedDestinations:
    """Destinations whose every question is named."""

    def __init__(self, destinations: Destinations, passing: Probe) -> None:
        self._destinations, self._passing = destinations, passing

    def parse(self, text: str) -> Destination | BadDestination:
        """See Destinations."""
        return self._destinations.parse(text)

    async def fetch_invoice(
        self, destination: Destination, amount_msat: Msat, comment: str = ""
    ) -> Invoice | Refused | Away:
        """See Destinations."""
        call = self._destinations.fetch_invoice(destination, amount_msat, comment)
        return await _named(self._passing, "lnurl fetch", call)

    async def close(self) -> None:
        """See Destinations."""
        await self._destinations.close()
