"""Sessions, holds and firm prices: every cell of their machines, and what each means in money."""

from dataclasses import replace
from enum import StrEnum
from typing import Any

import pytest

from pricing.money import Msat
from pricing.rates import Usage
from statemachine import hold, job, session
from statemachine.hold import HOLD, HoldFacts, HoldState
from statemachine.job import JOB, Funding, JobFacts, JobState
from statemachine.machine import IllegalTransition, Machine
from statemachine.promises import CreateInvoice, Judge, Work
from statemachine.session import SESSION, SessionFacts, SessionState
from tests.law_facts import JOB_EVENTS, QUOTE, held

SESSION_EVENTS: dict[StrEnum, session.Event] = {
    session.SessionEvent.DEPOSITED: session.Deposited(),
    session.SessionEvent.TOPPED_UP: session.ToppedUp(),
    session.SessionEvent.RESERVED: session.Reserved(3_000),
    session.SessionEvent.RELEASED: session.Released(3_000, 1_000),
    session.SessionEvent.CLOSED: session.Closed(),
    session.SessionEvent.IDLED: session.Idled(),
    session.SessionEvent.LAPSED: session.Lapsed(),
}
HOLD_EVENTS: dict[StrEnum, hold.Event] = {
    hold.HoldEvent.USED: hold.Used(2_000),
    hold.HoldEvent.LET_GO: hold.LetGo(),
}
FIRM = {Funding.INVOICE: None, Funding.SESSION: "s"}
PREPAID = 5_000 + QUOTE.total_msat


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
        "j", state, eval_msat=5_000, quote=QUOTE, funding=funding, session_id=FIRM[funding]
    )


CELLS: list[tuple[Machine[Any, Any], Any, Any, Any]] = [
    *[(SESSION, session.decide, session_in(s), e) for s in SessionState
      for e in SESSION_EVENTS.values()],
    *[(HOLD, hold.decide, hold_in(s), e) for s in HoldState for e in HOLD_EVENTS.values()],
    *[(JOB, job.decide, firm_in(s, f), e) for f in FIRM for s in JobState
      for e in JOB_EVENTS.values()],
]  # fmt: skip


