"""A worker at work: it claims, makes, and brings, several at once; until it is told to end.

Told once, it finishes what it holds and claims no more. Started again, it goes on with what it held
before. Where the server or the backend is away it waits, longer each time.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, TypeVar

from app.buyer.exchange import Lost
from app.lender.answers import Claimed, Lease
from app.lender.display import Shows
from app.lender.making import BEAT_S, Making
from app.lender.patience import patiently
from app.lender.server import Machine, Refused, Server
from app.ports import Executor

T = TypeVar("T")
RESTS_S = 5.0  # where it has nothing for this worker, and said so at once
PAUSED_S = 30.0  # between looks whether it is given items again
STANDS_S = 15.0  # between looks at what is earned
WAITS: Final = "nothing_waits"
ENOUGH: Final = "holds_enough"
DRAINING: Final = "draining"


@dataclass
class Lender:
    """One worker, with what it makes things with."""

    server: Server
    executor: Executor
    machine: Machine
    shows: Shows
    beat_s: float = BEAT_S
    at_once: int = 1
    most_items: int = 0  # after which it ends; 0: never
    rests_s: float = RESTS_S
    paused_s: float = PAUSED_S
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    made: int = 0
    _working: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)  # why nothing was given
    _stood_s: float = float("-inf")

    def end(self) -> None:
        """Have it end when it has finished what it holds."""
        if not self.ending.is_set():
            self.shows.say("Ending: what is held is finished first.")
        self.ending.set()

    @property
    def holds(self) -> int:
        """How many items are being made."""
        return len(self._working)

    async def run(self) -> None:
        """Work until told to end. Raises Refused where the server has no more of this worker, and
        Lost where it is to end, or no server."""
        try:
            self._take(await self._patiently(self.server.held), "Going on with: ")
            await self._stand()
            while not self.ending.is_set():
                try:
                    await self._turn()
                except Lost:  # what is held is finished all the same
                    if not self.ending.is_set():
                        raise
            while self._working:
                await self._one_ends()
        finally:
            for task in self._working.values():
                task.cancel()
            await asyncio.gather(*self._working.values(), return_exceptions=True)

    async def _turn(self) -> None:
        """Claim what there is room for, or wait for room."""
        room = self.at_once - self.holds
        if self.most_items:
            room = min(room, self.most_items - self.made - self.holds)
            if self.made >= self.most_items:
                self.end()
                return
        if room <= 0:
            await self._one_ends()
            return
        if not await self._backend_is_well():
            return
        try:
            claimed = await self._claim(room)
        except Refused as refused:
            if refused.worker_state == DRAINING:
                self.end()
                return
            if not refused.is_paused:
                raise
            await self._until_resumed(refused.sentence)
            return
        self._take(claimed.leases)
        await self._nothing(claimed)

    def _take(self, leases: list[Lease], word: str = "") -> None:
        """Begin to make what is held."""
        for lease in leases:
            if lease.id not in self._working:
                if word:
                    self.shows.say(f"{word}{lease.shown}")
                self._working[lease.id] = asyncio.create_task(self._make(lease))

    async def _make(self, lease: Lease) -> None:
        making = Making(self.server, self.executor, self.shows, lease, self.end, self.beat_s)
        try:
            await making.run()
            self.made += making.made
            await self._stand()
        finally:
            self._working.pop(lease.id, None)

    async def _stand(self) -> None:
        """Show what is earned, where that was not shown just now."""
        if self.shows.draws and monotonic() - self._stood_s >= STANDS_S:
            self._stood_s = monotonic()
            with contextlib.suppress(Refused, Lost):
                self.shows.stands(await self.server.me())

    async def _one_ends(self, within_s: float | None = None) -> None:
        """Wait until an item is made no more."""
        working = [*self._working.values()]
        await asyncio.wait(working, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)

    async def _claim(self, room: int) -> Claimed:
        """Wait for items, or for the end: a claim that is given up may have given some, and what is
        held is asked for then."""
        ask = self._patiently(lambda: self.server.claim(self.machine, room))
        asking, ending = asyncio.ensure_future(ask), asyncio.ensure_future(self.ending.wait())
        try:
            await asyncio.wait({asking, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                asking.cancel()
                with contextlib.suppress(asyncio.CancelledError, Lost, Refused):
                    await asking
                return Claimed(await self._patiently(self.server.held), {})
            return asking.result()
        finally:
            asking.cancel()
            ending.cancel()

    async def _nothing(self, claimed: Claimed) -> None:
        """Say why nothing was given, each reason once; rest where that was said at once."""
        why = {} if claimed.leases else claimed.why_nothing
        reasons = set(why.values())
        new = {sentence for sentence, reason in why.items() if reason != ENOUGH} - self._told
        if new:
            self._told |= new
            self.shows.say(f"Nothing yet. {' '.join(sorted(new))}")
        if ENOUGH in reasons and self._working:
            await self._one_ends(self.rests_s)
        elif reasons - {WAITS}:
            await self._rest(self.rests_s)

    async def _backend_is_well(self) -> bool:
        """Say whether the backend can be asked; where it can't, rest a while first."""
        told = False
        while (trouble := await self.executor.healthy()) is not None:
            if not told:
                self.shows.say(f"The backend can't be asked: {trouble.reason}")
                told = True
            if await self._rest(self.rests_s):
                return False
        if told:
            self.shows.say("The backend can be asked again.")
        return True

    async def _until_resumed(self, sentence: str) -> None:
        """Wait until the worker is given items again; whoever paused it says when."""
        self.shows.say(f"{sentence} It goes on when it is resumed.")
        while not await self._rest(self.paused_s):
            state = (await self._patiently(self.server.me)).state
            if state in ("online", "banned"):  # a banned one is told so by the next claim
                return

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until the server answers, or until this program is to end."""
        return await patiently(call, self.shows.say, self._rest)

    async def _rest(self, pause_s: float) -> bool:
        """Rest for a while; True: it is to end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self.ending.wait()
        return self.ending.is_set()
