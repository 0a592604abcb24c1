"""A price, a quote and things of the law as they may stand in a state, at the published rates."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pricing.money import BtcPrice, MicroUsd
from pricing.quote import Quote, make_quote
from pricing.rates import PUBLISHED, RateCard
from statemachine.decision import Decision
from statemachine.entries import Entry
from statemachine.job import JobFacts, JobState
from statemachine.payout import PayoutFacts, PayoutState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PRICE = BtcPrice(MicroUsd(100_000 * 1_000_000), NOW, ("test",))
CARD = RateCard(PUBLISHED, 2_000, 20)
QUOTE: Quote = make_quote(CARD, "smollm2-135m-instruct", 100, 1000, PRICE, NOW, 3600)


def job_in(state: JobState) -> JobFacts:
    """Return a job as it may stand in a state."""
    return JobFacts("j", state, eval_msat=5_000, quote=QUOTE)


def payout_in(state: PayoutState) -> PayoutFacts:
    """Return a payout as it may stand in a state."""
    return PayoutFacts("j:surplus", state, 3_000, attempts=1)


def held(decision: Decision[Any], account: str) -> int:
    """Return how a decision's entries change an account, in its natural sign."""
    entries: Iterable[Entry] = decision.entries
    return sum(
        posting.amount * posting.account.kind.sign
        for entry in entries
        for posting in entry.postings
        if posting.account.name == account
    )