@pytest.mark.parametrize(
    ("machine", "decide", "facts", "event"),
    CELLS,
    ids=[f"{m.name}-{getattr(f, 'funding', '')}-{f.state}-{e.kind}" for m, _, f, e in CELLS],
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
    """All but RUN_LOW, which nobody tells a session: it is what a release comes to."""
    assert set(SESSION_EVENTS) == set(session.SessionEvent) - {session.SessionEvent.RUN_LOW}
    assert set(HOLD_EVENTS) == set(hold.HoldEvent)


def test_final_states() -> None:
    """A hold that has ended is over. A session that is over still hears what requests give back."""
    assert {state for state in HoldState if HOLD.final(state)} == {
        HoldState.CHARGED,
        HoldState.DROPPED,
    }
    over = [(e, t) for e, s, t in SESSION.arcs if s is SessionState.EXPIRED]
    assert over == [(session.SessionEvent.RELEASED, SessionState.EXPIRED)]


# ---------------------------------------------------------------------------------- sessions


def test_a_session_begins_by_wanting_its_deposit() -> None:
    """Empty, with one invoice wanted, and promised to be made."""
    decision = session.begin("s", 100_000, 50_000)
    assert [(w.id, w.amount_msat) for w in decision.wanted] == [("s:deposit", 100_000)]
    assert decision.promises == (CreateInvoice("s:deposit"),)
    assert decision.entries == () and decision.facts.balance_msat == 0


def test_each_topup_has_a_name_of_its_own() -> None:
    """Asking for one moves no money, and counts it."""
    first = session.ask_topup(session_in(SessionState.ACTIVE), 7_000)
    second = session.ask_topup(first.facts, 8_000)
    assert [d.wanted[0].id for d in (first, second)] == ["s:topup1", "s:topup2"]
    assert first.entries == () and second.wanted[0].amount_msat == 8_000


def test_more_than_the_balance_is_not_set_aside() -> None:
    """To the msat."""
    facts = session_in(SessionState.ACTIVE, balance_msat=3_000)
    after = session.decide(facts, session.Reserved(3_000)).facts
    assert (after.balance_msat, after.reserved_msat) == (0, 12_000)
    with pytest.raises(session.Short):
        session.decide(facts, session.Reserved(3_001))


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


@pytest.mark.parametrize("event", [session.Closed(), session.Idled()])
@pytest.mark.parametrize("state", [SessionState.ACTIVE, SessionState.PAUSED])
def test_the_end_of_a_session_owes_its_rest_back(state: SessionState, event: session.Event) -> None:
    """All of the balance, and nothing of what is set aside; a pending top-up is dropped."""
    decision = session.decide(session_in(state, topups=2), event)
    assert [(o.id, o.reason, o.amount_msat) for o in decision.owed] == [
        ("s:rest1", "unspent", 200_000)
    ]
    assert held(decision, "session:s") == -200_000 and held(decision, "refund:s:rest1") == 200_000
    assert decision.facts.balance_msat == 0 and decision.facts.reserved_msat == 9_000
    assert decision.dropped == ("s:topup2",)


def test_what_comes_back_after_the_end_is_owed_back_too() -> None:
    """All of it at once, when the last request has ended; nothing is owed of nothing."""
    facts = session_in(SessionState.EXPIRED, balance_msat=0, rests=1)
    waits = session.decide(facts, session.Released(3_000, 1_000))
    assert (waits.owed, waits.entries) == ((), ()) and waits.facts.balance_msat == 1_000
    back = session.decide(waits.facts, session.Released(6_000, 500))
    assert [(o.id, o.amount_msat) for o in back.owed] == [("s:rest2", 1_500)]
    assert back.facts.balance_msat == back.facts.reserved_msat == 0
    none = session.decide(facts, session.Released(9_000, 0))
    assert (none.owed, none.entries) == ((), ())


def test_what_was_not_paid_leaves_nothing_behind() -> None:
    """A session without its deposit ends without a word about money."""
    facts = SessionFacts("s", SessionState.AWAITING_PAYMENT, 0, 50_000)
    closed, lapsed = (session.decide(facts, e) for e in (session.Closed(), session.Lapsed()))
    for none in (closed, lapsed):
        assert (none.owed, none.entries) == ((), ())
    assert closed.dropped == ("s:deposit",)


def test_names_tell_sessions_from_jobs() -> None:
    """An invoice or a payout of a session is known by what stands behind its id."""
    for name in ("s:deposit", "s:topup3", "s:rest1", "s:deposit:overpaid", "s:topup1:unawaited"):
        assert session.owns(name)
    for name in ("j:eval", "j:work", "j:ask", "j:surplus", "j:back", "j:eval:overpaid"):
        assert not session.owns(name)


# --------------------------------------------------------------------------- holds, firm prices


@pytest.mark.parametrize(("cost", "charged"), [(0, 0), (1, 1), (2_999, 2_999), (3_000, 3_000),
                                               (9_000, 3_000)])  # fmt: skip
def test_a_hold_is_charged_what_it_cost(cost: int, charged: int) -> None:
    """Never more than was held; the rest goes back to where it came from."""
    decision = hold.decide(hold_in(HoldState.HELD), hold.Used(cost))
    assert decision.facts.charge_msat == held(decision, "revenue:work") == charged
    assert held(decision, "session:s") == 3_000 - charged
    assert held(decision, "hold:h") == -3_000


def test_a_free_hold_is_the_houses() -> None:
    """What it costs the house pays itself, and what it does not is no expense any more."""
    begun = hold.begin("h", 3_000, None)
    assert held(begun, "expense:free") == held(begun, "hold:h") == 3_000
    ended = hold.decide(begun.facts, hold.Used(2_000))
    assert held(ended, "expense:free") == -1_000 and held(ended, "revenue:free") == 2_000


def test_a_hold_that_is_let_go_costs_nothing() -> None:
    """All of it goes back."""
    decision = hold.decide(hold_in(HoldState.HELD), hold.LetGo())
    assert held(decision, "session:s") == 3_000 and decision.facts.charge_msat == 0


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
    """Rejected: the evaluation is earned; complete: and the charge; failed: nothing."""
    decision = job.decide(firm_in(state, funding), event)
    back_to = "session:s" if funding is Funding.SESSION else "refund:j:back"
    back, evaluation = held(decision, back_to), held(decision, "revenue:eval")
    work = held(decision, "revenue:work")
    assert held(decision, "job:j") == -PREPAID and back + evaluation + work == PREPAID
    assert back == job.given_back_msat(decision.facts)
    assert evaluation == (0 if decision.facts.state is JobState.FAILED else 5_000)
    charge = decision.facts.charge
    assert work == (charge.total_msat if charge else 0) <= QUOTE.total_msat
    owed = [(o.id, o.amount_msat) for o in decision.owed]
    assert owed == ([("j:back", back)] if back and funding is Funding.INVOICE else [])
    assert (decision.wanted, decision.promises) == ((), ())


def test_a_firm_price_is_asked_for_with_one_invoice() -> None:
    """Of evaluation and work together; cancelled, it is dropped."""
    begun = job.begin_asked("j", 5_000, QUOTE)
    assert [(w.id, w.purpose, w.amount_msat) for w in begun.wanted] == [("j:ask", "ask", PREPAID)]
    assert job.decide(begun.facts, job.Cancelled()).dropped == ("j:ask",)
    assert job.decide(begun.facts, job.EvalPaid()).promises == (Judge("j"),)
    assert job.decide(begun.facts, job.Recovered()).promises == (CreateInvoice("j:ask"),)


def test_a_session_sets_a_ceiling_aside() -> None:
    """The job begins paid, and is judged."""
    begun = job.begin_reserved("j", "s", 5_000, QUOTE)
    assert held(begun, "session:s") == -PREPAID and held(begun, "job:j") == PREPAID
    assert begun.promises == (Judge("j"),) and begun.facts.state is JobState.EVALUATING
    assert job.decide(begun.facts, job.Begun()).promises == (Work("j"),)


@pytest.mark.parametrize("funding", FIRM)
def test_a_firm_price_is_kept(funding: Funding) -> None:
    """Whatever an agent's own quote would be: no second price is made."""
    facts = replace(firm_in(JobState.EVALUATING, funding), max_msat=1)
    assert job.verdict(facts, replace(QUOTE, total_msat=Msat(QUOTE.total_msat * 9))) == job.Begun()
