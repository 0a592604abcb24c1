"""One item at a lent machine: made, heard of meanwhile, and brought; or why it is not.

Nothing is kept here: what is made under a lease that is lost is nobody's, and is thrown away.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from app.buyer.exchange import Lost
from app.executors.provider import OTHER_SIZE, TOO_SHORT, UNFIT
from app.lender.answers import Lease
from app.lender.display import Shows
from app.lender.server import Refused, Server
from app.ports import Declined, Executor, Made, NotBegun, Step, Undoable, Wanted

BEAT_S: Final = 8.0  # a third of how long a lease holds, or less
BROKE: Final = "It could not be made."
DRAIN = "drain"
# What a buyer can do nothing about: another machine may make it.
OF_THE_MACHINE: Final = (OTHER_SIZE, TOO_SHORT, UNFIT)


@dataclass
class Making:
    """Makes one item. `made`: it was taken; `drain` is called when the server wants an end."""

    server: Server
    executor: Executor
    shows: Shows
    lease: Lease
    drain: Callable[[], None]
    beat_s: float = BEAT_S
    made: bool = False
    _percent: int = 0
    _preview: bytes = b""

    async def run(self) -> None:
        """Make it and bring it, being heard of until then. It raises nothing but cancellation."""
        self.shows.begun(self.lease)
        making = asyncio.ensure_future(self.executor.make(self.lease.wanted, self._stepped))
        beating = asyncio.ensure_future(self._beat())
        try:
            await asyncio.wait({making, beating}, return_when=asyncio.FIRST_COMPLETED)
            if making.done():
                await self._end(making)
            else:
                self.shows.say(f"Lost: {self.lease.shown}. {beating.result()}")
        finally:
            self.shows.ended(self.lease)
            for task in (making, beating):
                task.cancel()
            await asyncio.gather(making, beating, return_exceptions=True)

    def _stepped(self, step: Step) -> None:
        self._percent = max(self._percent, min(99, 99 * step.done // max(1, step.total)))
        self._preview = step.preview or self._preview
        self.shows.went(self.lease, self._percent)

    async def _beat(self) -> str:
        """Be heard of until the lease is lost; return why."""
        while True:
            preview, self._preview = self._preview, b""
            try:
                command = await self.server.beat(self.lease, self._percent, preview)
            except Lost:
                command = ""  # it is brought all the same, however late that is
            except Refused as refused:
                command = ""
                if refused.is_lost:
                    return refused.sentence
            if command == DRAIN:
                self.drain()
            await asyncio.sleep(self.beat_s)

    async def _end(self, making: "asyncio.Future[Made | Declined | Undoable]") -> None:
        """Tell the server what came of it."""
        try:
            if making.exception() is not None:
                await self._broke(making.exception())
                return
            match making.result():
                case Made() as found if not fits(found, self.lease.wanted):
                    size = f"It came out as {found.width} × {found.height}."
                    await self._failed("Not made", size, OTHER_SIZE)
                case Made(data, media_type):
                    await self._bring(data, media_type)
                case Declined(reason):
                    is_final = reason not in OF_THE_MACHINE
                    await self._failed("Declined", reason, reason, is_final=is_final)
                case Undoable(reason):
                    await self._failed("Not made", reason, reason)
        except Refused as refused:
            self.shows.say(f"Refused: {refused.sentence}")
        except Lost as lost:
            self.shows.say(f"Not brought: {self.lease.shown}. The server: {lost.reason}.")

    async def _bring(self, data: bytes, media_type: str) -> None:
        try:
            earned = await self.server.bring(self.lease, data, media_type)
        except Refused as refused:
            if not refused.is_lost:
                await self._quietly(self.server.fail(self.lease, BROKE, retryable=True))
            raise
        self.made = True
        self.shows.say(f"{earned:>14}  {self.lease.shown}")

    async def _broke(self, error: BaseException | None) -> None:
        if isinstance(error, NotBegun):  # given back without blame, as long as that is allowed
            self.shows.say(f"Given back: {self.lease.shown}")
            with contextlib.suppress(Refused, Lost):
                await self.server.release(self.lease)
                return
        await self._failed("Broke", f"{type(error).__name__}: {error}", BROKE)

    async def _failed(self, word: str, why: str, reason: str, *, is_final: bool = False) -> None:
        self.shows.say(f"{word}: {self.lease.shown}. {why}")
        await self.server.fail(self.lease, reason, retryable=not is_final)

    @staticmethod
    async def _quietly(call: Awaitable[None]) -> None:
        with contextlib.suppress(Refused, Lost):
            await call


def fits(made: Made, wanted: Wanted) -> bool:
    """Say whether something has the size that was asked for, as far as it tells its own."""
    return not made.width or (made.width, made.height) == (wanted.width, wanted.height)
