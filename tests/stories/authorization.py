"""Orders of buyers in USDC: what one paid rests where it was awaited, or is owed back."""

from typing import get_args

from statemachine import authorization
from statemachine.authorization import AuthorizationFacts, AuthorizationState, Failed, Settled
from statemachine.entries import Asset
from statemachine.owner import Owner, OwnerKind, Purpose
from tests.stories.telling import Law, Story, story

LAW = Law(authorization.AUTHORIZATION, authorization.decide, get_args(authorization.Event))
CLAIMED = AuthorizationFacts(
    "eip155:8453:0xA:0x1",
    Owner(OwnerKind.BATCH, "b"),
    Purpose.BATCH,
    AuthorizationState.CLAIMED,
    50_000,
)
ENTRY = "authorization:eip155:8453:0xA:0x1:settled"

STORIES: tuple[Story, ...] = (
    story("What an order paid rests with what it was claimed for", LAW)
    .given(CLAIMED)
    .hears(Settled(awaited=True))
    .becomes(AuthorizationState.SETTLED)
    .moves(50_000, "rail:x402", "batch:b", ENTRY, Asset.MICROUSDC)
    .refuses(Settled(awaited=True))
    .refuses(Failed()),
    story("What nothing awaits any more is owed back whole", LAW)
    .given(CLAIMED)
    .hears(Settled(awaited=False))
    .becomes(AuthorizationState.SETTLED)
    .moves(50_000, "rail:x402", "refund:b:batch:unawaited", ENTRY, Asset.MICROUSDC)
    .owes("unawaited", 50_000, "b:batch:unawaited", Asset.MICROUSDC),
    story("An order that moved nothing, and never will, is worth nothing", LAW)
    .given(CLAIMED)
    .hears(Failed())
    .becomes(AuthorizationState.FAILED)
    .refuses(Settled(awaited=True))
    .refuses(Failed()),
)
