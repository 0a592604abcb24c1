"""Jobs: from being asked for to the last msat, and what their end means to who pays for them."""

import structlog

from app.advance import notices
from app.advance.act import Act
from app.advance.outcome import Applied, Missing, Outcome, Replayed, Short, Spending
from app.advance.sessions import released, releasing, reserve
from app.advance.writing import Payee, perform, write_first
from db import balances, failures, jobs
from db.invoices import MadeInvoice
from db.jobs import JobRow
from db.lapsed_tables import LapsedInvoice
from db.promises import Outbox
from db.webhooks import NewWebhook
from payments import rail
from pricing.quote import Quote
from statemachine import job as law
from statemachine import session as session_law
from statemachine.decision import Decision
from statemachine.job import Funding, JobState
from statemachine.machine import IllegalTransition
from statemachine.owner import Owner, OwnerKind, Purpose
from statemachine.promises import Judge, Work

log = structlog.get_logger("boltwork.jobs")

INVOICED = f"{Purpose.WORK}_invoice_opened"
PURGED = "The invoice was not paid in time, and the request was deleted a day later."
CHARGED = (
    "The evaluation was charged all the same: more than {most} requests of yours have failed today,"
    " each at the cost of this house."
)


async def begin(
    act: Act,
    begun: Decision[law.JobFacts],
    opened: rail.Opened,
    request: str,
    refund_to: str | None,
    payer: str | None = None,
    webhook: NewWebhook | None = None,
) -> MadeInvoice:
    """Create a job with its first invoice, which the rail has made before, and return that one."""
    await jobs.insert(act.tx, begun.facts, request, refund_to, "created", act.now, payer=payer)
    await notices.register(act, _owner(begun.facts.id), webhook)
    return await write_first(act, _owner(begun.facts.id), begun, opened)


async def begin_claimed(
    act: Act, begun: Decision[law.JobFacts], request: str, refund_to: str, payer: str
) -> None:
    """Create a job that an authorization in USDC is claimed for, in the same transaction: nobody
    reads its request before that has settled.
    """
    await jobs.insert(act.tx, begun.facts, request, refund_to, "created", act.now, payer=payer)


async def begin_reserved(
    act: Act,
    job_id: str,
    request: str,
    session_id: str,
    spending: Spending,
    eval_msat: int,
    quote: Quote,
) -> Outcome | Short:
    """Create a job that a session pays for; Replayed when the session is not active."""
    decision = law.begin_reserved(job_id, session_id, eval_msat, quote)
    told = await reserve(act, session_id, spending, decision.facts.prepaid_amount)
    if not isinstance(told, Applied):
        return told
    await jobs.insert(
        act.tx,
        decision.facts,
        request,
        None,
        "created",
        act.now,
        credential=spending.links,
        budgets=[link for link, _ in spending.budgets],
        payer=f"session:{session_id}",
    )
    await perform(act, Payee(_owner(job_id), None), decision)
    return told


async def cancel(act: Act, job_id: str) -> Outcome:
    """Cancel a job: its buyer does not want it, or never heard of it."""
    return await _tell(act, job_id, law.Cancelled())


async def accept(act: Act, job_id: str, quote: Quote, cost_msat: int) -> Outcome:
    """Accept a job for an agent, at the most that its work may cost."""
    row = await jobs.lock(act.tx, job_id)
    if row is None:
        return Missing()
    if row.funding is not Funding.INVOICES:  # else the fee that is earned now pays it
        await jobs.end_call(act.tx, job_id, was_taken=True, cost_msat=cost_msat)
    return await step(act, row, law.verdict(jobs.facts_of(row), quote))


async def answer(
    act: Act, job_id: str, event: law.Event, cost_msat: int, most_failures: int
) -> Outcome:
    """Apply an agent's answer to a job, with what asking it has cost the house.

    A failure is at the cost of the house; of one payer, `most_failures` times on a day.
    """
    if cost_msat:
        await jobs.end_call(act.tx, job_id, was_taken=True, cost_msat=cost_msat)
        if isinstance(event, law.Broke):
            event = await _borne_by(act, job_id, event, most_failures)
    return await _tell(act, job_id, event)


