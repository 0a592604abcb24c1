"""Machines that others lend: what waits for them, what they bring, and what they are paid.

A worker of the network claims, is heard of and brings results by the desk that the house's own
executors use (`app.promises.leases`). It sees what it is to make and its pay: not who buys it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum, auto
from time import monotonic
from typing import Any

from app import advance
from app.advance import Applied, Lost, Missing, Otherwise, Replayed, Shell
from app.advance.leases import Enough, Held
from app.ports import Clock, NotNow, Unfit
from app.promises.leases import Holding, Leases, wish
from app.refusal import Refusal, Why, unavailable
from app.till import Till
from app.trade.canaries import Canaries
from app.trade.catalogue import LENT, Catalogue, Kind, Listed, Surface
from app.trade.crowd import Crowd
from app.trade.lenders import closed, paused
from app.trade.tiers import TIERED, lane_of
from db import claims, leases, workers
from db.artifacts import Artifact
from db.claims import Claim, Hired
from db.engine import Database
from db.leases import Named
from db.seen import Seen
from db.signals import Signals
from db.workers import Rate, WorkerRow
from statemachine.entries import Asset
from statemachine.item import ITEM
from statemachine.lease import LeaseState
from statemachine.reputation import at_once
from statemachine.worker import WorkerState

LONGEST_WAIT_S = 30
RATES_OF = timedelta(days=1)
AWAY_S, OFTEN_S = 5, 600
PAYS_LESS = "What waits for {}, and is looked at, pays less than minSats."
FILM_MS = 600  # by so much a film may be longer or shorter than was asked for
MOST_NOTED = 20_000  # workers, of which a process remembers what it has noted
Noted = tuple[datetime, Seen]  # when, and of which lanes and size

MOST_MACHINES = 1_000  # of which it remembers what they can make
Machine = tuple[tuple[str, ...], int, int]  # its models, pixels and memory

IsGone = Callable[[], Awaitable[bool]]  # whether who waits has hung up


class Nothing(StrEnum):
    """Why a worker is given nothing."""

    NOTHING_WAITS = auto()
    PAYS_LESS = auto()
    MODEL_UNKNOWN = auto()
    TOO_SMALL = auto()
    HOLDS_ENOUGH = auto()


@dataclass(frozen=True, slots=True)
class NoMatch:
    """One reason why a worker is given nothing, and of which model that is said."""

    reason: Nothing
    sentence: str
    model: str | None = None


Able = tuple[Mapping[str, int], Sequence[NoMatch]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a worker asks for: which models it makes, and how large its machine is."""

    models: tuple[str, ...]
    most_pixels: int
    vram_gb: int = 0
    most: int = 1
    wait_s: int = 0
    least_msat: int = 0  # what pays less is not for it


@dataclass(frozen=True, slots=True)
class Given:
    """What a worker is given; where that is nothing, why."""

    claims: list[Claim]
    no_match: list[NoMatch] = field(default_factory=list)


@dataclass(slots=True)
class _Turn:
    """A worker's turn to be given items, until it is answered."""

    worker_id: str
    hired: Hired
    may_hold: int
    is_gone: IsGone
    has_room: bool = False  # it was seen that it may be given something
    held: int | None = None  # None: nobody has counted what it holds

    @property
    def is_full(self) -> bool:
        """Whether it is known to hold as many items as it may."""
        return self.held is not None and self.held >= self.may_hold


