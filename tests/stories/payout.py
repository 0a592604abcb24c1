"""Payouts: out of reach before the rail is called, and back only when it says so for good."""

from dataclasses import replace
from typing import get_args

from statemachine import payout
from statemachine.entries import Asset
from statemachine.payout import (
    PayoutFacts,
    PayoutState,
    Redirected,
    Refused,
    Returned,
    Sent,
    Settled,
)
from statemachine.promises import FetchInvoice, PayInvoice, SendUsdc
from tests.stories.telling import Law, Story, story

LAW = Law(payout.PAYOUT, payout.decide, get_args(payout.Event))
OWED = PayoutFacts("p", PayoutState.OWED, 3_000)
TO_YOU = replace(OWED, refund_to="you@x.org")
SENT = replace(OWED, state=PayoutState.IN_FLIGHT, attempts=1)
SETTLED = "payout:p:settled"
USDC = Asset.MICROUSDC
TO_ADDRESS = replace(OWED, refund_to="evm:n:0x1", asset=USDC)

STORIES: tuple[Story, ...] = (
    story("A payout waits until somebody says where it should go, and is sent once", LAW)
    .begins(PayoutState.OWED, payout.begin(OWED))
    .hears(Sent())
    .becomes(PayoutState.IN_FLIGHT)
    .has(attempts=1)
    .moves(3_000, "refund:p", "sending:p", "payout:p:1:sent")
    .promises(PayInvoice("p", 1))
    .refuses(Sent())
    .refuses(Redirected("me@x.org"))
    .hears(Settled(7))
    .becomes(PayoutState.PAID)
    .moves(3_000, "sending:p", "rail:lightning", SETTLED)
    .moves(7, "expense:routing", "rail:lightning", SETTLED)
    .refuses(Returned())
    .refuses(Sent()),
    story("A payment that cost no routing is no expense", LAW)
    .given(SENT)
    .hears(Settled(0))
    .becomes(PayoutState.PAID)
    .moves(3_000, "sending:p", "rail:lightning", SETTLED),
    story("A payout whose payment failed for good is owed again, and sent anew", LAW)
    .given(SENT)
    .hears(Returned())
    .becomes(PayoutState.OWED)
    .has(failures=1)
    .moves(3_000, "sending:p", "refund:p", "payout:p:1:returned")
    .hears(Sent())
    .becomes(PayoutState.IN_FLIGHT)
    .has(attempts=2)
    .moves(3_000, "refund:p", "sending:p", "payout:p:2:sent")
    .promises(PayInvoice("p", 2)),
    story("A destination is asked by itself three times; then a person is", LAW)
    .begins(PayoutState.OWED, payout.begin(TO_YOU))
    .promises(FetchInvoice("p", 0))
    .hears(Refused())
    .has(failures=1)
    .promises(FetchInvoice("p", 1))
    .hears(Sent())
    .becomes(PayoutState.IN_FLIGHT)
    .has(attempts=1)
    .moves(3_000, "refund:p", "sending:p", "payout:p:1:sent")
    .promises(PayInvoice("p", 1))
    .hears(Returned())
    .becomes(PayoutState.OWED)
    .has(failures=2)
    .moves(3_000, "sending:p", "refund:p", "payout:p:1:returned")
    .promises(FetchInvoice("p", 2))
    .hears(Refused())
    .has(failures=3)
    .hears(Redirected("me@x.org"))
    .has(refund_to="me@x.org", failures=0)
    .promises(FetchInvoice("p", 0)),
    story("A payout without a destination that is refused waits for one", LAW)
    .given(OWED)
    .hears(Refused())
    .has(failures=1),
    story("Less than a sat of what was withheld stays with the house", LAW)
    .given(SENT)
    .hears(Settled(300, withheld_msat=1_000))
    .becomes(PayoutState.PAID)
    .moves(2_000, "sending:p", "rail:lightning", SETTLED)
    .moves(300, "sending:p", "rail:lightning", SETTLED)
    .moves(700, "sending:p", "expense:routing", SETTLED),
    story("Of two sats that were withheld, the one that routing left is owed again", LAW)
    .given(SENT)
    .hears(Settled(1_000, withheld_msat=2_000))
    .becomes(PayoutState.PAID)
    .moves(2_000, "sending:p", "rail:lightning", SETTLED)
    .moves(1_000, "sending:p", "refund:p:change", SETTLED)
    .owes("change", 1_000, "p:change"),
    story("What the house bears of the routing is used first", LAW)
    .given(SENT)
    .hears(Settled(1_500, withheld_msat=1_000, borne_msat=1_500))
    .becomes(PayoutState.PAID)
    .moves(2_000, "sending:p", "rail:lightning", SETTLED)
    .moves(1_000, "sending:p", "refund:p:change", SETTLED)
    .moves(1_500, "expense:routing", "rail:lightning", SETTLED)
    .owes("change", 1_000, "p:change"),
    story("What is owed in USDC is sent to an address, at no cost of ours", LAW)
    .begins(PayoutState.OWED, payout.begin(TO_ADDRESS))
    .promises(SendUsdc("p", 0))
    .hears(Sent())
    .becomes(PayoutState.IN_FLIGHT)
    .has(attempts=1)
    .moves(3_000, "refund:p", "sending:p", "payout:p:1:sent", USDC)
    .hears(Settled(0))
    .becomes(PayoutState.PAID)
    .moves(3_000, "sending:p", "rail:x402", SETTLED, USDC),
    story("An order that was not sent in its time is made again, for as long as it takes", LAW)
    .given(replace(TO_ADDRESS, state=PayoutState.IN_FLIGHT, attempts=3, failures=2))
    .hears(Returned())
    .becomes(PayoutState.OWED)
    .has(failures=3)
    .moves(3_000, "sending:p", "refund:p", "payout:p:3:returned", USDC)
    .promises(SendUsdc("p", 3))
    .hears(Sent())
    .becomes(PayoutState.IN_FLIGHT)
    .has(attempts=4)
    .moves(3_000, "refund:p", "sending:p", "payout:p:4:sent", USDC),
    story("What is owed in USDC to nobody's address waits for one", LAW)
    .begins(PayoutState.OWED, payout.begin(replace(TO_ADDRESS, refund_to=None)))
    .hears(Redirected("evm:n:0x2"))
    .has(refund_to="evm:n:0x2")
    .promises(SendUsdc("p", 0)),
)
