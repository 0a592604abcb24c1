"""Workers that idle, in a queue for each lane: a wake-up is handed to one of them, and from there
to the next, for as long as something waits in that lane.

A worker joins before it looks: what comes while it looks wakes it again, so that no wake-up is
lost. What no wake-up has told of is found by one look at all lanes of the process, once a second.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import islice
from time import monotonic
from typing import Final, NamedTuple

import structlog

LOOKS_AFTER_S: Final = 1.0  # at lanes that no wake-up has told of
RESTS_S: Final = 5.0  # before what everybody has left is offered again
AT_ONCE: Final = 8  # workers that are awake for one lane, where as many items wait
ANSWERS_S: Final = 1.0  # after which the next one is woken, whatever the others do

log = structlog.get_logger("boltwork.wait_queue")


class Waits(NamedTuple):
    """What waits in a lane: the items whose turn it is, at most so many, and the one after all."""

    lane: str
    items: list[str]
    last: str | None


Look = Callable[[Collection[str], int], Awaitable[Sequence[Waits]]]  # lanes, at most so many items


class Waiter:
    """A worker's place in the queues of its lanes."""

    __slots__ = ("_answers", "_woken")

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self._answers: list[asyncio.Future[bool]] = []  # wake-ups that it has not looked after

    def wake(self) -> asyncio.Future[bool]:
        """Wake it; what is returned says whether it has looked since, or has left without."""
        answer = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        self._woken.set()
        return answer

    async def woken(self, longest_s: float) -> bool:
        """Wait to be woken, or for so long; False: it was not."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._woken.wait()
        return self._woken.is_set()

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Answer, with the end of the block, the wake-ups that came before it: the worker looks in
        the block at what waits, and takes what it can.
        """
        answers, self._answers = self._answers, []
        self._woken.clear()
        has_looked = False
        try:
            yield
            has_looked = True
        finally:
            _done(answers, has_looked=has_looked)

    def leave(self) -> None:
        """Answer whatever woke it: it looks no more."""
        _done(self._answers, has_looked=False)


def _done(answers: Sequence[asyncio.Future[bool]], *, has_looked: bool) -> None:
    for answer in answers:
        if not answer.done():
            answer.set_result(has_looked)


class WaitQueue:
    """The queues of a process. It hears of wake-ups as a listener of `db.signals`."""

    def __init__(self, look: Look, prefix: str, answers_s: float = ANSWERS_S) -> None:
        """`look` finds what waits; `prefix` begins the name of a signal that tells of a lane."""
        self._look, self._prefix, self._answers_s = look, prefix, answers_s
        self._queues: dict[str, dict[Waiter, None]] = {}  # by lane, who has waited longest first
        self._handing: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()  # lanes that were told of while they were handed on
        self._left: dict[str, tuple[float, Waits]] = {}  # what everybody has left, and when
        self.is_released = False  # the process ends: nobody waits any more

    def __len__(self) -> int:
        """Return how many workers wait."""
        return len({waiter for queue in self._queues.values() for waiter in queue})

    @contextlib.contextmanager
    def joined(self, lanes: Collection[str]) -> Iterator[Waiter]:
        """Have a worker wait in these lanes as long as the block lasts. What has woken it goes on
        to the next when it leaves.
        """
        waiter = Waiter()
        for lane in lanes:
            self._queues.setdefault(lane, {})[waiter] = None
        try:
            yield waiter
        finally:
            for lane in lanes:
                queue = self._queues[lane]
                del queue[waiter]
                if not queue:
                    del self._queues[lane]
            waiter.leave()

    def changed(self, name: str) -> None:
        """Hear a signal: where it tells of a lane, hand it to one who waits there."""
        lane = name.removeprefix(self._prefix)
        if lane != name and lane in self._queues:
            self._hand(lane)

    def progressed(self, words: str) -> None:
        """Hear what is of no interest here."""

    def missed(self) -> None:
        """Hear that signals may have been missed: each lane is looked at anew."""
        for lane in self._queues:
            self._hand(lane)

    def released(self) -> None:
        """Let everybody go who waits, for good."""
        self.is_released = True
        for waiter in {each for queue in self._queues.values() for each in queue}:
            waiter.wake()

    async def run(self) -> None:
        """Look once a second at every lane that somebody waits in, until cancelled."""
        while True:
            await asyncio.sleep(LOOKS_AFTER_S)
            await self.look()

    async def look(self) -> None:
        """Find in one look what waits in lanes that somebody waits in, and hand it on: but what
        all of them have left a moment ago.
        """
        lanes = [lane for lane in self._queues if lane not in self._handing]
        for waits in await self._look(lanes, AT_ONCE) if lanes else ():
            if waits.items and waits.lane in self._queues and not self._rests(waits):
                self._hand(waits.lane, waits)

    def _rests(self, waits: Waits) -> bool:
        left_s, left = self._left.get(waits.lane, (0.0, None))
        return left == waits and monotonic() < left_s + RESTS_S

    def _hand(self, lane: str, waits: Waits | None = None) -> None:
        if lane in self._handing:
            self._again.add(lane)
        else:
            self._handing[lane] = asyncio.create_task(self._hands(lane, waits))

    async def _hands(self, lane: str, waits: Waits | None) -> None:
        """Hand a wake-up on, and once more where another came meanwhile."""
        try:
            while True:
                self._again.discard(lane)
                await self._hand_on(lane, waits)
                if lane not in self._again:
                    return
                waits = None
        except Exception as error:  # of the database, say: the next look at all lanes goes on
            log.error("handing_on_broke", error=type(error).__name__)
        finally:
            del self._handing[lane]

    async def _hand_on(self, lane: str, before: Waits | None) -> None:
        """Have each look who waits in a lane, for as long as something waits there; and once more,
        where that was not there before. What all have left then rests for a while.
        """
        self._left.pop(lane, None)
        for _ in range(2):
            left = await self._round(lane)
            if left is None:
                return
            if left == before:
                self._left[lane] = monotonic(), left
                return
            before = left

    async def _round(self, lane: str) -> Waits | None:
        """Wake one after the other, the first by himself, those after him by as many as items wait;
        return what they have left.
        """
        woken: set[Waiter] = set()
        left, count = None, 1
        while next_ones := self._next(lane, count, woken):
            answers = [each.wake() for each in next_ones]
            _, late = await asyncio.wait(answers, timeout=self._answers_s)
            for answer in late:
                answer.add_done_callback(partial(self._late, lane))
            found = () if self.is_released else await self._look([lane], AT_ONCE)
            left = next((waits for waits in found if waits.items), None)
            if left is None:
                return None
            count = len(left.items)
        return left

    def _late(self, lane: str, answer: asyncio.Future[bool]) -> None:
        """Pass on what woke a worker that has not looked in time, and goes away after all."""
        if not answer.cancelled() and not answer.result() and lane in self._queues:
            self._hand(lane)

    def _next(self, lane: str, count: int, woken: set[Waiter]) -> list[Waiter]:
        """Return who is woken next. They are the last from now on, if they stay."""
        queue = self._queues.get(lane, {})
        chosen = list(islice((each for each in queue if each not in woken), count))
        for waiter in chosen:
            del queue[waiter]
            queue[waiter] = None
        woken.update(chosen)
        return chosen
