"""The house's own executors at work: they claim, are heard of and deliver as a far worker does.

Each piece is a new worker of the house's: what one could not make, the next may. A process that is
told to end gives back what it holds; one that dies is silent, and its items are another's soon.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from app.advance import Lost, Missing
from app.ports import (
    Declined,
    Executor,
    Made,
    NotBegun,
    NotNow,
    Step,
    Stepped,
    Undoable,
    Unfit,
    Wanted,
)
from app.promises.leases import Holding, Leases
from db.claims import Claim
from db.engine import DatabaseAway
from db.going import goes_on
from db.signals import Signals
from pricing.money import MicroUsd
from pricing.offers import Offer

LOOKS_AFTER_S = 1.0  # at a lane that nobody has told it of
SHOWS_AFTER_S = 0.5  # how an item looks, and between two looks: what takes less is seen whole
LOOKED_AT: Final = 2  # the newest one, and the one before it, which may be on its way to somebody
NOTHING = MicroUsd(0)
BROKE = "It could not be made."
HOUSE = "house"  # the first part of the name of a worker of ours; its executor is the second

log = structlog.get_logger("boltwork.making")


@dataclass(frozen=True, slots=True)
class Making:
    """One executor, and the lanes in which it makes what waits."""

    executor: Executor
    lanes: Sequence[str]
    leases: Leases
    signals: Signals
    new_id: Callable[[], str]
    beat_s: float  # a third of how long a lease holds
    costs: Mapping[str, Offer] = field(default_factory=dict)  # what its maker wants, by model
    shows_s: float = SHOWS_AFTER_S

    async def run(self) -> None:
        """Make what waits, as many at once as the executor may, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.executor.at_once):
                group.create_task(self._works())

    async def _works(self) -> None:
        while goes_on():
            try:
                worker = f"{HOUSE}:{self.executor.name}:{self.new_id()}"
                for claim in await self._claimed(worker):
                    await self._make(claim, Holding(claim.id, claim.number, worker))
            except Exception as error:  # of the database, say: what is held lapses
                log.error("making_broke", error=type(error).__name__)
                await asyncio.sleep(LOOKS_AFTER_S)

    async def _claimed(self, worker: str) -> list[Claim]:
        """Claim one item, as soon as there is one and its executor is well."""
        with self.signals.queue.joined(self.lanes) as waiter:
            while goes_on():
                claimed: list[Claim] = []
                with waiter.looking():
                    if await self.executor.healthy() is None:  # else it loses whatever it tries
                        claimed = await self.leases.claim(worker, self.lanes, 1)
                if claimed:
                    return claimed
                await waiter.woken(LOOKS_AFTER_S)
        return []

    async def _make(self, claim: Claim, held: Holding) -> None:
        come = _Progress()
        making = asyncio.ensure_future(self._made(claim, come.stepped))
        beating = asyncio.ensure_future(self._beat(held, come))
        showing = asyncio.ensure_future(self._show(held, come))
        try:
            await asyncio.wait({making, beating}, return_when=asyncio.FIRST_COMPLETED)
            if not making.done():
                # The lease is lost: whoever has it now makes it.
                await self.leases.release(replace(held, cost_microusd=self._cost(claim, come)))
                return
            paid = replace(held, cost_microusd=self._cost(claim, come))
            await self._tell(paid, making, beating)
        except asyncio.CancelledError:
            await self.leases.release(replace(held, cost_microusd=self._cost(claim, come)))
            raise
        finally:
            for task in (making, beating, showing):
                task.cancel()
            await asyncio.gather(making, beating, showing, return_exceptions=True)
            await self.leases.artifacts.previews.forget(come.shown)

    async def _made(self, claim: Claim, stepped: Stepped) -> Made | Declined | Undoable:
        """Have it made of what it asks for, and of the files that it names, once they are read.

        That the store or the database is away is nobody's failure: it is held on meanwhile.
        """
        wanted = await self._wanted(claim)
        if isinstance(wanted, Unfit):
            return Declined(wanted.reason)
        return await self.executor.make(wanted, stepped)

    async def _wanted(self, claim: Claim) -> Wanted | Unfit:
        while True:
            with contextlib.suppress(DatabaseAway):
                wanted = await self.leases.wanted(claim.asked)
                if not isinstance(wanted, NotNow):
                    return wanted
            await asyncio.sleep(LOOKS_AFTER_S)

    def _cost(self, claim: Claim, come: "_Progress") -> MicroUsd:
        """Return what a call costs us by now, in micro-USD."""
        cost = self.costs.get(str(claim.asked.get("model")))
        if cost is None or not come.is_billed:
            return NOTHING
        return cost.of(int(claim.asked.get("duration_ms") or 0))

    async def _beat(self, held: Holding, come: "_Progress") -> None:
        """Be heard of until the lease is lost, with how far it has come."""
        while True:
            with contextlib.suppress(DatabaseAway):
                if isinstance(await self.leases.beat(held, come.percent), Lost | Missing):
                    return
            await asyncio.sleep(self.beat_s)

    async def _show(self, held: Holding, come: "_Progress") -> None:
        """Let others see how far it is and how it looks, where it takes its time."""
        artifacts = self.leases.artifacts
        while True:
            await asyncio.sleep(self.shows_s)
            await come.news.wait()
            come.news.clear()
            name, brought, come.looks = artifacts.new_id(), come.looks, b""
            come.shown.append(name)  # before it is there: whatever happens, it is let go of
            if not await artifacts.previews.keep(name, brought):
                come.shown.remove(name)
            with contextlib.suppress(DatabaseAway):
                await self.leases.beat(held, come.percent, next(iter(come.shown[-1:]), None))
            old = come.shown[:-LOOKED_AT]
            await artifacts.previews.forget(old)
            del come.shown[: len(old)]

    async def _tell(
        self,
        held: Holding,
        making: "asyncio.Future[Made | Declined | Undoable]",
        beating: "asyncio.Future[None]",
    ) -> None:
        """Deliver what was made, or say why it was not."""
        error = making.exception()
        if isinstance(error, NotBegun):
            log.warning("maker_away", executor=self.executor.name)
            await self.leases.release(held)
            return
        if error is not None:
            log.warning("item_broke", executor=self.executor.name, error=type(error).__name__)
            await self.leases.fail(held, BROKE)
            return
        match making.result():
            case Made() as made:
                while not beating.done() and await self._is_not_taken(held, made):
                    await asyncio.wait({beating}, timeout=LOOKS_AFTER_S)
            case Declined(reason):
                await self.leases.decline(held, reason)
            case Undoable(reason):
                await self.leases.fail(held, reason)

    async def _is_not_taken(self, held: Holding, made: Made) -> bool:
        """Bring a result; True: the store or the database is away, and it may be brought again."""
        try:
            submit = self.leases.submit
            told = await submit(held, made.data, made.media_type, made.used_microusd)
        except DatabaseAway:  # it may have been taken: the same bytes again are a replay
            return True
        if isinstance(told, Unfit):
            await self.leases.fail(held, told.reason)
        return isinstance(told, NotNow)


class _Progress:
    """How far an item is, in percent, and how it looks by now."""

    def __init__(self) -> None:
        self.percent, self.is_billed = 0, False
        self.looks = b""  # as its maker brings it, until it is shown
        self.shown: list[str] = []  # the names of what may lie in the store, the newest last
        self.news = asyncio.Event()

    def stepped(self, step: Step) -> None:
        """Hear of a step."""
        before = self.percent
        self.is_billed = self.is_billed or step.is_billed
        self.percent = 99 * step.done // max(1, step.total)  # whole is what was delivered
        self.looks = step.preview or self.looks
        if self.looks or self.percent != before:
            self.news.set()
