"""A worker: a machine that somebody lends, and that is paid for each item it delivers.

Its pay is a part of what the buyer is charged. Of a new worker half of that is held back, until it
has delivered a number of items and is a week old: then all of it is the worker's at once. Now and
then it is given a canary, an item whose answer the house knows: who brings something else is
banned, and loses what is held back. So all is held of what a worker brings before it has passed
one, where it can be given any. What is free is never taken back.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum, auto

from pricing.money import half_down, worker_share
from statemachine import entries
from statemachine.decision import Decision
from statemachine.entries import Account, Asset
from statemachine.machine import Machine

NEW_ITEMS = 20  # so many delivered items, and
NEW_FOR = timedelta(days=7)  # so much time, make a worker that is new no more
MOST_SILENT = 3  # leases lost by silence within an hour
SILENT_WITHIN = timedelta(hours=1)


class WorkerState(StrEnum):
    """Whether a worker is given items."""

    ONLINE = auto()
    DRAINING = auto()  # it finishes what it holds, and then ends
    PAUSED = auto()  # by whoever lends it, or as it was not heard of too often
    BANNED = auto()  # by the operator: what it brings is not taken either


class WorkerEvent(StrEnum):
    """What can happen to a worker."""

    RESUMED = auto()
    DRAINED = auto()
    PAUSED = auto()
    BANNED = auto()
    READMITTED = auto()
    DELIVERED = auto()
    MATURED = auto()
    FELL_SILENT = auto()
    STOPPED = auto()
    ITEM_FAILED = auto()
    CANARY_GIVEN = auto()
    CANARY_PASSED = auto()
    CANARY_FAILED = auto()


_IN = (WorkerState.ONLINE, WorkerState.DRAINING, WorkerState.PAUSED)

WORKER = Machine(
    "worker",
    WorkerState,
    WorkerEvent,
    [
        *((WorkerEvent.RESUMED, state, WorkerState.ONLINE) for state in _IN),
        *((WorkerEvent.DRAINED, state, WorkerState.DRAINING) for state in _IN),
        *((WorkerEvent.PAUSED, state, WorkerState.PAUSED) for state in _IN),
        *((WorkerEvent.BANNED, state, WorkerState.BANNED) for state in _IN),
        (WorkerEvent.READMITTED, WorkerState.BANNED, WorkerState.PAUSED),
        *((WorkerEvent.DELIVERED, state, state) for state in _IN),
        *((WorkerEvent.MATURED, state, state) for state in _IN),
        *((WorkerEvent.FELL_SILENT, state, state) for state in WorkerState),
        # Told by nobody: what falling silent too often comes to.
        (WorkerEvent.STOPPED, WorkerState.ONLINE, WorkerState.PAUSED),
        (WorkerEvent.STOPPED, WorkerState.DRAINING, WorkerState.PAUSED),
        *((WorkerEvent.ITEM_FAILED, state, state) for state in WorkerState),
        (WorkerEvent.CANARY_GIVEN, WorkerState.ONLINE, WorkerState.ONLINE),
        # What it brought is judged later: it may have been paused or banned since.
        *((WorkerEvent.CANARY_PASSED, state, state) for state in WorkerState),
        *((WorkerEvent.CANARY_FAILED, state, WorkerState.BANNED) for state in WorkerState),
    ],
)


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What the law needs to know of a worker. What is held of its pay is told by asset."""

    id: str
    account_id: str  # whose the pay is, once it is free
    state: WorkerState
    since: datetime  # when it was registered
    delivered: int = 0
    held_msat: int = 0
    held_microusdc: int = 0
    is_trusted: bool = False  # nothing is held back any more
    silent: int = 0  # leases lost by silence since
    silent_since: datetime | None = None
    forfeited_msat: int = 0  # of what was held of its pay
    forfeited_microusdc: int = 0
    failed: int = 0  # items that it has given up, or said that nobody can make
    lost: int = 0  # and lost by silence, for which it is to blame
    late: int = 0  # of those delivered: after they were lost
    canary_due: bool = False  # the next item that it is given is one
    canaries_passed: int = 0
    canaries_failed: int = 0

    def held(self, asset: Asset) -> int:
        """Return what is held back of its pay, in the smallest unit of an asset."""
        return self.held_msat if asset is Asset.MSAT else self.held_microusdc

    @property
    def is_unproven(self) -> bool:
        """Whether it has passed no canary yet, and is not trusted for any other reason."""
        return not self.canaries_passed and not self.is_trusted

    def is_due(self, at: datetime) -> bool:
        """Say whether a new worker has done all that is asked of one."""
        old = at - self.since >= NEW_FOR
        return not self.is_trusted and self.delivered >= NEW_ITEMS and old


