"""Sessions, holds and firm prices: what the law says beyond its stories, over many figures."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.money import Msat
from pricing.rates import Usage
from statemachine import hold, job, session
from statemachine.batch import LEAST_REFUND_MICROUSDC
from statemachine.decision import Decision
from statemachine.hold import HOLD, HoldFacts, HoldState
from statemachine.job import Funding, JobFacts, JobState
from statemachine.machine import IllegalTransition
from statemachine.owner import Owner, OwnerKind, named
from statemachine.session import SESSION, SessionFacts, SessionState
from tests.world.law_facts import QUOTE, held

FIRM = {Funding.INVOICE: None, Funding.SESSION: "s", Funding.X402: None}
PREPAID = 5_000 + QUOTE.total_msat
PREPAID_USDC = 20_000 + QUOTE.charge_microusd


def session_in(state: SessionState, **more: Any) -> SessionFacts:
    """Return a session as it may stand in a state."""
    facts = SessionFacts("s", state, 200_000, minimum_msat=50_000, reserved_msat=9_000)
    return replace(facts, **more)


def hold_in(state: HoldState) -> HoldFacts:
    """Return a hold as it may stand in a state."""
    return HoldFacts("h", state, 3_000, "s")


def firm_in(state: JobState, funding: Funding) -> JobFacts:
    """Return a job at a firm price as it may stand in a state."""
    return JobFacts(
        "j",
        state,
        eval_msat=5_000,
        quote=QUOTE,
        funding=funding,
        session_id=FIRM[funding],
        eval_microusdc=20_000 if funding is Funding.X402 else 0,
        account_id="a" if funding is Funding.X402 else None,
    )


def test_final_states() -> None:
    """A hold that has ended is over. A session that is over still hears what requests give back."""
    assert {state for state in HoldState if HOLD.final(state)} == {
        HoldState.CHARGED,
        HoldState.DROPPED,
    }
    over = [(e, t) for e, s, t in SESSION.arcs if s is SessionState.EXPIRED]
    assert over == [(session.SessionEvent.RELEASED, SessionState.EXPIRED)]


# ---------------------------------------------------------------------------------- sessions


@pytest.mark.parametrize(
    ("balance_msat", "reserved_msat", "state"),
    [
        (49_000, 3_000, SessionState.ACTIVE),
        (48_999, 3_000, SessionState.PAUSED),
        (0, 51_999, SessionState.PAUSED),
        (0, 52_000, SessionState.ACTIVE),
    ],
)
@pytest.mark.parametrize("before", [SessionState.ACTIVE, SessionState.PAUSED])
def test_a_session_pauses_below_its_minimum(
    before: SessionState, balance_msat: int, reserved_msat: int, state: SessionState
) -> None:
    """What is set aside counts, and what a request gives back may resume it."""
    facts = session_in(before, balance_msat=balance_msat, reserved_msat=reserved_msat)
    assert session.decide(facts, session.Released(3_000, 1_000)).facts.state is state


SUMS = st.integers(0, 12)
ANY_SESSION = st.builds(
    SessionFacts,
    id=st.just("s"),
    state=st.sampled_from(SessionState),
    balance_msat=SUMS,
    minimum_msat=SUMS,
    reserved_msat=SUMS,
    topups=st.just(1),
)
SUM_EVENTS = st.builds(session.Reserved, SUMS) | st.builds(
    lambda amount, back: session.Released(amount, min(amount, back)), SUMS, SUMS
)


@given(ANY_SESSION, SUM_EVENTS)
def test_grounds_are_what_it_takes_to_move_two_sums_and_no_more(
    facts: SessionFacts, event: session.Reserved | session.Released
) -> None:
    """Where they are met, an active session stays as it is but for those; and nowhere else."""
    grounds = session.grounds(event)
    moved = Decision(
        replace(
            facts,
            balance_msat=facts.balance_msat + grounds.balance_by_msat,
            reserved_msat=facts.reserved_msat + grounds.reserved_by_msat,
        )
    )
    try:
        decision = session.decide(facts, event)
    except (IllegalTransition, session.Short):
        assert not grounds.are_met(facts)
    else:
        stays = facts.state is SessionState.ACTIVE and decision == moved
        assert grounds.are_met(facts) == stays


def test_names_tell_sessions_from_jobs() -> None:
    """An invoice or a payout of a session is known by what stands behind its id."""
    for name in ("s:deposit", "s:topup3", "s:rest1", "s:deposit:overpaid", "s:topup1:unawaited"):
        assert named(name).owner == Owner(OwnerKind.SESSION, "s")
    for name in ("j:eval", "j:work", "j:ask", "j:surplus", "j:back", "j:eval:overpaid"):
        assert named(name).owner == Owner(OwnerKind.JOB, "j")
    with pytest.raises(ValueError, match="names nothing"):
        named("x:unheard")


# --------------------------------------------------------------------------- holds, firm prices


@pytest.mark.parametrize(("cost", "charged"), [(0, 0), (1, 1), (2_999, 2_999), (3_000, 3_000),
                                               (9_000, 3_000)])  # fmt: skip
def test_a_hold_is_charged_what_it_cost(cost: int, charged: int) -> None:
    """Never more than was held; the rest goes back to where it came from."""
    decision = hold.decide(hold_in(HoldState.HELD), hold.Used(cost))
    assert decision.facts.charge_msat == held(decision, "revenue:work") == charged
    assert held(decision, "session:s") == 3_000 - charged
    assert held(decision, "hold:h") == -3_000


ENDS: list[tuple[JobState, job.Event]] = [
    (JobState.EVALUATING, job.Declined("no")),
    (JobState.EVALUATING, job.Broke("x")),
    (JobState.EXECUTING, job.Broke("x")),
    (JobState.EXECUTING, job.Finished("text", Usage(10, 20))),
    (JobState.EXECUTING, job.Finished("text", Usage(0, 0))),
    (JobState.EXECUTING, job.Finished("text", Usage(10**6, 10**6))),
]


@pytest.mark.parametrize("funding", FIRM)
@pytest.mark.parametrize(("state", "event"), ENDS)
def test_what_was_paid_for_a_firm_price_is_earned_or_goes_back(
    funding: Funding, state: JobState, event: job.Event
) -> None:
    """Rejected: the evaluation is earned; complete: and the charge; failed: nothing. Each in what
    was paid, and less than a cent of USDC is on a balance."""
    decision = job.decide(firm_in(state, funding), event)
    facts, in_usdc = decision.facts, funding is Funding.X402
    back = job.given_back_amount(facts)
    to_balance = in_usdc and back < LEAST_REFUND_MICROUSDC
    back_to = "session:s" if funding is Funding.SESSION else "refund:j:back"
    back_to = "user:a" if to_balance else back_to
    evaluation, work = held(decision, "revenue:eval"), held(decision, "revenue:work")
    prepaid = PREPAID_USDC if in_usdc else PREPAID
    assert held(decision, "job:j") == -prepaid and back + evaluation + work == prepaid
    assert held(decision, back_to) == back
    fee = 20_000 if in_usdc else 5_000
    assert evaluation == (0 if facts.state is JobState.FAILED else fee)
    most = QUOTE.charge_microusd if in_usdc else QUOTE.total_msat
    assert work == facts.charged_amount <= most
    if facts.charge is not None:
        said = facts.charge.charge_microusd if in_usdc else facts.charge.total_msat
        assert work == min(said, most)
    owed = [(o.id, o.amount, o.asset) for o in decision.owed]
    is_owed = back and funding is not Funding.SESSION and not to_balance
    assert owed == ([("j:back", back, facts.asset)] if is_owed else [])
    [entry] = [entry for entry in decision.entries if entry.key == "job:j:ended"]
    assert entry.asset is facts.asset
    assert decision.wanted == () and decision.promises == ()


@pytest.mark.parametrize("funding", FIRM)
def test_a_firm_price_is_kept(funding: Funding) -> None:
    """Whatever an agent's own quote would be: no second price is made."""
    facts = replace(firm_in(JobState.EVALUATING, funding), max_msat=1)
    assert job.verdict(facts, replace(QUOTE, total_msat=Msat(QUOTE.total_msat * 9))) == job.Begun()
