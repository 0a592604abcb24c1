"""Notices: tried by the book until the receiver has them, and again when their owner wants it."""

from dataclasses import replace
from typing import get_args

from statemachine import notice
from statemachine.notice import (
    Accepted,
    Missed,
    NoticeEvent,
    NoticeFacts,
    NoticeState,
    Resent,
    Unwelcome,
)
from statemachine.promises import Notify
from tests.stories.telling import Law, Story, story

LAW = Law(notice.NOTICE, notice.decide, get_args(notice.Event))
SHOP = "https://shop.example"
WANTED = NoticeFacts("n", SHOP, NoticeState.WANTED)

STORIES: tuple[Story, ...] = (
    story("A notice is promised as it comes to be, and its receiver has it", LAW)
    .begins(NoticeState.WANTED, notice.begin("n", SHOP))
    .promises(Notify(SHOP))
    .hears(Accepted())
    .becomes(NoticeState.DELIVERED)
    .has(tries=1)
    .refuses(Accepted())
    .refuses(Missed())
    .refuses(Unwelcome()),
    story("A notice that its receiver missed is promised again, and counted", LAW)
    .given(WANTED)
    .hears(Missed())
    .has(tries=1, misses=1)
    .promises(Notify(SHOP))
    .hears(Missed())
    .has(tries=2, misses=2)
    .promises(Notify(SHOP))
    .hears(Accepted())
    .becomes(NoticeState.DELIVERED)
    .has(tries=3),
    story("After a day's tries a notice is given up", LAW)
    .given(replace(WANTED, tries=11, misses=11))
    .hears(Missed())
    .passes(NoticeState.WANTED, NoticeEvent.RAN_OUT)
    .becomes(NoticeState.GIVEN_UP)
    .has(tries=12, misses=12)
    .refuses(Missed())
    .refuses(Accepted()),
    story("A receiver who wants no more of it is asked no more", LAW)
    .given(WANTED)
    .hears(Unwelcome())
    .becomes(NoticeState.GIVEN_UP)
    .has(tries=1),
    story("What was given up is sent again, and has all its tries anew", LAW)
    .given(replace(WANTED, state=NoticeState.GIVEN_UP, tries=12, misses=12))
    .hears(Resent())
    .becomes(NoticeState.WANTED)
    .has(misses=0)
    .promises(Notify(SHOP))
    .hears(Missed())
    .has(tries=13, misses=1)
    .promises(Notify(SHOP)),
    story("What was delivered is sent again when its owner wants it", LAW)
    .given(replace(WANTED, state=NoticeState.DELIVERED, tries=1))
    .hears(Resent())
    .becomes(NoticeState.WANTED)
    .promises(Notify(SHOP)),
    story("What waits for its next try is sent now when its owner wants it", LAW)
    .given(replace(WANTED, tries=5, misses=5))
    .hears(Resent())
    .has(misses=0)
    .promises(Notify(SHOP)),
)
