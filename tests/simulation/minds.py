"""The agents and the price sources: what they answer, and what they truly said."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from random import Random

from app.agents.agent import Accepted, Broke, Progress, Rejected, Result, unwatched
from pricing.money import BtcPrice
from pricing.oracle import Oracle, PriceUnavailable, Source, WrongAnswer
from pricing.rates import Usage
from tests.simulation.clock import Clock
from tests.simulation.weather import Weather

WORK_MODEL = "claude-sonnet-5-5"
EVAL_MODEL = "claude-haiku-5-5"
HONEST = 3  # of five sources, at least


class SimulatedAgent:
    """Implements Agent. The request's own words decide nothing here: the dice do."""

    name = "simulated"
    eval_model = EVAL_MODEL
    work_model = WORK_MODEL
    max_output_tokens = 100_000
    max_eval_output_tokens = 100

    def __init__(
        self, weather: Weather, dice: Random, gate: Callable[[str], Awaitable[None]]
    ) -> None:
        self._weather, self._dice, self._gate = weather, dice, gate
        self.used: dict[str, set[tuple[int, int]]] = defaultdict(set)  # by request

    async def judge(self, request: str) -> Accepted | Rejected | Broke:
        """See Agent."""
        await self._begin("judge")
        answer: Accepted | Rejected | Broke
        broke = self._broke()
        if broke is not None:
            answer = broke
        elif self._dice.random() < 0.12:
            answer = Rejected("It is not done here.", Usage(10, 5))
        else:
            input_tokens = self._dice.randrange(1, 5_000)
            answer = Accepted(
                input_tokens, self._dice.randrange(1, self.max_output_tokens), Usage(10, 5)
            )
        await self._gate("agent judge: after")
        return answer

    async def work(
        self, request: str, max_output_tokens: int, progress: Progress = unwatched
    ) -> Result | Rejected | Broke:
        """See Agent."""
        await self._begin("work")
        broke = self._broke()
        if broke is not None:
            await self._gate("agent work: after")
            return broke
        if self._weather.strikes("agent: declines at work"):
            await self._gate("agent work: after")
            return Rejected("It would rather not.", Usage(10, 5))
        usage = Usage(
            self._dice.randrange(0, 5_000), self._dice.randrange(0, max_output_tokens + 1)
        )
        if self._weather.strikes("agent: usage above the ceiling"):
            usage = Usage(100_000, max_output_tokens * 3)
        elif self._weather.strikes("agent: no usage"):
            usage = Usage(0, 0)
        self.used[request].add((usage.input_tokens, usage.output_tokens))
        await self._gate("agent work: after")
        return Result(f"done {len(self.used[request])}", usage)

    async def healthy(self) -> Broke | None:
        """See Agent."""
        return None

    async def close(self) -> None:
        """Nothing to let go of."""

    async def _begin(self, call: str) -> None:
        await self._gate(f"agent {call}: before")
        while self._weather.strikes("agent: slow"):
            await self._gate(f"agent {call}: slow")

    def _broke(self) -> Broke | None:
        if self._weather.strikes("agent: broke, again later"):
            return Broke("the agent was busy", retryable=True, busy=True)
        if self._weather.strikes("agent: broke after it was paid"):
            return Broke("the agent said nonsense", retryable=True, usage=Usage(10, 5))
        if self._weather.strikes("agent: broke for good"):
            return Broke("the agent is out of order", retryable=False)
        return None


class SimulatedOracle(Oracle):
    """The real oracle, whose sources drift, fall silent and lie. A majority of them is honest."""

    def __init__(
        self,
        weather: Weather,
        dice: Random,
        clock: Clock,
        gate: Callable[[str], Awaitable[None]],
    ) -> None:
        sources = tuple(Source(f"s{n}", f"http://s{n}.invalid/", ("usd",)) for n in range(5))
        super().__init__(sources, clock=clock, fallback_microusd=None, development_microusd=None)
        self._weather, self._dice, self._gate = weather, dice, gate
        self._usd = 100_000
        self._liars = 0
        self._dark = False
        self.lowest, self.highest = 10**18, 0  # of all that honest sources named, micro-USD

    async def price(self) -> BtcPrice | PriceUnavailable:
        """See Oracle."""
        await self._gate("oracle price: before")
        return await super().price()

    async def _refresh(self) -> None:
        self._usd = max(20_000, min(200_000, self._usd + self._dice.randrange(-2_000, 2_001)))
        self._liars = 0
        self._dark = self._weather.strikes("oracle: all silent")
        await super()._refresh()

    async def _fetch(self, source: Source) -> int:
        if self._dark or self._weather.strikes("oracle: a source is silent"):
            raise WrongAnswer("silence")
        if self._liars < 1 and self._weather.strikes("oracle: a source lies"):
            self._liars += 1
            return self._dice.choice((1, 10**6, self._usd * 10, self._usd * 2)) * 10**6
        said = (self._usd + self._dice.randrange(-100, 101)) * 10**6
        self.lowest, self.highest = min(self.lowest, said), max(self.highest, said)
        return said
