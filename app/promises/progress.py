"""What an agent writes, told to whoever watches while it writes: a few times a second, and stored
nowhere. The work never waits for it, and never fails by it; what was not told in time is in the
result.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import orjson
import structlog

from app.agents.agent import storable
from db.engine import Database
from db.job_events import MOST_BYTES, tell_progress
from pricing.money import sats_down
from pricing.quote import Quote, used_msat
from pricing.rates import Usage

PACE_S = 0.3  # between two notices of one job
MOST_TOLD_BYTES = 2_048  # of text, in one notice
LONGEST_WAIT_S = 2.0  # for a notice under way, when the work is done

log = structlog.get_logger("boltwork.progress")


@dataclass(frozen=True, slots=True)
class Words:
    """One notice: a piece of the text, where it begins, and what the work has cost so far."""

    job_id: str
    start: int  # in characters of all that was written; 0: the agent has begun, perhaps again
    text: str
    output_tokens: int
    cost_sats: int

    def packed(self) -> str:
        """Return it as it is sent between processes."""
        said = [self.job_id, self.start, self.text, self.output_tokens, self.cost_sats]
        return orjson.dumps(said).decode()

    @classmethod
    def unpacked(cls, packed: str) -> "Words | None":
        """Return what was packed; None for what was not."""
        with suppress(ValueError, TypeError):
            said: Any = orjson.loads(packed)
            return cls(*said)
        return None


class Telling:
    """Tells of one work. Use as an async context manager around it, and as its Progress."""

    def __init__(self, db: Database, job_id: str, quote: Quote, pace_s: float = PACE_S) -> None:
        self._db, self._job_id, self._quote, self._pace_s = db, job_id, quote, pace_s
        self._waiting = ""  # written, and not told yet
        self._told = 0
        self._usage = Usage(0, 0)
        self._task: asyncio.Task[None] | None = None
        self._over = asyncio.Event()

    def __call__(self, piece: str, usage: Usage) -> None:
        """See Progress."""
        self._waiting += storable(piece)
        self._usage = usage
        if self._task is None and not self._over.is_set():
            self._task = asyncio.create_task(self._tell())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Nothing may be told after the event that ends the work.
        self._over.set()
        task = self._task
        if task is not None:
            await asyncio.wait({task}, timeout=LONGEST_WAIT_S)
            task.cancel()

    async def _tell(self) -> None:
        """Send what is waiting, then rest, until nothing is."""
        try:
            while self._waiting and not self._over.is_set():
                await tell_progress(self._db, self._next().packed())
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pace_s):
                        await self._over.wait()
        except Exception as error:
            log.info("progress_not_told", error=type(error).__name__)
        finally:
            self._task = None

    def _next(self) -> Words:
        """Take as much of the text as one notice holds."""
        words = self._words(_head(self._waiting, MOST_TOLD_BYTES))
        while len(words.packed().encode()) > MOST_BYTES:  # it is all quotes and control characters
            words = self._words(words.text[: len(words.text) // 2])
        self._told += len(words.text)
        self._waiting = self._waiting[len(words.text) :]
        return words

    def _words(self, text: str) -> Words:
        cost_sats = sats_down(used_msat(self._quote, self._usage))
        return Words(self._job_id, self._told, text, self._usage.output_tokens, cost_sats)


def _head(text: str, most_bytes: int) -> str:
    """Return the beginning of a text, in whole characters."""
    return text[:most_bytes].encode()[:most_bytes].decode("utf-8", "ignore")
