"""What the law says beyond its stories: ends, limits and counts, over many figures."""

from dataclasses import replace
from typing import Any

import pytest

from pricing.rates import Usage
from statemachine import job, payout
from statemachine.entries import Kind
from statemachine.invoice import INVOICE
from statemachine.job import JOB, JobState
from statemachine.machine import Machine
from statemachine.payout import PAYOUT, PayoutState
from statemachine.promises import FetchInvoice, Judge, pause_s
from tests.world.law_facts import QUOTE, held, job_in, payout_in


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


def test_finished_work_is_charged_its_cost_and_the_rest_is_owed_back() -> None:
    """FINISHED splits the payment into the charge and the surplus, to the msat."""
    decision = job.decide(job_in(JobState.EXECUTING), job.Finished("text", Usage(10, 20)))
    charge = decision.facts.charge
    assert charge is not None
    assert charge.total_msat + charge.surplus_msat == QUOTE.total_msat
    assert held(decision, "revenue:work") == charge.total_msat
    assert held(decision, "refund:j:surplus") == charge.surplus_msat > 0
    assert decision.facts.result == "text"


def test_an_acceptance_above_the_buyers_limit_is_a_decline() -> None:
    """The limit is compared with the quote, to the msat."""
    facts = replace(job_in(JobState.EVALUATING), max_msat=QUOTE.total_msat)
    assert job.verdict(facts, QUOTE) == job.Accepted(QUOTE)
    below = replace(facts, max_msat=QUOTE.total_msat - 1_000)
    assert isinstance(job.verdict(below, QUOTE), job.Declined)


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


def test_pauses_between_tries_grow() -> None:
    """The first try is at once, later ones wait longer; other promises never wait."""
    pauses = [pause_s(FetchInvoice("p", n)) for n in range(5)]
    assert pauses == sorted(pauses) and pauses[0] == 0 and pauses[1] > 0
    assert pause_s(Judge("j")) == 0


def test_balances_are_told_in_their_natural_sign() -> None:
    """Debits add to assets and expenses, credits to liabilities and income."""
    assert [kind.sign for kind in Kind] == [1, -1, -1, 1]
