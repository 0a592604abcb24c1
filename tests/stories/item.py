"""Items: claimed, made and delivered, or given back, tried again, and lost at the third try."""

from dataclasses import replace
from typing import get_args

from statemachine import item
from statemachine.item import (
    Abandoned,
    Broke,
    Cancelled,
    Claimed,
    Declined,
    Delivered,
    ItemEvent,
    ItemFacts,
    ItemState,
    Readied,
    Recovered,
    Released,
    Started,
)
from statemachine.worker import Holds, Pay
from tests.stories.telling import Law, Story, story

LAW = Law(item.ITEM, item.decide, get_args(item.Event))
PENDING = ItemFacts("i", "b", ItemState.PENDING, 668)
WAITING = replace(PENDING, state=ItemState.WAITING)
CLAIMED = replace(PENDING, state=ItemState.CLAIMED, number=1)
AT_WORK = replace(CLAIMED, state=ItemState.PROCESSING)
SILENT = "Whoever made it was not heard of any more."

STORIES: tuple[Story, ...] = (
    story("An item is claimed, made and delivered, and its share is charged", LAW)
    .given(PENDING)
    .refuses(Started())
    .hears(Claimed())
    .becomes(ItemState.CLAIMED)
    .has(number=1)
    .refuses(Claimed())
    .refuses(Cancelled())
    .hears(Started())
    .becomes(ItemState.PROCESSING)
    .refuses(Cancelled())
    .hears(Delivered())
    .becomes(ItemState.COMPLETED)
    .moves(668, "batch:b", "revenue:media", "item:i:delivered")
    .refuses(Delivered())
    .refuses(Claimed()),
    story("An item may be delivered before its holder tells that he has begun", LAW)
    .given(CLAIMED)
    .hears(Delivered())
    .becomes(ItemState.COMPLETED)
    .moves(668, "batch:b", "revenue:media", "item:i:delivered"),
    story("An item that is too small for a share of its own is given with the others", LAW)
    .given(replace(CLAIMED, share_amount=0))
    .hears(Delivered())
    .becomes(ItemState.COMPLETED),
    story("An item whose use is measured is charged that, and never more than its share", LAW)
    .given(AT_WORK)
    .refuses(Delivered(669), ValueError)
    .refuses(Delivered(-1), ValueError)
    .hears(Delivered(41))
    .becomes(ItemState.COMPLETED)
    .has(charged_amount=41)
    .moves(41, "batch:b", "revenue:media", "item:i:delivered"),
    story("An item whose use comes to nothing is given", LAW)
    .given(AT_WORK)
    .hears(Delivered(0))
    .becomes(ItemState.COMPLETED)
    .has(charged_amount=0),
    story("An item that comes back three times is tried no more, and not charged", LAW)
    .given(PENDING)
    .hears(Claimed())
    .becomes(ItemState.CLAIMED)
    .has(number=1)
    .hears(Broke("no memory"))
    .becomes(ItemState.PENDING)
    .has(tries=1, reason="no memory")
    .hears(Claimed())
    .becomes(ItemState.CLAIMED)
    .has(number=2)
    .hears(Started())
    .becomes(ItemState.PROCESSING)
    .hears(Recovered())
    .becomes(ItemState.PENDING)
    .has(tries=2, reason=SILENT)
    .hears(Claimed())
    .becomes(ItemState.CLAIMED)
    .has(number=3)
    .hears(Recovered())
    .passes(ItemState.PENDING, ItemEvent.EXHAUSTED)
    .becomes(ItemState.DEAD_LETTER)
    .has(tries=3)
    .refuses(Delivered())
    .refuses(Claimed()),
    story("The same when it breaks at the third try", LAW)
    .given(replace(AT_WORK, number=3, tries=2))
    .hears(Broke("no memory"))
    .passes(ItemState.PENDING, ItemEvent.EXHAUSTED)
    .becomes(ItemState.DEAD_LETTER)
    .has(tries=3, reason="no memory"),
    story("An item that is given back without blame was not tried", LAW)
    .given(replace(CLAIMED, number=3, tries=2))
    .hears(Released())
    .becomes(ItemState.PENDING)
    .hears(Claimed())
    .becomes(ItemState.CLAIMED)
    .has(number=4)
    .hears(Started())
    .becomes(ItemState.PROCESSING)
    .hears(Released())
    .becomes(ItemState.PENDING),
    story("A result that comes late is taken while there is no other", LAW)
    .given(replace(PENDING, number=1, tries=1, reason=SILENT))
    .hears(Delivered())
    .becomes(ItemState.COMPLETED)
    .has(reason=None)
    .moves(668, "batch:b", "revenue:media", "item:i:delivered"),
    story("An item that is refused for good is not tried again", LAW)
    .given(AT_WORK)
    .hears(Declined("not allowed"))
    .becomes(ItemState.FAILED)
    .has(reason="not allowed")
    .refuses(Delivered())
    .refuses(Declined("again")),
    story("The same before its holder tells that he has begun", LAW)
    .given(CLAIMED)
    .hears(Declined("not allowed"))
    .becomes(ItemState.FAILED)
    .has(reason="not allowed"),
    story("An item that nobody holds is cancelled", LAW)
    .given(PENDING)
    .hears(Cancelled())
    .becomes(ItemState.CANCELLED)
    .refuses(Claimed())
    .refuses(Cancelled()),
    story("An item that nobody comes for who could make it is lost, and not charged", LAW)
    .given(PENDING)
    .hears(Abandoned())
    .becomes(ItemState.FAILED)
    .has(reason="No worker that makes it came in time.")
    .refuses(Delivered())
    .refuses(Abandoned()),
    story("An item that somebody holds is not abandoned", LAW).given(CLAIMED).refuses(Abandoned()),
    story("An item of a batch that was given up comes back, and is not tried again", LAW)
    .given(replace(AT_WORK, called_off=True))
    .hears(Recovered())
    .passes(ItemState.PENDING, ItemEvent.CANCELLED)
    .becomes(ItemState.CANCELLED)
    .has(tries=1, reason=SILENT),
    story("The author of a spell has a share of each of its steps, rounded down", LAW)
    .given(replace(CLAIMED, author_id="a", author_pct=10))
    .hears(Delivered())
    .becomes(ItemState.COMPLETED)
    .moves(608, "batch:b", "revenue:media", "item:i:delivered")
    .moves(60, "batch:b", "user:a", "item:i:delivered"),
    story("An author whose share of a step is less than an msat has nothing of it", LAW)
    .given(replace(CLAIMED, share_amount=3, author_id="a", author_pct=10))
    .hears(Delivered())
    .becomes(ItemState.COMPLETED)
    .moves(3, "batch:b", "revenue:media", "item:i:delivered"),
    story(
        "A worker has its part of what an item costs; of a new one half is held back",
        LAW,
    )
    .given(replace(CLAIMED, pay=Pay("w", "c", 70, Holds.HALF)))
    .hears(Delivered())
    .becomes(ItemState.COMPLETED)
    .moves(201, "batch:b", "revenue:media", "item:i:delivered")
    .moves(234, "batch:b", "user:c", "item:i:delivered")
    .moves(233, "batch:b", "worker:w", "item:i:delivered"),
    story("All is held of what one brings that has not shown yet what it makes", LAW)
    .given(replace(CLAIMED, pay=Pay("w", "c", 70, Holds.ALL)))
    .hears(Delivered())
    .becomes(ItemState.COMPLETED)
    .moves(201, "batch:b", "revenue:media", "item:i:delivered")
    .moves(467, "batch:b", "worker:w", "item:i:delivered"),
    story("One that is trusted has all of it, of what is not the author's", LAW)
    .given(replace(CLAIMED, author_id="a", author_pct=10, pay=Pay("w", "c", 70, Holds.NOTHING)))
    .hears(Delivered())
    .becomes(ItemState.COMPLETED)
    .moves(183, "batch:b", "revenue:media", "item:i:delivered")
    .moves(60, "batch:b", "user:a", "item:i:delivered")
    .moves(425, "batch:b", "user:c", "item:i:delivered"),
    story("An author who has lent the worker too has both on one account", LAW)
    .given(replace(CLAIMED, author_id="a", author_pct=10, pay=Pay("w", "a", 70, Holds.NOTHING)))
    .hears(Delivered(300))
    .becomes(ItemState.COMPLETED)
    .has(charged_amount=300)
    .moves(82, "batch:b", "revenue:media", "item:i:delivered")
    .moves(218, "batch:b", "user:a", "item:i:delivered"),
    story("An item waits for those that it is made from", LAW)
    .given(WAITING)
    .refuses(Claimed())
    .hears(Readied())
    .becomes(ItemState.PENDING),
    story("An item that waits can be cancelled", LAW)
    .given(WAITING)
    .hears(Cancelled())
    .becomes(ItemState.CANCELLED),
    story("An item whose inputs were lost is lost", LAW)
    .given(WAITING)
    .hears(Declined("what it is made from was not delivered"))
    .becomes(ItemState.FAILED)
    .has(reason="what it is made from was not delivered"),
)
