"""Every cell of every machine: the legal ones by what they decide, the others by raising."""

from dataclasses import replace
from enum import StrEnum
from typing import Any

import pytest

from pricing.rates import Usage
from statemachine import invoice, job, payout
from statemachine.entries import Kind, of_job
from statemachine.invoice import INVOICE, InvoiceFacts, InvoiceState
from statemachine.job import JOB, JobFacts, JobState
from statemachine.machine import IllegalTransition, Machine
from statemachine.payout import PAYOUT, PayoutFacts, PayoutState
from statemachine.promises import CreateInvoice, FetchInvoice, Judge, PayInvoice, Work, pause_s
from tests.law_facts import JOB_EVENTS, QUOTE, held

INVOICE_EVENTS: dict[StrEnum, invoice.Event] = {
    invoice.InvoiceEvent.OPENED: invoice.Opened("h" * 64),
    invoice.InvoiceEvent.PAID: invoice.Paid(5_000, awaited=True),
    invoice.InvoiceEvent.LAPSED: invoice.Lapsed(),
    invoice.InvoiceEvent.DROPPED: invoice.Dropped(),
}
PAYOUT_EVENTS: dict[StrEnum, payout.Event] = {
    payout.PayoutEvent.SENT: payout.Sent(),
    payout.PayoutEvent.SETTLED: payout.Settled(7),
    payout.PayoutEvent.RETURNED: payout.Returned(),
    payout.PayoutEvent.REFUSED: payout.Refused(),
    payout.PayoutEvent.REDIRECTED: payout.Redirected("you@example.org"),
}


def job_in(state: JobState) -> JobFacts:
    """Return a job as it may stand in a state."""
    return JobFacts("j", state, eval_msat=5_000, quote=QUOTE)


def invoice_in(state: InvoiceState) -> InvoiceFacts:
    """Return an invoice as it may stand in a state."""
    return InvoiceFacts("j:eval", of_job("j"), state, 5_000, "h" * 64)


def payout_in(state: PayoutState) -> PayoutFacts:
    """Return a payout as it may stand in a state."""
    return PayoutFacts("j:surplus", state, 3_000, attempts=1)


CELLS: list[tuple[Machine[Any, Any], Any, Any, Any]] = [
    *[(JOB, job.decide, job_in(s), e) for s in JobState for e in JOB_EVENTS.values()],
    *[(INVOICE, invoice.decide, invoice_in(s), e) for s in InvoiceState
      for e in INVOICE_EVENTS.values()],
    *[(PAYOUT, payout.decide, payout_in(s), e) for s in PayoutState
      for e in PAYOUT_EVENTS.values()],
]  # fmt: skip


@pytest.mark.parametrize(
    ("machine", "decide", "facts", "event"),
    CELLS,
    ids=[f"{m.name}-{f.state}-{e.kind}" for m, _, f, e in CELLS],
)
def test_every_cell_is_decided_by_its_table(
    machine: Machine[Any, Any], decide: Any, facts: Any, event: Any
) -> None:
    """A legal cell leads where its table says; any other raises and changes nothing."""
    arcs = {(s, e): t for e, s, t in machine.arcs}
    target = arcs.get((facts.state, event.kind))
    before = replace(facts)
    if target is None:
        assert not machine.allows(facts.state, event.kind)
        with pytest.raises(IllegalTransition):
            decide(facts, event)
    else:
        decision = decide(facts, event)
        assert decision.facts.state is target
        for entry in decision.entries:
            assert sum(posting.amount for posting in entry.postings) == 0
    assert facts == before


def test_every_event_of_the_law_is_in_the_matrix() -> None:
    """No event escapes the matrix above."""
    assert set(JOB_EVENTS) == set(job.JobEvent)
    assert set(INVOICE_EVENTS) == set(invoice.InvoiceEvent)
    assert set(PAYOUT_EVENTS) == set(payout.PayoutEvent)


@pytest.mark.parametrize(
    ("machine", "finals"),
    [
        (JOB, {"rejected", "complete", "failed"}),
        (INVOICE, {"settled"}),
        (PAYOUT, {"paid"}),
    ],
)
def test_final_states_are_empty_rows(machine: Machine[Any, Any], finals: set[str]) -> None:
    """Nothing leads out of a final state."""
    assert {state.value for state in machine.states if machine.final(state)} == finals


def test_a_table_is_a_function() -> None:
    """Two arcs for one state and event are refused at construction."""
    with pytest.raises(ValueError, match="two arcs"):
        Machine("m", PayoutState, payout.PayoutEvent, [PAYOUT.arcs[0], PAYOUT.arcs[0]])


def test_a_job_begins_by_wanting_its_evaluation_invoice() -> None:
    """A new job wants one invoice, and promises to have it made."""
    decision = job.begin("j", 5_000, None)
    assert [(w.id, w.amount_msat) for w in decision.wanted] == [("j:eval", 5_000)]
    assert decision.promises == (CreateInvoice("j:eval"),)