@dataclass(frozen=True, slots=True)
class Lending:
    """The desk of workers."""

    db: Database
    shell: Shell
    leases: Leases
    catalogue: Catalogue
    signals: Signals
    till: Till
    clock: Clock
    new_id: Callable[[], str]
    is_open: bool  # whether strangers may lend machines here
    canaries: Canaries
    crowd: Crowd
    _noted: dict[str, Noted] = field(default_factory=dict, init=False)  # by worker, the last time
    _able: dict[Machine, Able] = field(default_factory=dict, init=False)

    async def rates(self) -> list[Rate]:
        """Return what was paid in the last day, by model."""
        return await workers.rates(self.db, self.clock() - RATES_OF)

    async def claim(self, worker: WorkerRow, asked: Asked, is_gone: IsGone) -> Given:
        """Give a worker what it is the turn of, or wait for that, as long as it is there; refuses
        one that is given nothing.
        """
        if not self.is_open:
            raise closed()
        if worker.state is not WorkerState.ONLINE:
            raise paused(worker)
        lanes, no_match = self._lanes(asked)
        await self._see(Seen(worker.id, tuple(lanes), asked.most_pixels, asked.vram_gb))
        may_hold, least = at_once(workers.facts_of(worker)), await self._least(asked.least_msat)
        turn = _Turn(worker.id, Hired(lanes, [], may_hold, least), may_hold, is_gone)
        given = await self._given(worker, turn, asked) if lanes else []
        if given:
            return Given(given, [])
        if await self._is_full(turn):
            sentence = f"You hold {turn.held} items. Bring one, and ask again."
            return Given([], [NoMatch(Nothing.HOLDS_ENOUGH, sentence), *no_match])
        if not lanes:
            return Given([], [*no_match])
        return Given([], [*await self._nothing(worker.id, turn.hired), *no_match])

    async def _given(self, worker: WorkerRow, turn: _Turn, asked: Asked) -> list[Claim]:
        """Return what a worker holds from now on. What it has held before is counted where it is
        given nothing, and where something is ordered for it: a claim looks at it by itself.
        """
        most, wait_s = asked.most, min(asked.wait_s, LONGEST_WAIT_S)
        if worker.canary_due:
            most = min(most, turn.may_hold - await self._count(turn))
            if most <= 0:
                return []

        async def claim(most: int, wait_s: float) -> list[Claim]:
            return await self._claim(turn, most, wait_s)

        return await self.canaries.among(worker, turn.hired, most, wait_s, claim, turn.is_gone)

    async def _is_full(self, turn: _Turn) -> bool:
        if turn.held is None and not turn.has_room:
            await self._count(turn)
        return turn.is_full

    async def _count(self, turn: _Turn) -> int:
        turn.held = await leases.count_held(self.db, turn.worker_id)
        return turn.held

    async def _least(self, least_msat: int) -> dict[Asset, int] | None:
        """Return a worker's floor in each asset; None: it has none. What is paid in USDC is not
        compared while there is no bitcoin price.
        """
        if not least_msat:
            return None
        price = await self.till.price_if_any()
        least = {Asset.MSAT: least_msat}
        return least if price is None else least | {Asset.MICROUSDC: price.least_usdc(least_msat)}

    async def _nothing(self, worker_id: str, hired: Hired) -> list[NoMatch]:
        """Return why a worker was given nothing of what it makes."""
        if hired.least is not None:
            waits = await claims.waiting(self.db, worker_id, list(hired.pay_pct))
            models = dict.fromkeys(lane.partition("/")[0] for lane in waits)
            if models:
                return [NoMatch(Nothing.PAYS_LESS, PAYS_LESS.format(name), name) for name in models]
        return [NoMatch(Nothing.NOTHING_WAITS, "Nothing waits for one of these models.")]

    async def _see(self, seen: Seen) -> None:
        """Note that a worker is there, and what it makes: the same not twice within moments."""
        now = self.clock()
        at, noted = self._noted.get(seen.worker_id, (now, None))
        if seen == noted and now < at + workers.NOTED:
            return
        await self.crowd.see(seen)
        if len(self._noted) >= MOST_NOTED:
            self._noted.clear()
        self._noted[seen.worker_id] = now, seen

    def _lanes(self, asked: Asked) -> Able:
        """Return the lanes in which a worker can make what waits, with its part of what that
        costs; and what it can't make. It asks the same again and again."""
        machine = asked.models, asked.most_pixels, asked.vram_gb
        able = self._able.get(machine)
        if able is None:
            if len(self._able) >= MOST_MACHINES:
                self._able.clear()
            able = self._able[machine] = self._looked_up(asked)
        return able

    def _looked_up(self, asked: Asked) -> Able:
        lanes: dict[str, int] = {}
        no_match: list[NoMatch] = []
        for model in dict.fromkeys(asked.models):
            listed = self.catalogue.get(model)
            if listed is None or listed.offering.kind not in LENT:
                sentence = f"No pictures or films of the model {model!r} are sold here."
                no_match.append(NoMatch(Nothing.MODEL_UNKNOWN, sentence, model))
                continue
            fits = _lanes_of(listed, asked)
            lanes |= dict.fromkeys(fits, listed.offering.worker_share_pct)
            if model not in fits:
                sentence = (
                    f"{model} is sold with up to {_largest(listed)} pixels: maxPixels is less."
                )
                no_match.append(NoMatch(Nothing.TOO_SMALL, sentence, model))
        return lanes, no_match

    async def _claim(self, turn: _Turn, most: int, wait_s: float) -> list[Claim]:
        if wait_s <= 0:
            return await self._take(turn, most)
        until, queue = monotonic() + wait_s, self.signals.queue
        with queue.joined(turn.hired.pay_pct) as waiter:
            while True:
                with waiter.looking():
                    claims = await self._take(turn, most)
                left_s = until - monotonic()
                if claims or left_s <= 0 or queue.is_released:
                    return claims
                if await self._is_full(turn) or not await waiter.woken(left_s):
                    return []
                if await turn.is_gone():
                    return []  # who has hung up would hold what it is never told of

    async def _take(self, turn: _Turn, most: int) -> list[Claim]:
        """Claim what it is the turn of now."""
        worker_id, hired = turn.worker_id, turn.hired
        names = [self.new_id() for _ in range(most)]
        if most == 1 and hired.least is None:
            dealt = await self.crowd.claim(worker_id, names[0], hired)
            turn.has_room |= dealt.has_room
            return dealt.claims
        named = replace(hired, names=names)
        return await self.leases.claim(worker_id, list(hired.pay_pct), most, named)

    async def lease(self, worker: WorkerRow, lease_id: str) -> Named:
        """Return a lease of a worker. Refuses where it has none of this name."""
        found = await leases.named(self.db, lease_id, worker.id)
        if found is None:
            raise Refusal(Why.LEASE_UNKNOWN, "You have no lease of this id.")
        return found

    async def beat(self, worker: WorkerRow, lease: Named, percent: int, preview: bytes) -> Held:
        """Hear of a worker at work. Refuses where the lease is lost."""
        told = await self.leases.beat(_holding(worker, lease), percent)
        if not isinstance(told, Held):
            raise await self._lost(worker, lease)
        if preview:
            told = await self.leases.show(_holding(worker, lease), percent, preview) or told
        await self.shell.do(advance.workers.hear, worker.id)
        return told

    async def submit(self, worker: WorkerRow, lease: Named, data: bytes, media_type: str) -> int:
        """Take a result; return what the worker is paid for it, in the smallest unit of its asset.

        The same bytes again are the same answer. Refuses what can't be kept, or isn't what was
        asked for: the lease is still the worker's, then.
        """

        def fits(made: Artifact) -> Unfit | None:
            return unlike(lease.asked, made)

        told = await self.leases.submit(_holding(worker, lease), data, media_type, fits=fits)
        match told:
            case Applied() | Replayed():
                return await workers.earned(self.db, lease.item_id)
            case Unfit(reason):
                raise Refusal(Why.RESULT_REFUSED, reason, "Make it again, or send a failure.")
            case NotNow(reason):
                raise unavailable(Why.NOT_WELL, reason, AWAY_S)
            case Otherwise():
                raise Refusal(Why.BROUGHT_OTHERWISE, "This lease has brought other bytes before.")
            case Lost() | Missing():
                raise await self._lost(worker, lease)

    async def fail(self, worker: WorkerRow, lease: Named, reason: str, retryable: bool) -> None:
        """Hear that a worker can't make an item. Only one that is trusted can say so for all."""
        held, is_final = _holding(worker, lease), not retryable and worker.trusted_at is not None
        told = await (self.leases.decline if is_final else self.leases.fail)(held, reason)
        await self._is_over(worker, lease, told)

    async def release(self, worker: WorkerRow, lease: Named) -> None:
        """Take an item back that was not begun. Refuses where that is done too often."""
        told = await self.leases.hand_back(_holding(worker, lease))
        if isinstance(told, Enough):
            often = advance.workers.MOST_GIVEN_BACK
            sentence = f"You have given {often} items back within an hour."
            raise unavailable(Why.TOO_MANY, sentence, OFTEN_S)
        await self._is_over(worker, lease, told)

    async def _is_over(self, worker: WorkerRow, lease: Named, told: object) -> None:
        """Refuse where a lease did not end as its worker says: but if it had done so before."""
        if isinstance(told, Applied):
            return
        now = await self.lease(worker, lease.id)
        if now.state not in (LeaseState.RELEASED, LeaseState.DONE):
            raise await self._lost(worker, lease)

    async def _lost(self, worker: WorkerRow, lease: Named) -> Refusal:
        now = await self.lease(worker, lease.id)
        if ITEM.final(now.item):
            return Refusal(Why.JOB_OVER, "This item has ended without you. Stop making it.")
        return Refusal(Why.LEASE_LOST, "This lease has ended. Stop making it, and claim another.")


