"""Amends: what a worker has forfeited goes back to where a buyer's payment came from."""

from statemachine import amends
from statemachine.amends import AmendsState, Made, Share
from statemachine.entries import Asset, of_session, of_user
from tests.stories.telling import Law, Story, story

LAW = Law(amends.AMENDS, amends.decide, (Made,))
DUE = amends.begin("a", Asset.MSAT, Share("b", 3_000))
USDC = Asset.MICROUSDC

STORIES: tuple[Story, ...] = (
    story("What an invoice has paid for is owed as a payout, and owed once", LAW)
    .given(DUE)
    .hears(Made(2, None))
    .becomes(AmendsState.MADE)
    .has(number=2)
    .moves(3_000, "revenue:forfeits", "refund:b:amends2", "payout:b:amends2:owed")
    .owes("not made as asked", 3_000, "b:amends2")
    .refuses(Made(3, None)),
    story("What a balance has paid for is on that balance", LAW)
    .given(DUE)
    .hears(Made(1, of_session("s")))
    .becomes(AmendsState.MADE)
    .has(number=1)
    .moves(3_000, "revenue:forfeits", "session:s", "amends:a:made"),
    story("What was paid in USDC goes back in USDC", LAW)
    .given(amends.begin("a", USDC, Share("b", 30_001)))
    .hears(Made(1, of_user("u")))
    .becomes(AmendsState.MADE)
    .has(number=1)
    .moves(30_001, "revenue:forfeits", "user:u", "amends:a:made", USDC),
)
