"""A worker at work: it claims, makes, is heard of, and brings; until it is told to end.

Told once, it finishes what it holds and claims no more. Started again, it goes on with what it held
before. Nothing that it makes is kept here: a lease that is lost is another's.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from app.buyer.exchange import Lost
from app.lender.server import Lease, Machine, Refused, Server
from app.ports import Declined, Executor, Made, Step, Undoable

T = TypeVar("T")
BEAT_S = 8.0  # a third of how long a lease holds, or less
AWAY_S, MOST_AWAY_S = 1.0, 60.0  # pauses while the server does not answer
RESTS_S = 5.0  # where it has nothing for this worker, and said so at once
BROKE = "It could not be made."


@dataclass
class _Progress:
    """How far an item is, and how it looks by now."""

    percent: int = 0
    preview: bytes = b""

    def stepped(self, step: Step) -> None:
        """Hear of a step."""
        self.percent = 99 * step.done // max(1, step.total)
        self.preview = step.preview


@dataclass
class Lender:
    """One worker, with what it makes things with."""

    server: Server
    executor: Executor
    machine: Machine
    say: Callable[[str], None]
    beat_s: float = BEAT_S
    most_items: int = 0  # after which it ends; 0: never
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    made: int = 0

    def end(self) -> None:
        """Have it end when it has finished what it holds."""
        if not self.ending.is_set():
            self.say("Ending: what is held is finished first.")
        self.ending.set()

    async def run(self) -> None:
        """Work until told to end. Raises Refused where the server has no more of this worker."""
        for lease in await self._patiently(self.server.held):
            self.say(f"Going on with: {_short(lease)}")
            await self._make(lease)
        why_before: list[str] = []
        while not self.ending.is_set():
            leases, why = await self._claim()
            if why and why != why_before:
                self.say(f"Nothing yet. {why[0]}")
            why_before = why
            for lease in leases:
                await self._make(lease)
            if self.most_items and self.made >= self.most_items:
                self.end()

    async def _claim(self) -> tuple[list[Lease], list[str]]:
        """Wait for an item, or for the end: a claim that is given up may have given one, and a
        later start finds it."""
        ask = self._patiently(lambda: self.server.claim(self.machine))
        asking, ending = asyncio.ensure_future(ask), asyncio.ensure_future(self.ending.wait())
        try:
            await asyncio.wait({asking, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                asking.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asking
                return await self._patiently(self.server.held), []
            claimed = asking.result()
        finally:
            ending.cancel()
        if not claimed.leases and len(claimed.why_nothing) > 1:
            await self._rest(RESTS_S)  # some model is none that it can make: it is told at once
        return claimed.leases, claimed.why_nothing

    async def _make(self, lease: Lease) -> None:
        """Make one item and bring it, being heard of until then."""
        come = _Progress()
        making = asyncio.ensure_future(self.executor.make(lease.wanted, come.stepped))
        beating = asyncio.ensure_future(self._beat(lease, come))
        try:
            await asyncio.wait({making, beating}, return_when=asyncio.FIRST_COMPLETED)
            if making.done():
                await self._bring(lease, making)
            else:
                self.say(f"Lost: {_short(lease)}")
        except Refused as refused:
            self.say(f"Refused: {refused.sentence}")
            if not refused.is_lost:
                with contextlib.suppress(Refused):
                    await self.server.fail(lease, BROKE, retryable=True)
        finally:
            for task in (making, beating):
                task.cancel()
            await asyncio.gather(making, beating, return_exceptions=True)

    async def _bring(
        self, lease: Lease, making: "asyncio.Future[Made | Declined | Undoable]"
    ) -> None:
        if making.exception() is not None:
            self.say(f"Broke: {_short(lease)}")
            await self.server.fail(lease, BROKE, retryable=True)
            return
        match making.result():
            case Made(data, media_type):
                earned = await self.server.bring(lease, data, media_type)
                self.made += 1
                self.say(f"{earned:>14}  {_short(lease)}")
            case Declined(reason):
                self.say(f"Declined: {_short(lease)}. {reason}")
                await self.server.fail(lease, reason, retryable=False)
            case Undoable(reason):
                self.say(f"Not made: {_short(lease)}. {reason}")
                await self.server.fail(lease, reason, retryable=True)

    async def _beat(self, lease: Lease, come: _Progress) -> None:
        """Be heard of until the lease is lost."""
        while True:
            try:
                if await self.server.beat(lease, come.percent, come.preview):
                    self.ending.set()
            except Lost:
                pass  # it is brought all the same, however late that is
            except Refused as refused:
                if refused.is_lost:
                    return
            await asyncio.sleep(self.beat_s)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until the server answers, or until this program is to end."""
        pause_s = AWAY_S
        while True:
            try:
                return await call()
            except Lost as lost:
                self.say(f"The server does not answer: {lost.reason}.")
                if await self._rest(pause_s):
                    raise
                pause_s = min(MOST_AWAY_S, 2 * pause_s)

    async def _rest(self, pause_s: float) -> bool:
        """Rest for a while; True: it is to end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self.ending.wait()
        return self.ending.is_set()


def _short(lease: Lease) -> str:
    """Return an item in a line: a stranger's words, without what a terminal would obey."""
    words = "".join(c if c.isprintable() else " " for c in lease.wanted.prompt)
    more = "…" if len(words) > 60 else ""
    return f"{lease.wanted.model} {lease.wanted.width}×{lease.wanted.height}: {words[:60]}{more}"