def _holding(worker: WorkerRow, lease: Named) -> Holding:
    return Holding(lease.item_id, lease.number, worker.id)


def _lanes_of(listed: Listed, asked: Asked) -> list[str]:
    """Return the lanes of a model in which all that waits is small enough for a machine."""
    model, most = listed.offering.id, asked.most_pixels
    fits = [model] if _largest(listed) <= most else []
    if Surface.STUDIO in listed.offering.inputs:
        tiers = TIERED[model].tiers.values()
        able = [
            each for each in tiers if each.most_side**2 <= most and each.vram_gb <= asked.vram_gb
        ]
        fits += [lane_of(model, tier.name) for tier in able]
    return fits


def _largest(listed: Listed) -> int:
    """Return how many pixels the largest picture of a model has; a film's frames are smaller."""
    if listed.offering.kind is Kind.VIDEO:
        return 0
    sides = [1_024]
    for schema in listed.offering.inputs.values():
        fields = schema["properties"]
        if "width" in fields:
            sides.append(int(fields["width"]["maximum"]))
        if "2k" in fields.get("resolution", {}).get("enum", ()):
            sides.append(2_048)
    return max(sides) ** 2


def unlike(asked: dict[str, Any], made: Artifact) -> Unfit | None:
    """Return what is wrong with a file beside what was asked for; None: nothing is."""
    wanted = wish(asked)
    width, height, wanted_ms = wanted.width, wanted.height, wanted.duration_ms
    if (made.width, made.height) != (width, height):
        return Unfit(f"It is {made.width} × {made.height} pixels, not {width} × {height}.")
    if bool(wanted_ms) is not (made.duration_ms is not None):
        return Unfit("A film was asked for." if wanted_ms else "A picture was asked for.")
    if made.duration_ms is not None and abs(made.duration_ms - wanted_ms) > FILM_MS:
        return Unfit(f"It lasts {made.duration_ms} ms, not {wanted_ms}.")
    return None
