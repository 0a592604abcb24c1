"""A job: asked, judged, paid for, done, and settled to the last msat.

What the buyer paid is either earned, or owed back, or still being worked for, in every state.
"""

from dataclasses import dataclass, replace
from enum import StrEnum, auto

from pricing.money import sats_down
from pricing.quote import Quote, make_charge
from pricing.rates import Usage
from statemachine import entries
from statemachine.batch import LEAST_REFUND_MICROUSDC
from statemachine.decision import Decision, InvoiceWanted, Owed
from statemachine.entries import Account, Asset
from statemachine.job_facts import Funding as Funding
from statemachine.job_facts import JobFacts as JobFacts
from statemachine.job_facts import JobState as JobState
from statemachine.job_facts import quoted
from statemachine.machine import IllegalTransition, Machine
from statemachine.owner import Purpose, Reason
from statemachine.promises import CreateInvoice, Judge, Promise, Work

CANCELLED = "Cancelled by the buyer."
NOT_SETTLED = "Its payment in USDC was not made. Nothing was charged."


class JobEvent(StrEnum):
    """What can happen to a job."""

    EVAL_PAID = auto()
    ACCEPTED = auto()
    BEGUN = auto()
    DECLINED = auto()
    WORK_PAID = auto()
    FINISHED = auto()
    BROKE = auto()
    LAPSED = auto()
    CANCELLED = auto()
    RECOVERED = auto()


JOB = Machine(
    "job",
    JobState,
    JobEvent,
    [
        (JobEvent.EVAL_PAID, JobState.AWAITING_EVAL_PAYMENT, JobState.EVALUATING),
        (JobEvent.ACCEPTED, JobState.EVALUATING, JobState.AWAITING_WORK_PAYMENT),
        (JobEvent.BEGUN, JobState.EVALUATING, JobState.EXECUTING),
        (JobEvent.DECLINED, JobState.EVALUATING, JobState.REJECTED),
        (JobEvent.DECLINED, JobState.EXECUTING, JobState.REJECTED),
        (JobEvent.WORK_PAID, JobState.AWAITING_WORK_PAYMENT, JobState.EXECUTING),
        (JobEvent.FINISHED, JobState.EXECUTING, JobState.COMPLETE),
        (JobEvent.BROKE, JobState.EVALUATING, JobState.FAILED),
        (JobEvent.BROKE, JobState.EXECUTING, JobState.FAILED),
        (JobEvent.LAPSED, JobState.AWAITING_EVAL_PAYMENT, JobState.FAILED),
        (JobEvent.LAPSED, JobState.AWAITING_WORK_PAYMENT, JobState.FAILED),
        (JobEvent.CANCELLED, JobState.AWAITING_EVAL_PAYMENT, JobState.FAILED),
        (JobEvent.CANCELLED, JobState.AWAITING_WORK_PAYMENT, JobState.FAILED),
        # The process that kept the promise of this state died, and the promise with it.
        (JobEvent.RECOVERED, JobState.EVALUATING, JobState.EVALUATING),
        (JobEvent.RECOVERED, JobState.AWAITING_WORK_PAYMENT, JobState.AWAITING_WORK_PAYMENT),
        (JobEvent.RECOVERED, JobState.EXECUTING, JobState.EXECUTING),
    ],
)


@dataclass(frozen=True, slots=True)
class EvalPaid:
    """The eval invoice settled, or the one invoice of a job with a firm price."""

    kind = JobEvent.EVAL_PAID


@dataclass(frozen=True, slots=True)
class Accepted:
    """An agent takes the job, at this price."""

    quote: Quote
    kind = JobEvent.ACCEPTED


@dataclass(frozen=True, slots=True)
class Begun:
    """An agent takes a job that is paid for already."""

    kind = JobEvent.BEGUN


@dataclass(frozen=True, slots=True)
class Declined:
    """The job will not be done, though it was looked at: the evaluation is earned, and no more."""

    reason: str
    kind = JobEvent.DECLINED


@dataclass(frozen=True, slots=True)
class WorkPaid:
    """The work invoice settled."""

    kind = JobEvent.WORK_PAID


@dataclass(frozen=True, slots=True)
class Finished:
    """The work is done; `usage` is what the model's API counted."""

    text: str
    usage: Usage
    cut: bool = False  # the model wanted to write more than it may
    kind = JobEvent.FINISHED


@dataclass(frozen=True, slots=True)
class Broke:
    """The evaluation or the work cannot be done, after its retries."""

    reason: str
    kind = JobEvent.BROKE


@dataclass(frozen=True, slots=True)
class Lapsed:
    """The open invoice was not paid in time."""

    reason: str
    kind = JobEvent.LAPSED


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The buyer wants it no more."""

    kind = JobEvent.CANCELLED


@dataclass(frozen=True, slots=True)
class Recovered:
    """The promise of this state was lost with its keeper, and is made again."""

    kind = JobEvent.RECOVERED


Event = (
    EvalPaid | Accepted | Begun | Declined | WorkPaid | Finished | Broke | Lapsed | Cancelled
    | Recovered
)  # fmt: skip


def eval_invoice_id(job_id: str) -> str:
    """Return the name of a job's evaluation invoice."""
    return f"{job_id}:eval"