class Holds(StrEnum):
    """How much of a worker's pay is held back."""

    NOTHING = auto()  # it is trusted
    HALF = auto()  # it is new
    ALL = auto()  # and has not shown yet that it makes what it is asked for


@dataclass(frozen=True, slots=True)
class Pay:
    """What a worker is paid of what an item's buyer is charged, and how much of it is held back."""

    worker_id: str
    account_id: str
    pct: int
    holds: Holds

    def of(self, charge: int) -> tuple[int, int]:
        """Return what a charge makes free for the worker, and what of it is held."""
        pay = worker_share(charge, self.pct)
        held = {Holds.NOTHING: 0, Holds.HALF: half_down(pay), Holds.ALL: pay}[self.holds]
        return pay - held, held

    def legs(self, charge: int) -> tuple[tuple[Account, int], ...]:
        """Return the accounts that have what a charge is paid for, with how much each."""
        free, held = self.of(charge)
        return (entries.of_user(self.account_id), free), (entries.of_worker(self.worker_id), held)


def pay_of(facts: WorkerFacts, pct: int, *, is_checked: bool = False) -> Pay:
    """Return how a worker is paid for an item of which so many percent are its share.

    `is_checked`: it makes something of which canaries are known.
    """
    holds = Holds.NOTHING if facts.is_trusted else Holds.HALF
    if is_checked and facts.is_unproven:
        holds = Holds.ALL
    return Pay(facts.id, facts.account_id, pct, holds)


@dataclass(frozen=True, slots=True)
class Resumed:
    """It can be given items."""

    kind = WorkerEvent.RESUMED


@dataclass(frozen=True, slots=True)
class Drained:
    """It is given no more, and is to end when it has finished what it holds."""

    kind = WorkerEvent.DRAINED


@dataclass(frozen=True, slots=True)
class Paused:
    """It is given no more."""

    kind = WorkerEvent.PAUSED


@dataclass(frozen=True, slots=True)
class Banned:
    """The operator has no more of it."""

    kind = WorkerEvent.BANNED


@dataclass(frozen=True, slots=True)
class Readmitted:
    """The operator takes it again, once it says that it is there."""

    kind = WorkerEvent.READMITTED


@dataclass(frozen=True, slots=True)
class Delivered:
    """One of its results was taken, and so much of its pay is held back.

    `draws`: the dice want it to be given a canary next. `is_open`: of one that it was given it is
    not known yet what it has made of it.
    """

    at: datetime
    asset: Asset
    held: int
    draws: bool = False
    is_late: bool = False  # its lease had lapsed
    is_open: bool = False
    kind = WorkerEvent.DELIVERED


@dataclass(frozen=True, slots=True)
class Matured:
    """It was looked at again: it may have grown old enough to be trusted, unless a canary of it is
    still open."""

    at: datetime
    is_open: bool = False
    kind = WorkerEvent.MATURED


@dataclass(frozen=True, slots=True)
class FellSilent:
    """A lease of it has lapsed, as it was not heard of."""

    at: datetime
    kind = WorkerEvent.FELL_SILENT


@dataclass(frozen=True, slots=True)
class ItemFailed:
    """It has given an item up that it had begun, or can't make."""

    kind = WorkerEvent.ITEM_FAILED


@dataclass(frozen=True, slots=True)
class CanaryGiven:
    """It was given an item whose answer is known. It is told nothing of that."""

    kind = WorkerEvent.CANARY_GIVEN


@dataclass(frozen=True, slots=True)
class CanaryPassed:
    """It has brought what the house makes of that item."""

    kind = WorkerEvent.CANARY_PASSED


@dataclass(frozen=True, slots=True)
class CanaryFailed:
    """It has brought something else. To what it loses the house adds so much of its own, as its
    buyers need that."""

    canary_id: str
    added_msat: int = 0
    added_microusdc: int = 0
    kind = WorkerEvent.CANARY_FAILED