def test_a_paid_evaluation_is_promised_to_an_agent() -> None:
    """EVAL_PAID stages Judge and moves no money: the invoice's own entry did."""
    decision = job.decide(job_in(JobState.AWAITING_EVAL_PAYMENT), job.EvalPaid())
    assert decision.promises == (Judge("j"),)
    assert decision.entries == ()


def test_an_acceptance_earns_the_fee_and_wants_the_work_invoice() -> None:
    """ACCEPTED books the eval fee as revenue and wants an invoice of exactly the quote."""
    decision = job.decide(job_in(JobState.EVALUATING), job.Accepted(QUOTE))
    assert held(decision, "revenue:eval") == 5_000
    assert held(decision, "job:j") == -5_000
    assert [(w.id, w.amount_msat) for w in decision.wanted] == [("j:work", QUOTE.total_msat)]
    assert decision.promises == (CreateInvoice("j:work"),)


def test_a_decline_earns_the_fee_and_owes_nothing() -> None:
    """DECLINED keeps the fee, tells the reason, promises nothing."""
    decision = job.decide(job_in(JobState.EVALUATING), job.Declined("no"))
    assert held(decision, "revenue:eval") == 5_000
    assert decision.facts.reason == "no"
    assert (decision.promises, decision.wanted, decision.owed) == ((), (), ())


def test_an_evaluation_that_broke_owes_its_fee_back() -> None:
    """BROKE while evaluating moves the whole fee to a payout."""
    decision = job.decide(job_in(JobState.EVALUATING), job.Broke("x"))
    assert [(o.id, o.amount_msat) for o in decision.owed] == [("j:unjudged", 5_000)]
    assert held(decision, "refund:j:unjudged") == 5_000
    assert held(decision, "job:j") == -5_000


def test_paid_work_is_promised_to_an_agent() -> None:
    """WORK_PAID stages Work."""
    decision = job.decide(job_in(JobState.AWAITING_WORK_PAYMENT), job.WorkPaid())
    assert decision.promises == (Work("j"),)


def test_finished_work_is_charged_its_cost_and_the_rest_is_owed_back() -> None:
    """FINISHED splits the payment into the charge and the surplus, to the msat."""
    decision = job.decide(job_in(JobState.EXECUTING), job.Finished("text", Usage(10, 20)))
    charge = decision.facts.charge
    assert charge is not None
    assert charge.total_msat + charge.surplus_msat == QUOTE.total_msat
    assert held(decision, "revenue:work") == charge.total_msat
    assert held(decision, "refund:j:surplus") == charge.surplus_msat > 0
    assert decision.facts.result == "text"


def test_work_that_used_its_whole_quote_owes_nothing_back() -> None:
    """Without a surplus there is no payout, and no empty posting."""
    event = job.Finished("text", Usage(10**6, 10**6))
    decision = job.decide(job_in(JobState.EXECUTING), event)
    assert decision.owed == ()
    assert held(decision, "revenue:work") == QUOTE.total_msat


def test_work_that_broke_owes_its_whole_payment_back() -> None:
    """BROKE while executing moves the whole work payment to a payout."""
    decision = job.decide(job_in(JobState.EXECUTING), job.Broke("x"))
    assert [(o.id, o.amount_msat) for o in decision.owed] == [("j:undone", QUOTE.total_msat)]
    assert decision.facts.error == "x"


@pytest.mark.parametrize(
    ("state", "dropped"),
    [
        (JobState.AWAITING_EVAL_PAYMENT, "j:eval"),
        (JobState.AWAITING_WORK_PAYMENT, "j:work"),
    ],
)
def test_a_cancelled_job_drops_its_open_invoice(state: JobState, dropped: str) -> None:
    """CANCELLED moves no money, and nobody is asked to pay any more."""
    decision = job.decide(job_in(state), job.Cancelled())
    assert decision.dropped == (dropped,)
    assert decision.entries == ()


@pytest.mark.parametrize(
    ("state", "promise"),
    [
        (JobState.AWAITING_EVAL_PAYMENT, CreateInvoice("j:eval")),
        (JobState.EVALUATING, Judge("j")),
        (JobState.AWAITING_WORK_PAYMENT, CreateInvoice("j:work")),
        (JobState.EXECUTING, Work("j")),
    ],
)
def test_a_recovered_job_makes_its_promise_again(state: JobState, promise: object) -> None:
    """RECOVERED changes nothing but stages the promise of the state under the same key."""
    decision = job.decide(job_in(state), job.Recovered())
    assert decision.promises == (promise,)
    assert decision.facts == job_in(state)
    assert decision.entries == ()