def work_invoice_id(job_id: str) -> str:
    """Return the name of a job's work invoice."""
    return f"{job_id}:work"


def ask_invoice_id(job_id: str) -> str:
    """Return the name of the one invoice of a job with a firm price."""
    return f"{job_id}:ask"


def begin(job_id: str, eval_msat: int, max_msat: int | None) -> Decision[JobFacts]:
    """Return how a job comes to be: unpaid, with its evaluation invoice."""
    invoice = InvoiceWanted(eval_invoice_id(job_id), Purpose.EVAL, eval_msat)
    facts = JobFacts(job_id, JobState.AWAITING_EVAL_PAYMENT, eval_msat, max_msat)
    return Decision(facts, wanted=(invoice,))


def begin_asked(job_id: str, eval_msat: int, quote: Quote) -> Decision[JobFacts]:
    """Return how a job at a firm price comes to be: unpaid, with its one invoice."""
    facts = JobFacts(
        job_id, JobState.AWAITING_EVAL_PAYMENT, eval_msat, quote=quote, funding=Funding.INVOICE
    )
    invoice = InvoiceWanted(ask_invoice_id(job_id), Purpose.ASK, facts.prepaid_amount)
    return Decision(facts, wanted=(invoice,))


def begin_claimed(
    job_id: str,
    authorization: str,
    eval_msat: int,
    eval_microusdc: int,
    quote: Quote,
    account_id: str | None = None,
) -> Decision[JobFacts]:
    """Return how a job comes to be that an order in USDC is claimed for: it awaits its end."""
    facts = JobFacts(
        job_id,
        JobState.AWAITING_EVAL_PAYMENT,
        eval_msat,
        quote=quote,
        funding=Funding.X402,
        eval_microusdc=eval_microusdc,
        account_id=account_id,
        paid_by=authorization,
    )
    return Decision(facts)


def begin_reserved(
    job_id: str, session_id: str, eval_msat: int, quote: Quote
) -> Decision[JobFacts]:
    """Return how a job comes to be that a session pays for: its ceiling is set aside."""
    facts = JobFacts(
        job_id,
        JobState.EVALUATING,
        eval_msat,
        quote=quote,
        funding=Funding.SESSION,
        session_id=session_id,
    )
    entry = entries.reserved(job_id, session_id, facts.prepaid_amount)
    return Decision(facts, (entry,), (Judge(job_id),))


def verdict(facts: JobFacts, quote: Quote) -> Accepted | Begun | Declined:
    """Return what an agent's acceptance means at this price: the buyer's limit is law.

    A firm price was made for more tokens than any text of that size can have, and is kept.
    """
    if facts.funding is not Funding.INVOICES:
        return Begun()
    if facts.max_msat is None or quote.total_msat <= facts.max_msat:
        return Accepted(quote)
    asked, limit = sats_down(quote.total_msat), sats_down(facts.max_msat)
    return Declined(
        f"The work would cost up to {asked} sats, more than your maxSats of {limit}."
        " Ask again with a higher limit or a shorter request."
    )


def awaits(state: JobState, purpose: Purpose) -> EvalPaid | WorkPaid | None:
    """Return the event that a settled invoice of this purpose is to a job, None if unawaited."""
    event = WorkPaid() if purpose is Purpose.WORK else EvalPaid()
    return event if JOB.allows(state, event.kind) else None


def given_back_amount(after: JobFacts) -> int:
    """Return what a job with a firm price did not need, once it has come to its end."""
    match after.state:
        case JobState.COMPLETE:
            return after.quoted_amount - after.charged_amount
        case JobState.REJECTED:
            return after.quoted_amount
        case _:
            return after.prepaid_amount


def decide(facts: JobFacts, event: Event) -> Decision[JobFacts]:
    """Return what the event means in facts, money and promises. Raises IllegalTransition."""
    before, after = facts, replace(facts, state=_step(facts, event))
    if facts.funding is not Funding.INVOICES:
        ended = _decide_firm(after, event)
        if ended is not None:
            return ended
    match event:
        case EvalPaid() | Begun() | WorkPaid() | Recovered():
            return Decision(after, promises=(_promise_of(after),))
        case Accepted(quote):
            return _accepted(replace(after, quote=quote), quote)
        case Declined(reason):
            return _declined(before, replace(after, reason=reason))
        case Finished(text, usage, cut):
            return _finished(replace(after, result=text, truncated=cut), usage)
        case Broke(reason):
            return _broke(before, replace(after, error=reason))
        case Lapsed(reason):
            told = NOT_SETTLED if facts.funding is Funding.X402 else reason
            return Decision(replace(after, error=told), _given_away(after))
        case Cancelled():
            return Decision(
                replace(after, error=CANCELLED),
                _given_away(after),
                dropped=_open_invoices(before),
            )


