"""An agent that answers as its request says, at once or when it is let go, and counts its calls.

`REJECT` in a request is declined, `BREAK-JUDGE` and `BREAK-WORK` break for good, `FLAKY` breaks
the first try of each call; anything else is accepted and done.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence

from app.agents.agent import Accepted, Broke, Progress, Rejected, Result, unwatched
from app.agents.chat import Done, Piece, Said, Turn
from pricing.rates import Usage

MODEL = "smollm2-135m-instruct"


class ScriptedAgent:
    """Implements the Agent protocol with no model behind it."""

    name = "scripted"
    eval_model = MODEL
    work_model = MODEL
    max_output_tokens = 1000
    max_eval_output_tokens = 100

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self.go = asyncio.Event()  # cleared, every call waits here
        self.begun = asyncio.Event()
        self.forget()

    def forget(self) -> None:
        """Be as new, for the next test."""
        self.calls.clear()
        self.go.set()
        self.begun.clear()
        self.usage = Usage(50, 100)
        self.reads = 50  # what a request is measured as

    async def judge(self, request: str) -> Accepted | Rejected | Broke:
        """Decide by the words in the request."""
        await self._count("judge", request)
        if "REJECT" in request:
            return Rejected("It asks for what is not done here.", Usage(10, 5))
        if "BREAK-JUDGE" in request:
            return Broke("the agent is out of order", retryable=False)
        if "FLAKY" in request and self.calls["judge", request] == 1:
            return Broke("the agent was busy", retryable=True)
        return Accepted(self.reads, self.max_output_tokens, Usage(10, 5))

    async def work(
        self, request: str, max_output_tokens: int, progress: Progress = unwatched
    ) -> Result | Rejected | Broke:
        """Answer with the request itself."""
        await self._count("work", request)
        if "BREAK-WORK" in request:
            return Broke("the agent is out of order", retryable=False)
        if "FLAKY" in request and self.calls["work", request] == 1:
            return Broke("the agent was busy", retryable=True)
        return Result(f"done: {request}", self.usage)

    async def answer(
        self, turns: Sequence[Turn], max_output_tokens: int
    ) -> AsyncGenerator[Piece, None]:
        """Converse: say the last turn again, word by word."""
        said = turns[-1].text
        await self._count("answer", said)
        if "BREAK-WORK" in said:
            yield Broke("The agent is out of order.", retryable=False)
            return
        for word in ("done: ", said):
            yield Said(word, self.usage)
        yield Done(self.usage)

    async def _count(self, call: str, request: str) -> None:
        self.calls[call, request] += 1
        self.begun.set()
        await self.go.wait()

    async def healthy(self) -> Broke | None:
        """It can always be asked."""
        return None

    async def close(self) -> None:
        """Nothing to let go of."""


class Writing(ScriptedAgent):
    """Writes a word when it is told to, and ends when there are no more."""

    def __init__(self) -> None:
        super().__init__()
        self.words: asyncio.Queue[str] = asyncio.Queue()
        self.tries = 0

    async def work(
        self, request: str, max_output_tokens: int, progress: Progress = unwatched
    ) -> Result | Broke:
        """Tell each word as it is written; `BREAK` breaks the try."""
        self.tries += 1
        self.begun.set()
        written = ""
        while word := await self.words.get():
            if word == "BREAK":
                return Broke("the agent was busy", retryable=True)
            written += word
            progress(word, Usage(50, len(written)))
        return Result(written, Usage(50, len(written)))
