"""Jobs at a firm price, paid for at once: by one invoice, or out of a session's balance."""

from dataclasses import replace

from statemachine import job
from statemachine.entries import Asset
from statemachine.job import (
    Accepted,
    Begun,
    Broke,
    Cancelled,
    Declined,
    EvalPaid,
    Finished,
    Funding,
    JobFacts,
    JobState,
    Lapsed,
    Recovered,
)
from statemachine.promises import Judge, Work
from tests.stories.job import LAW, QUARTER, QUOTE, WHOLE, charged
from tests.stories.telling import Story, story

# Two sats for the evaluation, and up to five for the work: seven are paid at once.
ASKED = JobFacts(
    "j", JobState.AWAITING_EVAL_PAYMENT, 2_000, quote=QUOTE, funding=Funding.INVOICE
)  # fmt: skip
PAID = replace(ASKED, state=JobState.EVALUATING)
AT_WORK = replace(ASKED, state=JobState.EXECUTING)
OF_SESSION = replace(PAID, funding=Funding.SESSION, session_id="s")
SESSION_AT_WORK = replace(OF_SESSION, state=JobState.EXECUTING)
IN_USDC = replace(ASKED, funding=Funding.X402, eval_microusdc=10_000, account_id="a")

STORIES: tuple[Story, ...] = (
    story("A firm price is paid with one invoice, and what was not needed is owed back", LAW)
    .begins(JobState.AWAITING_EVAL_PAYMENT, job.begin_asked("j", 2_000, QUOTE))
    .has(quote=QUOTE, funding=Funding.INVOICE)
    .wants("ask", 7_000, "j:ask")
    .refuses(Recovered())
    .hears(EvalPaid())
    .becomes(JobState.EVALUATING)
    .promises(Judge("j"))
    .hears(Begun())
    .becomes(JobState.EXECUTING)
    .promises(Work("j"))
    .hears(Finished("text", QUARTER))
    .becomes(JobState.COMPLETE)
    .has(result="text", charge=charged(QUARTER, 2_000, 2_000, 3_000))
    .moves(2_000, "job:j", "revenue:eval", "job:j:ended")
    .moves(2_000, "job:j", "revenue:work", "job:j:ended")
    .moves(3_000, "job:j", "refund:j:back", "job:j:ended")
    .owes("surplus", 3_000, "j:back"),
    story("A job that is paid for already is begun, and no second price is asked for it", LAW)
    .given(PAID)
    .refuses(Accepted(QUOTE)),
    story("A job of a session is begun, and no second price is asked for it", LAW)
    .given(OF_SESSION)
    .refuses(Accepted(QUOTE)),
    story("A job is not begun while it has no price that was paid or set aside", LAW)
    .given(replace(PAID, quote=None))
    .refuses(Begun()),
    story("A firm price that the work needs whole owes nothing back", LAW)
    .given(AT_WORK)
    .hears(Finished("text", WHOLE, cut=True))
    .becomes(JobState.COMPLETE)
    .has(result="text", truncated=True, charge=charged(WHOLE, 5_000, 5_000, 0))
    .moves(2_000, "job:j", "revenue:eval", "job:j:ended")
    .moves(5_000, "job:j", "revenue:work", "job:j:ended"),
    story("A firm price that is declined costs the evaluation alone", LAW)
    .given(PAID)
    .hears(Declined("no"))
    .becomes(JobState.REJECTED)
    .has(reason="no")
    .moves(2_000, "job:j", "revenue:eval", "job:j:ended")
    .moves(5_000, "job:j", "refund:j:back", "job:j:ended")
    .owes("not needed", 5_000, "j:back"),
    story("The same when it is declined at work", LAW)
    .given(AT_WORK)
    .hears(Declined("no"))
    .becomes(JobState.REJECTED)
    .has(reason="no")
    .moves(2_000, "job:j", "revenue:eval", "job:j:ended")
    .moves(5_000, "job:j", "refund:j:back", "job:j:ended")
    .owes("not needed", 5_000, "j:back"),
    story("A firm price whose evaluation fails goes back whole", LAW)
    .given(PAID)
    .hears(Broke("x"))
    .becomes(JobState.FAILED)
    .has(error="x")
    .moves(7_000, "job:j", "refund:j:back", "job:j:ended")
    .owes("not done", 7_000, "j:back"),
    story("The same when the work fails, and what its models cost is the house's expense", LAW)
    .given(replace(AT_WORK, spent_msat=700))
    .hears(Broke("x"))
    .becomes(JobState.FAILED)
    .has(error="x")
    .moves(7_000, "job:j", "refund:j:back", "job:j:ended")
    .moves(700, "expense:failed", "revenue:free", "job:j:failed")
    .owes("not done", 7_000, "j:back"),
    story("A firm price that is cancelled drops its one invoice", LAW)
    .given(ASKED)
    .hears(Cancelled())
    .becomes(JobState.FAILED)
    .has(error="Cancelled by the buyer.")
    .drops("j:ask"),
    story("A firm price that nobody pays in time ends without a word about money", LAW)
    .given(ASKED)
    .hears(Lapsed("late"))
    .becomes(JobState.FAILED)
    .has(error="late"),
    story("A session sets the ceiling of a job aside, and has back what it did not need", LAW)
    .begins(JobState.EVALUATING, job.begin_reserved("j", "s", 2_000, QUOTE))
    .has(quote=QUOTE, funding=Funding.SESSION, session_id="s")
    .moves(7_000, "session:s", "job:j", "job:j:reserved")
    .promises(Judge("j"))
    .hears(Begun())
    .becomes(JobState.EXECUTING)
    .promises(Work("j"))
    .hears(Finished("text", QUARTER))
    .becomes(JobState.COMPLETE)
    .has(result="text", charge=charged(QUARTER, 2_000, 2_000, 3_000))
    .moves(2_000, "job:j", "revenue:eval", "job:j:ended")
    .moves(2_000, "job:j", "revenue:work", "job:j:ended")
    .moves(3_000, "job:j", "session:s", "job:j:ended"),
    story("A session pays for the evaluation of what is declined, and owes no payout", LAW)
    .given(OF_SESSION)
    .hears(Declined("no"))
    .becomes(JobState.REJECTED)
    .has(reason="no")
    .moves(2_000, "job:j", "revenue:eval", "job:j:ended")
    .moves(5_000, "job:j", "session:s", "job:j:ended"),
    story("A session has all of it back when the evaluation fails", LAW)
    .given(OF_SESSION)
    .hears(Broke("x"))
    .becomes(JobState.FAILED)
    .has(error="x")
    .moves(7_000, "job:j", "session:s", "job:j:ended"),
    story("The same when the work fails", LAW)
    .given(replace(SESSION_AT_WORK, spent_msat=700))
    .hears(Broke("x"))
    .becomes(JobState.FAILED)
    .has(error="x")
    .moves(7_000, "job:j", "session:s", "job:j:ended")
    .moves(700, "expense:failed", "revenue:free", "job:j:failed"),
    story("An order in USDC pays in dollars, and less than a cent is on its payer's balance", LAW)
    .begins(
        JobState.AWAITING_EVAL_PAYMENT,
        job.begin_claimed("j", "order", 2_000, 10_000, QUOTE, "a"),
    )
    .has(
        quote=QUOTE,
        funding=Funding.X402,
        eval_microusdc=10_000,
        account_id="a",
        paid_by="order",
    )
    .hears(EvalPaid())
    .becomes(JobState.EVALUATING)
    .promises(Judge("j"))
    .hears(Begun())
    .becomes(JobState.EXECUTING)
    .promises(Work("j"))
    .hears(Finished("text", QUARTER))
    .becomes(JobState.COMPLETE)
    .has(result="text", charge=charged(QUARTER, 2_000, 2_000, 3_000))
    .moves(10_000, "job:j", "revenue:eval", "job:j:ended", Asset.MICROUSDC)
    .moves(2_000, "job:j", "revenue:work", "job:j:ended", Asset.MICROUSDC)
    .moves(3_000, "job:j", "user:a", "job:j:ended", Asset.MICROUSDC),
    story("What an order paid for work that fails is owed back in USDC", LAW)
    .given(replace(IN_USDC, state=JobState.EXECUTING))
    .hears(Broke("x"))
    .becomes(JobState.FAILED)
    .has(error="x")
    .moves(15_000, "job:j", "refund:j:back", "job:j:ended", Asset.MICROUSDC)
    .owes("not done", 15_000, "j:back", Asset.MICROUSDC),
    story("An order that never pays ends its job, with nothing charged", LAW)
    .given(IN_USDC)
    .hears(Lapsed("late"))
    .becomes(JobState.FAILED)
    .has(error=job.NOT_SETTLED),
    story("What its buyer does not want any more waits for no order", LAW)
    .given(IN_USDC)
    .hears(Cancelled())
    .becomes(JobState.FAILED)
    .has(error="Cancelled by the buyer."),
)
