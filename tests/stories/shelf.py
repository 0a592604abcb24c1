"""All stories, by the machine that they are told of: its name is its file's name in the law."""

from tests.stories import (
    attempt,
    authorization,
    batch,
    connect,
    deposit,
    firm,
    hold,
    invoice,
    item,
    job,
    lease,
    payout,
    session,
    transfer,
    wallet,
)
from tests.stories.telling import Law, Story

LAWS: dict[str, Law] = {
    "job": job.LAW,
    "invoice": invoice.LAW,
    "payout": payout.LAW,
    "session": session.LAW,
    "hold": hold.LAW,
    "attempt": attempt.LAW,
    "transfer": transfer.LAW,
    "wallet": wallet.LAW,
    "batch": batch.LAW,
    "item": item.LAW,
    "lease": lease.LAW,
    "authorization": authorization.LAW,
    "connect": connect.LAW,
    "deposit": deposit.LAW,
}
STORIES: dict[str, tuple[Story, ...]] = {
    "job": job.STORIES + firm.STORIES,
    "invoice": invoice.STORIES,
    "payout": payout.STORIES,
    "session": session.STORIES,
    "hold": hold.STORIES,
    "attempt": attempt.STORIES,
    "transfer": transfer.STORIES,
    "wallet": wallet.STORIES,
    "batch": batch.STORIES,
    "item": item.STORIES,
    "lease": lease.STORIES,
    "authorization": authorization.STORIES,
    "connect": connect.STORIES,
    "deposit": deposit.STORIES,
}
