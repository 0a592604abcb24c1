"""USDC that was sent without a signed order: it has one owner, or waits for whoever sent it."""

from statemachine import deposit
from statemachine.deposit import Claimed, DepositState
from statemachine.entries import Asset
from tests.stories.telling import Law, Story, story

LAW = Law(deposit.DEPOSIT, deposit.decide, (Claimed,))
USDC = Asset.MICROUSDC
NAME = "eip155:8453:0x1:1"

STORIES: tuple[Story, ...] = (
    story("What comes from whom we know is on the account at once", LAW)
    .begins(DepositState.CREDITED, deposit.arrived(NAME, 50_000, "u"))
    .moves(50_000, "rail:x402", "user:u", f"deposit:{NAME}:arrived", USDC)
    .refuses(Claimed("u"))
    .refuses(Claimed("v")),
    story("What comes from somebody else waits, and is claimed once", LAW)
    .given(deposit.arrived(NAME, 50_000, None).facts)
    .hears(Claimed("u"))
    .becomes(DepositState.CREDITED)
    .has(account_id="u")
    .moves(50_000, "unclaimed", "user:u", f"deposit:{NAME}:claimed", USDC)
    .refuses(Claimed("v")),
    story("What comes for nobody is in the books all the same", LAW)
    .begins(DepositState.UNCLAIMED, deposit.arrived(NAME, 50_000, None))
    .moves(50_000, "rail:x402", "unclaimed", f"deposit:{NAME}:arrived", USDC),
)