Event = (
    Resumed
    | Drained
    | Paused
    | Banned
    | Readmitted
    | Delivered
    | Matured
    | FellSilent
    | ItemFailed
    | CanaryGiven
    | CanaryPassed
    | CanaryFailed
)


def begin(worker_id: str, account_id: str, now: datetime) -> WorkerFacts:
    """Return how a worker comes to be: it can be given items at once."""
    return WorkerFacts(worker_id, account_id, WorkerState.ONLINE, now)


def decide(facts: WorkerFacts, event: Event) -> Decision[WorkerFacts]:
    """Return what the event means in facts and money. Raises IllegalTransition."""
    after = replace(facts, state=WORKER.step(facts.state, event.kind))
    match event:
        case Resumed() | Readmitted():
            return Decision(replace(after, silent=0, silent_since=None))
        case Delivered():
            return _trusted_if_due(_delivered(after, event), event)
        case Matured():
            return _trusted_if_due(after, event)
        case FellSilent(at):
            return Decision(_silent(after, at))
        case ItemFailed():
            return Decision(replace(after, failed=facts.failed + 1))
        case CanaryGiven():
            return Decision(replace(after, canary_due=False))
        case CanaryPassed():
            return Decision(replace(after, canaries_passed=facts.canaries_passed + 1))
        case CanaryFailed():
            return _forfeited(after, event)
        case _:
            return Decision(after)


def _delivered(after: WorkerFacts, event: Delivered) -> WorkerFacts:
    """Return a worker of which one result more was taken."""
    held = event.held
    if held < 0 or (held and after.is_trusted):
        raise ValueError(f"nothing of the pay of worker {after.id} is held back")
    after = replace(
        after,
        delivered=after.delivered + 1,
        late=after.late + event.is_late,
        canary_due=after.canary_due or event.draws,
    )
    if event.asset is Asset.MSAT:
        return replace(after, held_msat=after.held_msat + held)
    return replace(after, held_microusdc=after.held_microusdc + held)


def _forfeited(after: WorkerFacts, event: CanaryFailed) -> Decision[WorkerFacts]:
    """Return a worker that has lost what was held of its pay; what was free stays its."""
    canary_id = event.canary_id
    lost = tuple(
        entries.pay_forfeited(after.id, canary_id, asset, after.held(asset))
        for asset in Asset
        if after.held(asset)
    )
    adds = (Asset.MSAT, event.added_msat), (Asset.MICROUSDC, event.added_microusdc)
    added = tuple(
        entries.amends_added(canary_id, asset, amount) for asset, amount in adds if amount
    )
    after = replace(
        after,
        canaries_failed=after.canaries_failed + 1,
        forfeited_msat=after.forfeited_msat + after.held_msat,
        forfeited_microusdc=after.forfeited_microusdc + after.held_microusdc,
        held_msat=0,
        held_microusdc=0,
    )
    return Decision(after, (*lost, *added))


def _trusted_if_due(after: WorkerFacts, event: Delivered | Matured) -> Decision[WorkerFacts]:
    """Return a worker that is new no more, where it has become so: all that was held is free. What
    an open canary may yet take is held until it is judged."""
    if event.is_open or not after.is_due(event.at):
        return Decision(after)
    freed = tuple(
        entries.pay_freed(after.id, after.account_id, asset, after.held(asset))
        for asset in Asset
        if after.held(asset)
    )
    return Decision(replace(after, is_trusted=True, held_msat=0, held_microusdc=0), freed)


def _silent(after: WorkerFacts, at: datetime) -> WorkerFacts:
    """Return a worker that was not heard of once more; it is stopped where that is too often.

    Nobody is blamed for the first time in an hour.
    """
    since = after.silent_since
    if since is None or at - since >= SILENT_WITHIN:
        return replace(after, silent=1, silent_since=at)
    after = replace(after, silent=after.silent + 1, lost=after.lost + 1)
    if after.silent < MOST_SILENT or not WORKER.allows(after.state, WorkerEvent.STOPPED):
        return after
    return replace(after, state=WORKER.step(after.state, WorkerEvent.STOPPED))