def _step(facts: JobFacts, event: Event) -> JobState:
    """Return the state after an event: work that is taken is paid for, or asked to be, first."""
    funded, at_once = True, facts.funding is not Funding.INVOICES
    match event:
        case Begun():
            funded = at_once and facts.quote is not None
        case Accepted(quote):
            funded = not at_once and (facts.max_msat is None or quote.total_msat <= facts.max_msat)
    if not funded:
        raise IllegalTransition(facts.state, event.kind)
    return JOB.step(facts.state, event.kind)


def _decide_firm(after: JobFacts, event: Event) -> Decision[JobFacts] | None:
    """Return how a job with a firm price ends: one entry parts what was paid for all of it."""
    match event:
        case Declined(reason):
            return _ended(replace(after, reason=reason), Reason.NOT_NEEDED)
        case Finished(text, usage, cut):
            quote = quoted(after)
            charge = make_charge(quote, usage, quote.total_msat)
            after = replace(after, result=text, charge=charge, truncated=cut)
            return _ended(after, Reason.SURPLUS)
        case Broke(reason):
            return _ended(replace(after, error=reason), Reason.NOT_DONE)
        case _:
            return None


def _accepted(after: JobFacts, quote: Quote) -> Decision[JobFacts]:
    invoice = InvoiceWanted(work_invoice_id(after.id), Purpose.WORK, quote.total_msat)
    return Decision(
        after,
        (entries.eval_earned(after.id, after.eval_msat),),
        (CreateInvoice(invoice.id),),
        (invoice,),
    )


def _finished(after: JobFacts, usage: Usage) -> Decision[JobFacts]:
    quote = quoted(after)
    charge = make_charge(quote, usage, quote.total_msat)
    back = Owed(f"{after.id}:surplus", Reason.SURPLUS, charge.surplus_msat)
    entry = entries.work_charged(after.id, charge.total_msat, back.amount, back.id)
    owed = (back,) if back.amount else ()
    return Decision(replace(after, charge=charge), (entry,), owed=owed)


def _ended(after: JobFacts, reason: Reason) -> Decision[JobFacts]:
    back = Owed(f"{after.id}:back", reason, given_back_amount(after), after.asset)
    back_to, owed = entries.of_refund(back.id), (back,) if back.amount else ()
    balance = _balance_for(after, back.amount)
    if balance is not None:
        back_to, owed = balance, ()
    fee = 0 if after.state is JobState.FAILED else after.eval_amount
    charge = after.prepaid_amount - fee - back.amount
    entry = entries.prepaid_ended(after.id, fee, charge, back.amount, back_to, after.asset)
    return Decision(after, (entry, *_given_away(after)), owed=owed)


def _balance_for(after: JobFacts, back: int) -> Account | None:
    """Return whose balance has what a job did not need; None: it is owed to whoever paid."""
    if after.session_id is not None:
        return entries.of_session(after.session_id)
    is_little = after.asset is Asset.MICROUSDC and back < LEAST_REFUND_MICROUSDC
    return entries.of_user(after.account_id) if is_little and after.account_id else None


def _given_away(after: JobFacts) -> tuple[entries.Entry, ...]:
    """Return what the house has paid its models for a job that nobody pays for in the end."""
    if after.state is not JobState.FAILED or not after.spent_msat:
        return ()
    return (entries.work_failed(after.id, after.spent_msat),)


def _declined(before: JobFacts, after: JobFacts) -> Decision[JobFacts]:
    if before.state is JobState.EVALUATING:
        return Decision(after, (entries.eval_earned(after.id, after.eval_msat),))
    back = Owed(f"{after.id}:undone", Reason.NOT_DONE, quoted(before).total_msat)
    entry = entries.owed_back(entries.of_job(after.id), back.amount, back.id)
    return Decision(after, (entry,), owed=(back,))


def _broke(before: JobFacts, after: JobFacts) -> Decision[JobFacts]:
    if before.state is JobState.EVALUATING:
        back = Owed(f"{after.id}:unjudged", Reason.NOT_EVALUATED, before.eval_msat)
    else:
        back = Owed(f"{after.id}:undone", Reason.NOT_DONE, quoted(before).total_msat)
    entry = entries.owed_back(entries.of_job(after.id), back.amount, back.id)
    return Decision(after, (entry, *_given_away(after)), owed=(back,))


def _open_invoices(facts: JobFacts) -> tuple[str, ...]:
    if facts.funding is Funding.X402:
        return ()
    if facts.funding is Funding.INVOICE:
        return (ask_invoice_id(facts.id),)
    if facts.state is JobState.AWAITING_EVAL_PAYMENT:
        return (eval_invoice_id(facts.id),)
    return (work_invoice_id(facts.id),)


def _promise_of(facts: JobFacts) -> Promise:
    match facts.state:
        case JobState.EVALUATING:
            return Judge(facts.id)
        case JobState.EXECUTING:
            return Work(facts.id)
        case _:
            return CreateInvoice(work_invoice_id(facts.id))
