"""The agent as a tool: text in, text out, charged for the tokens that were really used.

It judges nothing: a run is paid for, and what is not used of its price goes back.
"""

from time import monotonic
from typing import Final

from app.agents.agent import Agent, Broke, Rejected, Result, storable
from app.plain_text import harmless
from app.ports import Declined, Made, NotBegun, Step, Stepped, Undoable, Wanted, unwatched_step
from pricing.rates import Usage
from pricing.run_price import Tokens

NAME: Final = "agent"
AT_ONCE: Final = 2
PAUSE_S: Final = 5.0  # before it is asked again that has turned a run away
EMPTY: Final = Undoable("The agent wrote nothing.")


class AgentTool:
    """An executor over an agent, which is closed by whoever has made it."""

    name = NAME

    def __init__(self, agent: Agent, price: Tokens, at_once: int = AT_ONCE) -> None:
        self._agent, self._price, self.at_once = agent, price, at_once
        self._trouble: Undoable | None = None
        self._asks_at_s = 0.0

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """See Executor. A step is each piece of the text that comes."""
        most, written = wanted.inputs["max_tokens"], 0

        def progress(piece: str, usage: Usage) -> None:
            nonlocal written
            written = max(written, usage.output_tokens)
            stepped(Step(min(written, most), most))

        done = await self._agent.work(wanted.inputs["prompt"], most, progress)
        match done:
            case Result(text, usage):
                text = harmless(storable(text)).strip()
                if not text:
                    return EMPTY
                used = self._price.used(usage)
                return Made(text.encode(), "text/plain", used_microusd=used)
            case Rejected(reason):
                return Declined(reason)
            case Broke(reason, busy=busy):
                if busy:  # nothing was begun, and nothing spent
                    self._shut(Undoable(reason))
                    raise NotBegun(reason)
                return Undoable(reason)

    async def healthy(self) -> Undoable | None:
        """See Executor. The agent is asked only once it has turned a run away."""
        if self._trouble is not None and monotonic() >= self._asks_at_s:
            self._asks_at_s = monotonic() + PAUSE_S
            trouble = await self._agent.healthy()
            self._trouble = Undoable(trouble.reason, trouble.mend) if trouble else None
        return self._trouble

    def _shut(self, trouble: Undoable) -> None:
        """Take nothing until the agent can be asked again."""
        self._trouble, self._asks_at_s = trouble, monotonic() + PAUSE_S

    async def close(self) -> None:
        """See Executor. Nothing is held here."""
