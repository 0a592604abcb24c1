"""An item: one unit of a batch, that somebody claims, makes and delivers, or that is lost for good.

Only what is delivered is charged: its share of the price, or less where what it uses is measured.
An item that comes back without a result is tried by another, three times in all.
"""

from dataclasses import dataclass, replace
from enum import StrEnum, auto

from pricing.money import author_share
from statemachine import entries
from statemachine.decision import Decision
from statemachine.entries import Asset
from statemachine.machine import Machine
from statemachine.worker import Pay

MOST_TRIES = 3


class ItemState(StrEnum):
    """Where an item stands."""

    WAITING = auto()  # other items must be made first
    PENDING = auto()  # anybody who can make it may claim it
    CLAIMED = auto()  # somebody holds it
    PROCESSING = auto()  # and has told that he makes it
    COMPLETED = auto()  # final: delivered, and its share charged
    FAILED = auto()  # final: refused for good, with the reason
    DEAD_LETTER = auto()  # final: tried three times, and never delivered
    CANCELLED = auto()  # final: the buyer wanted it no more, and nobody held it


class ItemEvent(StrEnum):
    """What can happen to an item."""

    READIED = auto()
    CLAIMED = auto()
    STARTED = auto()
    DELIVERED = auto()
    DECLINED = auto()
    RELEASED = auto()
    BROKE = auto()
    RECOVERED = auto()
    CANCELLED = auto()
    ABANDONED = auto()
    EXHAUSTED = auto()


_HELD = (ItemState.CLAIMED, ItemState.PROCESSING)

ITEM = Machine(
    "item",
    ItemState,
    ItemEvent,
    [
        (ItemEvent.READIED, ItemState.WAITING, ItemState.PENDING),
        (ItemEvent.DECLINED, ItemState.WAITING, ItemState.FAILED),
        (ItemEvent.CLAIMED, ItemState.PENDING, ItemState.CLAIMED),
        (ItemEvent.STARTED, ItemState.CLAIMED, ItemState.PROCESSING),
        # From a lease that had lapsed, while no other has brought one.
        (ItemEvent.DELIVERED, ItemState.PENDING, ItemState.COMPLETED),
        *((ItemEvent.DELIVERED, state, ItemState.COMPLETED) for state in _HELD),
        *((ItemEvent.DECLINED, state, ItemState.FAILED) for state in _HELD),
        *((ItemEvent.RELEASED, state, ItemState.PENDING) for state in _HELD),
        *((ItemEvent.BROKE, state, ItemState.PENDING) for state in _HELD),
        # Whoever held it was not heard of in time: he may be dead.
        *((ItemEvent.RECOVERED, state, ItemState.PENDING) for state in _HELD),
        (ItemEvent.CANCELLED, ItemState.WAITING, ItemState.CANCELLED),
        (ItemEvent.CANCELLED, ItemState.PENDING, ItemState.CANCELLED),
        # Nobody who could make it came.
        (ItemEvent.ABANDONED, ItemState.PENDING, ItemState.FAILED),
        # Told by nobody: what the third try without a result comes to.
        (ItemEvent.EXHAUSTED, ItemState.PENDING, ItemState.DEAD_LETTER),
    ],
)


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """What the law needs to know of an item. Its share is in the smallest unit of its asset."""

    id: str
    batch_id: str
    state: ItemState
    share_amount: int  # of its batch's price
    number: int = 0  # of the latest lease
    tries: int = 0  # leases that ended without a result
    called_off: bool = False  # its batch was cancelled
    reason: str | None = None  # why it was not delivered
    asset: Asset = Asset.MSAT
    charged_amount: int | None = None  # of its share, once it is delivered; None: all of it
    author_id: str | None = None  # the account that has a share of it, where one does
    author_pct: int = 0
    pay: Pay | None = None  # of the worker that brings it, where a worker of the network does

    @property
    def charge_amount(self) -> int:
        """What a delivered item costs."""
        return self.share_amount if self.charged_amount is None else self.charged_amount

    @property
    def author(self) -> tuple[entries.Account, int] | None:
        """Whose a part of what it costs is, and how much."""
        amount = author_share(self.charge_amount, self.author_pct)
        if self.author_id is None or not amount:
            return None
        return entries.of_user(self.author_id), amount

    @property
    def paid_charge_amount(self) -> int:
        """What of its charge a worker has a share of: not what is its author's."""
        return self.charge_amount - (self.author[1] if self.author is not None else 0)

    @property
    def others(self) -> tuple[tuple[entries.Account, int], ...]:
        """Who has a part of what it costs, and how much."""
        author = () if self.author is None else (self.author,)
        return (*author, *(self.pay.legs(self.paid_charge_amount) if self.pay is not None else ()))

    @property
    def is_held(self) -> bool:
        """Whether somebody is making it."""
        return self.state in _HELD


