"""What an agent that converses can do: answer a conversation piece by piece, and draw an image.

Outcomes are values; it never raises. Each piece has the usage until then, which is what a caller
that stops in the middle pays for. Closing the stream stops the model.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, runtime_checkable

import structlog

from app import ports
from app.agents.agent import Agent, Broke
from app.ports import Executor, Made, Undoable, Wanted
from pricing.money import ceil_div
from pricing.rates import PICTURE_TOKENS, Usage

IMAGE_SIDE: Final = 1_024  # of an image that an executor makes, in pixels

_log = structlog.get_logger("agent")

BYTES_PER_WRITTEN_TOKEN = 4  # of what was written and is not counted yet

Role = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of the answer, and what was used until now."""

    text: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Done:
    """The answer's end. `cut`: the model wanted to write more than it may."""

    usage: Usage
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Declined:
    """The model declines to answer; `reason` is a sentence for the caller."""

    reason: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Drawn:
    """An image, as the model made it."""

    content: bytes
    media_type: str
    usage: Usage
    made_by: str  # "gemini", or the executor's name


Piece = Said | Done | Declined | Broke  # the last three end an answer


class Chat(Protocol):
    """One adapter a way of asking. Each call is bounded in time by the adapter itself."""

    name: str
    chat_model: str  # names of pricing.rates: what answers and images are priced by
    image_model: str
    max_output_tokens: int
    max_image_tokens: int
    most_history_bytes: int  # how much of a conversation it is given, beside the newest message

    def takes(self, model: str) -> str:
        """Return the model that answers when this one is asked for; "" when none does."""
        ...

    def answer(
        self, model: str, turns: Sequence[Turn], max_output_tokens: int
    ) -> AsyncGenerator[Piece, None]:
        """Answer the last turn, writing at most so many tokens."""
        ...

    async def draw(self, prompt: str) -> Drawn | Declined | Broke:
        """Make one image."""
        ...

    async def healthy(self) -> Broke | None:
        """Return None when it can be asked."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


@runtime_checkable
class Talks(Protocol):
    """What an agent that also works on jobs needs, to converse."""

    def answer(self, turns: Sequence[Turn], max_output_tokens: int) -> AsyncGenerator[Piece, None]:
        """Answer the last turn with the model that works."""
        ...


class WorkerChat:
    """Text by the agent that works on jobs, where no other was set up; images by an executor.

    Without one it draws nothing.
    """

    def __init__(
        self,
        agent: Agent,
        most_history_bytes: int,
        painter: Executor | None = None,
        image_deadline_s: float = 60,
    ) -> None:
        self._agent, self._painter = agent, painter
        self._image_deadline_s = image_deadline_s
        self.name = agent.name
        self.chat_model = agent.work_model
        self.image_model = agent.work_model if painter is None else painter.name
        self.max_image_tokens = 0 if painter is None else PICTURE_TOKENS
        self.max_output_tokens = agent.max_output_tokens
        self.most_history_bytes = most_history_bytes

    def takes(self, model: str) -> str:
        """See Chat. There is one model, whichever is asked for."""
        return self.chat_model

    async def answer(
        self, model: str, turns: Sequence[Turn], max_output_tokens: int
    ) -> AsyncGenerator[Piece, None]:
        """See Chat."""
        if not isinstance(self._agent, Talks):
            yield Broke("No agent that converses is set up here.", retryable=False)
            return
        pieces = self._agent.answer(turns, max_output_tokens)
        try:
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()

    async def draw(self, prompt: str) -> Drawn | Declined | Broke:
        """See Chat. Each call paints another image of the prompt."""
        if self._painter is None:
            return Broke("No agent that draws is set up here.", retryable=False)
        seed = secrets.randbits(32)
        wanted = Wanted(self._painter.name, prompt, IMAGE_SIDE, IMAGE_SIDE, seed=seed)
        try:
            async with asyncio.timeout(self._image_deadline_s):
                made = await self._painter.make(wanted)
        except TimeoutError:
            return Broke("The painter has too much to do.", retryable=True)
        except Exception as error:  # any of an executor's means that it may be tried again
            _log.warning("painter_broke", error=type(error).__name__)
            return Broke("The painter could not paint this.", retryable=True)
        match made:
            case Made(data, media_type):
                return Drawn(data, media_type, Usage(0, PICTURE_TOKENS), self._painter.name)
            case Undoable(reason, mend):
                return Broke(reason, retryable=False, mend=mend)
            case ports.Declined(reason):
                return Declined(reason, Usage(0, 0))

    async def healthy(self) -> Broke | None:
        """See Chat."""
        return await self._agent.healthy()

    async def close(self) -> None:
        """See Chat. The agent isn't closed: main.py does that."""
        if self._painter is not None:
            await self._painter.close()


def written_tokens(text_bytes: int) -> int:
    """Return about how many tokens an answer of so many bytes has, until the API counts them."""
    return ceil_div(text_bytes, BYTES_PER_WRITTEN_TOKEN)