def test_an_acceptance_above_the_buyers_limit_is_a_decline() -> None:
    """The limit is compared with the quote, to the msat."""
    facts = replace(job_in(JobState.EVALUATING), max_msat=QUOTE.total_msat)
    assert job.verdict(facts, QUOTE) == job.Accepted(QUOTE)
    below = replace(facts, max_msat=QUOTE.total_msat - 1_000)
    assert isinstance(job.verdict(below, QUOTE), job.Declined)


def test_an_awaited_payment_rests_with_its_job() -> None:
    """PAID credits the job with the invoice's amount."""
    decision = invoice.decide(invoice_in(InvoiceState.OPEN), invoice.Paid(5_000, awaited=True))
    assert held(decision, "rail:lightning") == held(decision, "job:j") == 5_000
    assert decision.owed == ()


def test_an_overpayment_is_owed_back_at_once() -> None:
    """What came above the invoice's amount is a payout of its own."""
    decision = invoice.decide(invoice_in(InvoiceState.OPEN), invoice.Paid(5_700, awaited=True))
    assert held(decision, "job:j") == 5_000
    assert [(o.reason, o.amount_msat) for o in decision.owed] == [("overpaid", 700)]


@pytest.mark.parametrize("state", [InvoiceState.EXPIRED, InvoiceState.CANCELED])
def test_a_late_payment_is_owed_back_whole(state: InvoiceState) -> None:
    """Money for an invoice that nobody awaits belongs to its payer."""
    decision = invoice.decide(invoice_in(state), invoice.Paid(5_000, awaited=False))
    assert [(o.reason, o.amount_msat) for o in decision.owed] == [("unawaited", 5_000)]
    assert held(decision, "job:j") == 0
    assert held(decision, "rail:lightning") == 5_000


def test_a_payment_below_the_amount_is_refused() -> None:
    """A rail that settles an invoice below its amount is not believed."""
    with pytest.raises(ValueError, match="below"):
        invoice.decide(invoice_in(InvoiceState.OPEN), invoice.Paid(4_999, awaited=True))


def test_a_sent_payout_is_promised_and_out_of_reach() -> None:
    """SENT moves the money to sending, and stages one pay call, numbered."""
    decision = payout.decide(payout_in(PayoutState.OWED), payout.Sent())
    assert held(decision, "refund:j:surplus") == -3_000
    assert held(decision, "sending:j:surplus") == 3_000
    assert decision.promises == (PayInvoice("j:surplus", 2),)


def test_a_settled_payout_leaves_the_rail_with_its_fee() -> None:
    """SETTLED books the routing fee as our expense, never the payee's."""
    decision = payout.decide(payout_in(PayoutState.IN_FLIGHT), payout.Settled(7))
    assert held(decision, "sending:j:surplus") == -3_000
    assert held(decision, "expense:routing") == 7
    assert held(decision, "rail:lightning") == -3_007


def test_a_returned_payout_is_owed_again() -> None:
    """RETURNED gives the money back to its owner's name."""
    decision = payout.decide(payout_in(PayoutState.IN_FLIGHT), payout.Returned())
    assert held(decision, "refund:j:surplus") == 3_000
    assert held(decision, "sending:j:surplus") == -3_000


@pytest.mark.parametrize(("failures", "tried"), [(0, True), (1, True), (2, False)])
def test_a_destination_is_tried_three_times(failures: int, tried: bool) -> None:
    """After a failure the next try is promised, after the third a person is asked."""
    facts = replace(payout_in(PayoutState.IN_FLIGHT), refund_to="you@x.org", failures=failures)
    for before, event in (
        (facts, payout.Returned()),
        (replace(facts, state=PayoutState.OWED), payout.Refused()),
    ):
        decision = payout.decide(before, event)
        assert decision.promises == ((FetchInvoice(facts.id, failures + 1),) if tried else ())
        assert decision.facts.needs_destination is not tried


def test_a_payout_without_a_destination_waits_for_one() -> None:
    """Nothing is promised until somebody names where the money should go."""
    facts = replace(payout_in(PayoutState.OWED), attempts=0)
    assert payout.begin(facts).promises == ()
    assert facts.needs_destination
    begun = payout.begin(replace(facts, refund_to="you@x.org"))
    assert begun.promises == (FetchInvoice(facts.id, 0),)
    redirected = payout.decide(facts, payout.Redirected("me@x.org"))
    assert redirected.promises == (FetchInvoice(facts.id, 0),)
    assert redirected.facts.refund_to == "me@x.org"


def test_pauses_between_tries_grow() -> None:
    """The first try is at once, later ones wait longer; other promises never wait."""
    pauses = [pause_s(FetchInvoice("p", n)) for n in range(5)]
    assert pauses == sorted(pauses) and pauses[0] == 0 and pauses[1] > 0
    assert pause_s(Judge("j")) == 0


def test_balances_are_told_in_their_natural_sign() -> None:
    """Debits add to assets and expenses, credits to liabilities and income."""
    assert [kind.sign for kind in Kind] == [1, -1, -1, 1]