@dataclass(frozen=True, slots=True)
class Readied:
    """All that it is made from has been made."""

    kind = ItemEvent.READIED


@dataclass(frozen=True, slots=True)
class Claimed:
    """Somebody holds it, under the next number."""

    kind = ItemEvent.CLAIMED


@dataclass(frozen=True, slots=True)
class Started:
    """Its holder has told for the first time that he makes it."""

    kind = ItemEvent.STARTED


@dataclass(frozen=True, slots=True)
class Delivered:
    """A result was taken; `charged_amount`: what of its share it is charged, where not all."""

    charged_amount: int | None = None
    kind = ItemEvent.DELIVERED


@dataclass(frozen=True, slots=True)
class Declined:
    """It can't be made, whoever tries: moderation, or an input that can't be read."""

    reason: str
    kind = ItemEvent.DECLINED


@dataclass(frozen=True, slots=True)
class Released:
    """Its holder gave it back, and is not to blame: that was no try."""

    kind = ItemEvent.RELEASED


@dataclass(frozen=True, slots=True)
class Broke:
    """Its holder could not make it; another may."""

    reason: str
    kind = ItemEvent.BROKE


@dataclass(frozen=True, slots=True)
class Recovered:
    """Its holder was not heard of in time."""

    kind = ItemEvent.RECOVERED


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The buyer wants it no more; or what it is made from can't be made."""

    kind = ItemEvent.CANCELLED


@dataclass(frozen=True, slots=True)
class Abandoned:
    """It has waited long, and nobody who could make it came."""

    kind = ItemEvent.ABANDONED


Event = (
    Readied
    | Claimed
    | Started
    | Delivered
    | Declined
    | Released
    | Broke
    | Recovered
    | Cancelled
    | Abandoned
)

SILENT = "Whoever made it was not heard of any more."
NOBODY = "No worker that makes it came in time."


def begin(item_id: str, batch_id: str, share_amount: int, waits: bool = False) -> ItemFacts:
    """Return how an item comes to be; `waits`: others must be made first."""
    state = ItemState.WAITING if waits else ItemState.PENDING
    return ItemFacts(item_id, batch_id, state, share_amount)


def decide(facts: ItemFacts, event: Event) -> Decision[ItemFacts]:
    """Return what the event means in facts and money. Raises IllegalTransition."""
    after = replace(facts, state=ITEM.step(facts.state, event.kind))
    match event:
        case Claimed():
            return Decision(replace(after, number=facts.number + 1))
        case Delivered(charged_amount):
            return _delivered(replace(after, reason=None), charged_amount)
        case Declined(reason):
            return Decision(replace(after, reason=reason))
        case Released():
            return Decision(_back(after))
        case Broke(reason):
            return Decision(_back(replace(after, tries=facts.tries + 1, reason=reason)))
        case Recovered():
            return Decision(_back(replace(after, tries=facts.tries + 1, reason=SILENT)))
        case Abandoned():
            return Decision(replace(after, reason=NOBODY))
        case _:
            return Decision(after)


def _delivered(after: ItemFacts, measured_amount: int | None) -> Decision[ItemFacts]:
    """Return what is charged for a result: never more than the item's share of the price."""
    after = replace(after, charged_amount=measured_amount)
    charge = after.charge_amount
    if not 0 <= charge <= after.share_amount:
        raise ValueError(f"item {after.id} is charged 0 to its share")
    if not charge:
        return Decision(after)
    entry = entries.item_delivered(after.batch_id, after.id, after.asset, charge, *after.others)
    return Decision(after, (entry,))


def _back(after: ItemFacts) -> ItemFacts:
    """Return where an item goes that came back without a result."""
    if after.called_off:
        return replace(after, state=ITEM.step(after.state, ItemEvent.CANCELLED))
    if after.tries >= MOST_TRIES:
        return replace(after, state=ITEM.step(after.state, ItemEvent.EXHAUSTED))
    return after
