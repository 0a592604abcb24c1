"""What an agent can do, and what it can answer. Outcomes are values; agents do not raise.

The request is untrusted text. The price never comes from a model's words: an acceptance carries
only measured sizes and ceilings, and the usage that was really counted.
"""

from dataclasses import dataclass
from typing import Protocol

from pricing.rates import Usage

# The example that is offered for a first try: the smallest of the agents answers it well too.
EASY_QUESTION = "What is the capital of France?"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request is accepted: what the work will read, and may write at most, in tokens."""

    input_tokens: int  # measured for the work call, instructions included
    max_output_tokens: int  # the ceiling the work call will be held to
    usage: Usage  # what judging itself used


@dataclass(frozen=True, slots=True)
class Rejected:
    """The request is rejected; `reason` is a sentence for the buyer."""

    reason: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Result:
    """The work, done."""

    text: str
    usage: Usage
    cut: bool = False  # it wanted to write more than it may


@dataclass(frozen=True, slots=True)
class Broke:
    """The agent could not answer. `reason` is for the buyer and names no secret.

    `busy`: the call was turned away, which may pass and has cost nothing; else `usage` is what it
    used, where that is known.
    """

    reason: str
    retryable: bool
    usage: Usage | None = None
    busy: bool = False
    retry_after_s: float = 0  # what the other side has asked for
    mend: str = ""  # what an operator can do; not for buyers


def storable(text: str) -> str:
    """Return a model's text as anybody can keep it: no NUL, and no half of a surrogate pair.

    Each of these becomes one other character, so that a text is as long as it was.
    """
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


class Progress(Protocol):
    """Called with what an agent writes, while it writes. It never waits, and never raises."""

    def __call__(self, piece: str, usage: Usage) -> None:
        """Take in a piece of the work, and about what was used until now."""
        ...


def unwatched(piece: str, usage: Usage) -> None:
    """Ignore the pieces: this work isn't watched."""


class Agent(Protocol):
    """One adapter a way of asking. Each call is bounded in time by the adapter itself."""

    name: str
    eval_model: str  # names of pricing.rates: what judging and working are priced by
    work_model: str
    max_output_tokens: int
    max_eval_output_tokens: int

    async def judge(self, request: str) -> Accepted | Rejected | Broke:
        """Decide whether to accept the request."""
        ...

    async def work(
        self, request: str, max_output_tokens: int, progress: Progress = unwatched
    ) -> Result | Rejected | Broke:
        """Do the work, writing at most `max_output_tokens`; report progress where it streams."""
        ...

    async def healthy(self) -> Broke | None:
        """Return None when the agent can be asked."""
        ...

    async def close(self) -> None:
        """Close connections and unload models."""
        ...
