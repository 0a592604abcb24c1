"""What the machines of the law are told in tests, and how their decisions are read."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pricing.money import BtcPrice, MicroUsd
from pricing.quote import Quote, make_quote
from pricing.rates import PUBLISHED, RateCard, Usage
from statemachine import job
from statemachine.decision import Decision

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PRICE = BtcPrice(MicroUsd(100_000 * 1_000_000), NOW, ("test",))
CARD = RateCard(PUBLISHED, 2_000, 20)
QUOTE: Quote = make_quote(CARD, "smollm2-135m-instruct", 100, 1000, PRICE, NOW, 3600)
JOB_EVENTS: dict[StrEnum, job.Event] = {
    job.JobEvent.EVAL_PAID: job.EvalPaid(),
    job.JobEvent.ACCEPTED: job.Accepted(QUOTE),
    job.JobEvent.BEGUN: job.Begun(),
    job.JobEvent.DECLINED: job.Declined("no"),
    job.JobEvent.WORK_PAID: job.WorkPaid(),
    job.JobEvent.FINISHED: job.Finished("text", Usage(10, 20)),
    job.JobEvent.BROKE: job.Broke("broken"),
    job.JobEvent.LAPSED: job.Lapsed("late"),
    job.JobEvent.CANCELLED: job.Cancelled(),
    job.JobEvent.RECOVERED: job.Recovered(),
}


def held(decision: Decision[Any], account: str) -> int:
    """Return how a decision's entries change an account, in its natural sign."""
    return sum(
        posting.amount * posting.account.kind.sign
        for entry in decision.entries
        for posting in entry.postings
        if posting.account.name == account
    )
