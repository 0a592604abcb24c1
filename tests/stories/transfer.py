"""Transfers between wallets of ours: nothing is owed to anybody, and only their cost is booked."""

from typing import get_args

from statemachine import transfer
from statemachine.transfer import Arrived, FellThrough, TransferFacts, TransferState
from tests.stories.telling import Law, Story, story

LAW = Law(transfer.TRANSFER, transfer.decide, get_args(transfer.Event))
LIVE = TransferFacts("h", TransferState.LIVE)

STORIES: tuple[Story, ...] = (
    story("A transfer within one rail costs nothing, and books nothing", LAW)
    .given(LIVE)
    .hears(Arrived(0))
    .becomes(TransferState.SETTLED)
    .has(fee_msat=0)
    .refuses(Arrived(0))
    .refuses(FellThrough()),
    story("What a transfer costs is the house's expense", LAW)
    .given(LIVE)
    .hears(Arrived(2_000))
    .becomes(TransferState.SETTLED)
    .has(fee_msat=2_000)
    .moves(2_000, "expense:routing", "rail:lightning", "transfer:h:settled"),
    story("A transfer that falls through leaves the money where it was", LAW)
    .given(LIVE)
    .hears(FellThrough())
    .becomes(TransferState.FAILED)
    .refuses(Arrived(0))
    .refuses(FellThrough()),
)
