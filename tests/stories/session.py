"""Sessions: what was paid in is spent, or owed back; below its minimum a session pauses."""

from dataclasses import replace
from typing import get_args

from statemachine import session
from statemachine.session import (
    Closed,
    Deposited,
    Idled,
    Lapsed,
    Released,
    Reserved,
    SessionEnd,
    SessionEvent,
    SessionFacts,
    SessionState,
    Short,
    ToppedUp,
)
from tests.stories.telling import Law, Story, story

LAW = Law(session.SESSION, session.decide, get_args(session.Event))
NEW = SessionFacts("s", SessionState.AWAITING_PAYMENT, 0, minimum_msat=5_000)
ACTIVE = replace(NEW, state=SessionState.ACTIVE, balance_msat=9_000)
PAUSED = replace(NEW, state=SessionState.PAUSED, balance_msat=1_000)

STORIES: tuple[Story, ...] = (
    story("A session wants its deposit, and is active when that is paid", LAW)
    .begins(SessionState.AWAITING_PAYMENT, session.begin("s", 100_000, 5_000))
    .has(balance_msat=0, minimum_msat=5_000)
    .wants("deposit", 100_000, "s:deposit")
    .refuses(Reserved(1))
    .hears(Deposited())
    .becomes(SessionState.ACTIVE)
    .refuses(Deposited()),
    story("A request sets its ceiling aside, and gives back what it did not need", LAW)
    .given(ACTIVE)
    .hears(Reserved(3_000))
    .has(balance_msat=6_000, reserved_msat=3_000)
    .hears(Released(3_000, 1_000))
    .has(balance_msat=7_000, reserved_msat=0),
    story("More than the balance is not set aside, to the msat", LAW)
    .given(ACTIVE)
    .refuses(Reserved(9_001), Short)
    .hears(Reserved(9_000))
    .has(balance_msat=0, reserved_msat=9_000)
    .refuses(Reserved(1), Short),
    story("A session pauses below its minimum, and a top-up resumes it", LAW)
    .given(ACTIVE)
    .hears(Reserved(5_000))
    .has(balance_msat=4_000, reserved_msat=5_000)
    .hears(Released(5_000, 999))
    .passes(SessionState.ACTIVE, SessionEvent.RUN_LOW)
    .becomes(SessionState.PAUSED)
    .has(balance_msat=4_999, reserved_msat=0)
    .refuses(Reserved(1))
    .does("asks for a top-up of 7,000 msat", lambda facts: session.ask_topup(facts, 7_000))
    .has(topups=1)
    .wants("topup", 7_000, "s:topup1")
    .hears(ToppedUp())
    .becomes(SessionState.ACTIVE),
    story("A session at its minimum goes on, and what is set aside counts", LAW)
    .given(replace(ACTIVE, balance_msat=1_000, reserved_msat=7_000))
    .hears(Released(3_000, 0))
    .has(balance_msat=1_000, reserved_msat=4_000),
    story("What a request gives back may resume a paused session", LAW)
    .given(replace(PAUSED, reserved_msat=9_000))
    .hears(Released(9_000, 3_999))
    .passes(SessionState.ACTIVE, SessionEvent.RUN_LOW)
    .becomes(SessionState.PAUSED)
    .has(balance_msat=4_999, reserved_msat=0)
    .hears(Released(0, 1))
    .becomes(SessionState.ACTIVE)
    .has(balance_msat=5_000),
    story("A top-up of an active session is on its balance, and each has a name of its own", LAW)
    .given(ACTIVE)
    .does("asks for a top-up of 7,000 msat", lambda facts: session.ask_topup(facts, 7_000))
    .has(topups=1)
    .wants("topup", 7_000, "s:topup1")
    .does("asks for a top-up of 8,000 msat", lambda facts: session.ask_topup(facts, 8_000))
    .has(topups=2)
    .wants("topup", 8_000, "s:topup2")
    .hears(ToppedUp()),
    story("A session that is closed owes its balance back, and what still runs later", LAW)
    .given(replace(ACTIVE, reserved_msat=4_000, topups=2))
    .hears(Closed())
    .becomes(SessionState.EXPIRED)
    .has(ended=SessionEnd.CLOSED, balance_msat=0, rests=1)
    .moves(9_000, "session:s", "refund:s:rest1", "payout:s:rest1:owed")
    .owes("unspent", 9_000, "s:rest1")
    .drops("s:topup2")
    .refuses(ToppedUp())
    .refuses(Closed())
    .hears(Released(3_000, 1_000))
    .has(balance_msat=1_000, reserved_msat=1_000)
    .hears(Released(1_000, 500))
    .has(balance_msat=0, reserved_msat=0, rests=2)
    .moves(1_500, "session:s", "refund:s:rest2", "payout:s:rest2:owed")
    .owes("unspent", 1_500, "s:rest2"),
    story("A request that gives nothing back after the end leaves nothing to owe", LAW)
    .given(replace(NEW, state=SessionState.EXPIRED, reserved_msat=3_000, rests=1))
    .hears(Released(3_000, 0))
    .has(reserved_msat=0),
    story("A paused session that is closed owes its rest back", LAW)
    .given(PAUSED)
    .hears(Closed())
    .becomes(SessionState.EXPIRED)
    .has(ended=SessionEnd.CLOSED, balance_msat=0, rests=1)
    .moves(1_000, "session:s", "refund:s:rest1", "payout:s:rest1:owed")
    .owes("unspent", 1_000, "s:rest1"),
    story("A session that is left alone for too long owes its balance back", LAW)
    .given(ACTIVE)
    .hears(Idled())
    .becomes(SessionState.EXPIRED)
    .has(ended=SessionEnd.INACTIVE, balance_msat=0, rests=1)
    .moves(9_000, "session:s", "refund:s:rest1", "payout:s:rest1:owed")
    .owes("unspent", 9_000, "s:rest1"),
    story("So does a paused one, whose pending top-up is dropped", LAW)
    .given(replace(PAUSED, topups=1))
    .hears(Idled())
    .becomes(SessionState.EXPIRED)
    .has(ended=SessionEnd.INACTIVE, balance_msat=0, rests=1)
    .moves(1_000, "session:s", "refund:s:rest1", "payout:s:rest1:owed")
    .owes("unspent", 1_000, "s:rest1")
    .drops("s:topup1"),
    story("A session that has spent all owes nothing when it is closed", LAW)
    .given(replace(PAUSED, balance_msat=0))
    .hears(Closed())
    .becomes(SessionState.EXPIRED)
    .has(ended=SessionEnd.CLOSED),
    story("A session that is closed before its deposit drops the invoice", LAW)
    .given(NEW)
    .hears(Closed())
    .becomes(SessionState.EXPIRED)
    .has(ended=SessionEnd.CLOSED)
    .drops("s:deposit")
    .refuses(Deposited()),
    story("A deposit that nobody pays in time leaves nothing behind", LAW)
    .given(NEW)
    .hears(Lapsed())
    .becomes(SessionState.EXPIRED)
    .has(ended=SessionEnd.UNPAID)
    .refuses(Deposited()),
)
