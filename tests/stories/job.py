"""Jobs, paid for step by step: an invoice for the evaluation, and one for the work."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

from pricing.money import BtcPrice, MicroUsd, Msat
from pricing.quote import Charge, Quote
from pricing.rates import Usage
from statemachine import job
from statemachine.job import (
    Accepted,
    Begun,
    Broke,
    Cancelled,
    Declined,
    EvalPaid,
    Finished,
    JobFacts,
    JobState,
    Lapsed,
    Recovered,
    WorkPaid,
)
from statemachine.promises import CreateInvoice, Judge, Work
from tests.stories.telling import Law, Story, story

LAW = Law(job.JOB, job.decide, get_args(job.Event))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PRICE = BtcPrice(MicroUsd(100_000_000_000), NOW, ("test",))  # a sat is a tenth of a cent
# 1,000 tokens read at a dollar a million, and up to 1,000 written at four: five sats at most.
QUOTE = Quote(
    "m", 1_000, 1_000, 1_000_000, 4_000_000, 0, 0,
    MicroUsd(5_000), MicroUsd(5_000), PRICE, Msat(5_000), NOW,
)  # fmt: skip


def charged(usage: Usage, cost_microusd: int, total_msat: int, surplus_msat: int) -> Charge:
    """Return a charge, its four figures written by hand."""
    cost = MicroUsd(cost_microusd)
    return Charge(usage, cost, cost, Msat(total_msat), Msat(surplus_msat))


QUARTER = Usage(1_000, 250)
WHOLE = Usage(1_000, 1_000)
TOO_MUCH = Usage(9_000, 9_000)
NEW = JobFacts("j", JobState.AWAITING_EVAL_PAYMENT, 2_000)
JUDGED = replace(NEW, state=JobState.EVALUATING)
QUOTED = replace(NEW, state=JobState.AWAITING_WORK_PAYMENT, quote=QUOTE)
AT_WORK = replace(QUOTED, state=JobState.EXECUTING)

STORIES: tuple[Story, ...] = (
    story("A job is judged, paid for, done, and the rest is owed back", LAW)
    .begins(JobState.AWAITING_EVAL_PAYMENT, job.begin("j", 2_000, None))
    .wants("eval", 2_000, "j:eval")
    .hears(EvalPaid())
    .becomes(JobState.EVALUATING)
    .promises(Judge("j"))
    .hears(Accepted(QUOTE))
    .becomes(JobState.AWAITING_WORK_PAYMENT)
    .has(quote=QUOTE)
    .moves(2_000, "job:j", "revenue:eval", "job:j:eval_earned")
    .wants("work", 5_000, "j:work")
    .promises(CreateInvoice("j:work"))
    .hears(WorkPaid())
    .becomes(JobState.EXECUTING)
    .promises(Work("j"))
    .hears(Finished("text", QUARTER))
    .becomes(JobState.COMPLETE)
    .has(result="text", charge=charged(QUARTER, 2_000, 2_000, 3_000))
    .moves(2_000, "job:j", "revenue:work", "job:j:charged")
    .moves(3_000, "job:j", "refund:j:surplus", "job:j:charged")
    .owes("surplus", 3_000, "j:surplus")
    .refuses(Broke("too late")),
    story("A job whose work is not paid for yet is not begun, only accepted", LAW)
    .given(JUDGED)
    .refuses(Begun()),
    story("A job is not accepted at a price above its buyer's limit", LAW)
    .given(replace(JUDGED, max_msat=4_999))
    .refuses(Accepted(QUOTE)),
    story("A price of just the buyer's limit is accepted", LAW)
    .given(replace(JUDGED, max_msat=5_000))
    .hears(Accepted(QUOTE))
    .becomes(JobState.AWAITING_WORK_PAYMENT)
    .has(quote=QUOTE)
    .moves(2_000, "job:j", "revenue:eval", "job:j:eval_earned")
    .wants("work", 5_000, "j:work")
    .promises(CreateInvoice("j:work")),
    story("Work that needed all of its quote owes nothing back", LAW)
    .given(AT_WORK)
    .hears(Finished("text", WHOLE))
    .becomes(JobState.COMPLETE)
    .has(result="text", charge=charged(WHOLE, 5_000, 5_000, 0))
    .moves(5_000, "job:j", "revenue:work", "job:j:charged"),
    story("Work that cost more than its quote is the house's loss", LAW)
    .given(AT_WORK)
    .hears(Finished("text", TOO_MUCH, cut=True))
    .becomes(JobState.COMPLETE)
    .has(result="text", truncated=True, charge=charged(TOO_MUCH, 45_000, 5_000, 0))
    .moves(5_000, "job:j", "revenue:work", "job:j:charged"),
    story("A job that is declined has cost its evaluation", LAW)
    .given(JUDGED)
    .hears(Declined("no"))
    .becomes(JobState.REJECTED)
    .has(reason="no")
    .moves(2_000, "job:j", "revenue:eval", "job:j:eval_earned")
    .refuses(Accepted(QUOTE)),
    story("Work that is declined after all is owed back whole; its evaluation was earned", LAW)
    .given(AT_WORK)
    .hears(Declined("no"))
    .becomes(JobState.REJECTED)
    .has(reason="no")
    .moves(5_000, "job:j", "refund:j:undone", "payout:j:undone:owed")
    .owes("not done", 5_000, "j:undone"),
    story("A job that nobody can judge gives its fee back", LAW)
    .begins(JobState.AWAITING_EVAL_PAYMENT, job.begin("j", 2_000, 9_000))
    .has(max_msat=9_000)
    .wants("eval", 2_000, "j:eval")
    .hears(EvalPaid())
    .becomes(JobState.EVALUATING)
    .promises(Judge("j"))
    .hears(Broke("x"))
    .becomes(JobState.FAILED)
    .has(error="x")
    .moves(2_000, "job:j", "refund:j:unjudged", "payout:j:unjudged:owed")
    .owes("not evaluated", 2_000, "j:unjudged"),
    story("Work that fails is owed back whole", LAW)
    .given(AT_WORK)
    .hears(Broke("x"))
    .becomes(JobState.FAILED)
    .has(error="x")
    .moves(5_000, "job:j", "refund:j:undone", "payout:j:undone:owed")
    .owes("not done", 5_000, "j:undone"),
    story("What the models cost for a job that fails is the house's own expense", LAW)
    .given(replace(AT_WORK, spent_msat=700))
    .hears(Broke("x"))
    .becomes(JobState.FAILED)
    .has(error="x")
    .moves(5_000, "job:j", "refund:j:undone", "payout:j:undone:owed")
    .moves(700, "expense:failed", "revenue:free", "job:j:failed")
    .owes("not done", 5_000, "j:undone"),
    story("The same for an evaluation that fails", LAW)
    .given(replace(JUDGED, spent_msat=700))
    .hears(Broke("x"))
    .becomes(JobState.FAILED)
    .has(error="x")
    .moves(2_000, "job:j", "refund:j:unjudged", "payout:j:unjudged:owed")
    .moves(700, "expense:failed", "revenue:free", "job:j:failed")
    .owes("not evaluated", 2_000, "j:unjudged"),
    story("What the models cost for work that is finished is in its charge", LAW)
    .given(replace(AT_WORK, spent_msat=700))
    .hears(Finished("text", QUARTER))
    .becomes(JobState.COMPLETE)
    .has(result="text", charge=charged(QUARTER, 2_000, 2_000, 3_000))
    .moves(2_000, "job:j", "revenue:work", "job:j:charged")
    .moves(3_000, "job:j", "refund:j:surplus", "job:j:charged")
    .owes("surplus", 3_000, "j:surplus"),
    story("An evaluation that nobody pays for in time costs nobody anything", LAW)
    .given(NEW)
    .hears(Lapsed("late"))
    .becomes(JobState.FAILED)
    .has(error="late")
    .refuses(EvalPaid()),
    story("Work that nobody pays for in time: the house gave away what its models cost", LAW)
    .given(replace(QUOTED, spent_msat=700))
    .hears(Lapsed("late"))
    .becomes(JobState.FAILED)
    .has(error="late")
    .moves(700, "expense:failed", "revenue:free", "job:j:failed")
    .refuses(WorkPaid()),
    story("A buyer who cancels is asked for no payment any more", LAW)
    .given(NEW)
    .hears(Cancelled())
    .becomes(JobState.FAILED)
    .has(error="Cancelled by the buyer.")
    .drops("j:eval"),
    story("The same once the work was quoted", LAW)
    .given(replace(QUOTED, spent_msat=700))
    .hears(Cancelled())
    .becomes(JobState.FAILED)
    .has(error="Cancelled by the buyer.")
    .moves(700, "expense:failed", "revenue:free", "job:j:failed")
    .drops("j:work"),
    story("What is being judged or done can't be cancelled", LAW)
    .given(JUDGED)
    .refuses(Cancelled())
    .hears(Accepted(QUOTE))
    .becomes(JobState.AWAITING_WORK_PAYMENT)
    .has(quote=QUOTE)
    .moves(2_000, "job:j", "revenue:eval", "job:j:eval_earned")
    .wants("work", 5_000, "j:work")
    .promises(CreateInvoice("j:work"))
    .hears(WorkPaid())
    .becomes(JobState.EXECUTING)
    .promises(Work("j"))
    .refuses(Cancelled()),
    story("A promise that was lost is made again under the same name, and nothing else", LAW)
    .given(NEW)
    .refuses(Recovered())
    .hears(EvalPaid())
    .becomes(JobState.EVALUATING)
    .promises(Judge("j"))
    .hears(Recovered())
    .promises(Judge("j"))
    .hears(Accepted(QUOTE))
    .becomes(JobState.AWAITING_WORK_PAYMENT)
    .has(quote=QUOTE)
    .moves(2_000, "job:j", "revenue:eval", "job:j:eval_earned")
    .wants("work", 5_000, "j:work")
    .promises(CreateInvoice("j:work"))
    .hears(Recovered())
    .promises(CreateInvoice("j:work"))
    .hears(WorkPaid())
    .becomes(JobState.EXECUTING)
    .promises(Work("j"))
    .hears(Recovered())
    .promises(Work("j")),
)