async def _borne_by(act: Act, job_id: str, broke: law.Broke, most: int) -> law.Broke | law.Declined:
    """Say who bears a failure: the house, until one payer has had too many on a day."""
    row = await jobs.lock(act.tx, job_id)
    if row is None or row.payer is None or law.JOB.final(row.state):
        return broke
    if await failures.count(act.tx, row.payer, act.now.date()) <= most:
        return broke
    return law.Declined(f"{broke.reason} {CHARGED.format(most=most)}")


async def recover(act: Act, job_id: str) -> Outcome:
    """Make the promise of a job again that was lost with its keeper, if that is so."""
    # Looked at under the lock: another process may have made it in the meantime.
    await jobs.lock(act.tx, job_id)
    if await is_promised(act.outbox, job_id):
        return Replayed()
    log.warning("promise_lost", job=job_id)
    return await _tell(act, job_id, law.Recovered())


async def is_promised(outbox: Outbox, job_id: str) -> bool:
    """Say whether a promise to have an agent asked waits, or is being kept."""
    names = (Judge(job_id).key, Work(job_id).key)
    return any([await outbox.is_staged(name) for name in names])


async def _tell(act: Act, job_id: str, event: law.Event) -> Outcome:
    job = await jobs.lock(act.tx, job_id)
    return Missing() if job is None else await step(act, job, event)


def _owner(job_id: str) -> Owner:
    return Owner(OwnerKind.JOB, job_id)


def payee_of(job: JobRow) -> Payee:
    """Return who is paid what is owed by a job."""
    return Payee(_owner(job.id), job.refund_to)


async def touch(act: Act, job: JobRow, event: str) -> None:
    """Count a change of a locked job that others can see, and tell whoever waits for one."""
    await jobs.touch(act.tx, job.id, event, act.now)
    if event == INVOICED:
        await notices.tell(act, _owner(job.id), JobState.AWAITING_WORK_PAYMENT)


async def restore(act: Act, job_id: str, kept: LapsedInvoice) -> None:
    """Have a job there again that was purged: it failed, as nobody had paid."""
    eval_msat = int(kept.eval_msat or 0)
    if kept.quote is not None:
        begun = law.begin_asked(job_id, eval_msat, Quote.from_json(kept.quote))
    else:
        begun = law.begin(job_id, eval_msat, None)
    await jobs.insert(act.tx, begun.facts, "", kept.refund_to, "created", act.now)
    event = law.Lapsed(PURGED)
    after = law.decide(begun.facts, event).facts
    await jobs.move(act.tx, after, event.kind.value, act.now)


async def step(act: Act, job: JobRow, event: law.Event) -> Outcome:
    """Apply an event to a locked job."""
    try:
        decision = law.decide(jobs.facts_of(job), event)
    except IllegalTransition:
        return Replayed()
    is_final = law.JOB.final(decision.facts.state)
    if job.session_id is not None and is_final:
        await _end(act, job, job.session_id, decision, event)
    else:
        await jobs.move(act.tx, decision.facts, event.kind.value, act.now)
        await perform(act, payee_of(job), decision, anew=isinstance(event, law.Recovered))
    # What nobody ever paid for is told to nobody: it would cost its buyer nothing.
    if is_final and job.state is not JobState.AWAITING_EVAL_PAYMENT:
        await notices.tell(act, _owner(job.id), decision.facts.state)
    return Applied()


async def _end(
    act: Act, job: JobRow, session_id: str, decision: Decision[law.JobFacts], event: law.Event
) -> None:
    """End a job that a session pays for: what it did not need is on the balance again."""
    back_msat = law.given_back_amount(decision.facts)
    grounds = session_law.grounds(session_law.Released(decision.facts.prepaid_amount, back_msat))
    kept_msat = await balances.give_back(act.tx, session_id, grounds, job.budgets, act.now)
    if kept_msat is not None:
        balance_msat = kept_msat + back_msat
        await jobs.move(act.tx, decision.facts, event.kind.value, act.now, balance_msat)
        await perform(act, payee_of(job), decision)
        return
    payer = await balances.lock_to_spend(act.tx, session_id)
    assert payer is not None, "a job outlives its session's row"
    rest = releasing(payer, decision.facts.prepaid_amount, back_msat)
    balance_msat = rest.facts.balance_msat
    await jobs.move(act.tx, decision.facts, event.kind.value, act.now, balance_msat)
    await perform(act, payee_of(job), decision)
    await released(act, payer.row, rest, job.budgets, back_msat)
