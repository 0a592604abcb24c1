"""Canaries, what is forfeited and who has it, over many figures."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine import amends, canary, worker
from statemachine.amends import Charge
from statemachine.canary import EVERY_NEW, PASSES_PCT, Failed, Passed, Voided
from statemachine.entries import Asset
from statemachine.reputation import AT_ONCE, AT_ONCE_NEW, MEASURED, at_once, reputation_of
from statemachine.worker import CanaryFailed, Delivered, Holds, Pay, WorkerFacts, WorkerState
from tests.world.law_facts import held

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NEW = WorkerFacts("w", "c", WorkerState.ONLINE, NOON)
ASSETS = st.sampled_from(Asset)
BITS = st.integers(1, 2**256 - 1)
CHARGES = st.lists(st.tuples(st.integers(1, 10**7), st.sampled_from(Holds)), max_size=20)


@given(ASSETS, CHARGES, st.integers(0, 10**7))
def test_a_buyer_has_back_what_nobody_keeps(
    asset: Asset, items: list[tuple[int, Holds]], more: int
) -> None:
    """Of each item what its worker forfeits, and the house's own part: all of its charge before the
    worker has passed a canary, and never more than that less what is the worker's for good. What
    was forfeited is used up before the house adds of its own. In bitcoin it is whole sats.
    """
    charges, pot, own = [], more, 0
    for place, (charge, holds) in enumerate(items):
        free, back = Pay("w", "c", 70, holds).of(charge)
        charges.append(Charge(f"b{place}", back, charge - free - back))
        pot, own = pot + back, own + charge - free - back
    shares = amends.shared(pot, asset, charges)
    unit = 1_000 if asset is Asset.MSAT else 1
    due = {each.batch_id: (each.held + each.own) // unit * unit for each in charges}
    assert {each.batch_id: each.amount for each in shares.each} == {
        k: v for k, v in due.items() if v
    }
    for (charge, holds), amount in zip(items, due.values(), strict=True):
        free, _ = Pay("w", "c", 70, holds).of(charge)
        assert amount + free <= charge
        assert holds is not Holds.ALL or charge - amount < unit
    given_back = sum(due.values())
    assert shares.added == max(0, given_back - pot) <= own


@given(st.lists(st.tuples(ASSETS, st.integers(0, 10**9), st.booleans()), max_size=40))
def test_what_is_forfeited_was_held_and_nothing_else(
    brings: list[tuple[Asset, int, bool]],
) -> None:
    """Whatever a worker brings, and whenever it fails: what was held of its pay is held still, or
    was forfeited under a key of its own; what was free stays free."""
    facts, was_held, lost = NEW, dict.fromkeys(Asset, 0), dict.fromkeys(Asset, 0)
    keys: list[str] = []
    for number, (asset, pay, fails) in enumerate(brings):
        _, back = Pay("w", "c", 100, Holds.HALF).of(pay)
        was_held[asset] += back
        facts = worker.decide(facts, Delivered(NOON, asset, back)).facts
        if fails:
            decision = worker.decide(facts, CanaryFailed(f"c{number}"))
            for each in Asset:
                booked = tuple(entry for entry in decision.entries if entry.asset is each)
                of_asset = replace(decision, entries=booked)
                lost[each] += held(of_asset, "revenue:forfeits")
                assert held(of_asset, "worker:w") == -facts.held(each)
                assert held(of_asset, "user:c") == 0
            keys += [entry.key for entry in decision.entries]
            facts = replace(decision.facts, state=WorkerState.PAUSED)
            assert decision.facts.state is WorkerState.BANNED
        for each, forfeited in zip(
            Asset, (facts.forfeited_msat, facts.forfeited_microusdc), strict=True
        ):
            assert facts.held(each) + forfeited == was_held[each]
            assert forfeited == lost[each]
    assert len(set(keys)) == len(keys)


@given(BITS, BITS)
def test_a_canary_is_judged_by_how_both_look(one: int, two: int) -> None:
    """The same picture passes, and one without anything of the other fails; the house's own must
    have a look, and a picture of one colour has none."""
    theirs, ours = f"{one:064x}", f"{two:064x}"
    assert canary.judged(theirs, theirs) == Passed(0)
    assert canary.judged(None, ours) == Failed(100)
    assert canary.judged(theirs, None) == canary.judged(None, None) == Voided()
    told = canary.judged(theirs, ours)
    assert not isinstance(told, Voided)
    assert isinstance(told, Passed) == (told.unlike_pct <= PASSES_PCT)
    if not one & two:
        assert told == Failed(100)


@given(st.integers(0, 10**9), st.integers(1, 1_000), st.integers(0, 3))
def test_the_dice_say_when_a_canary_comes(dice: int, every: int, passed: int) -> None:
    """One of so many items is followed by one, sooner before the first is passed; none where the
    operator wants none."""
    assert not canary.draws(dice, 0, passed)
    assert canary.draws(dice, 1, passed)
    least = every if passed else min(every, EVERY_NEW)
    assert sum(canary.draws(dice + n, every, passed) for n in range(least)) == 1


@given(
    st.tuples(*[st.integers(0, 60)] * 4), st.booleans(), st.integers(0, 2),
)  # fmt: skip
def test_more_at_once_is_given_to_who_has_shown_more(
    counts: tuple[int, int, int, int], trusted: bool, passed: int
) -> None:
    """At least one item, never more than a trusted worker has; and less to one of which the same is
    known but that it has failed or lost more, or was late more often."""
    delivered, failed, lost, late = counts
    facts = replace(
        NEW, delivered=delivered, failed=failed, lost=lost, late=min(late, delivered),
        is_trusted=trusted, canaries_passed=passed,
    )  # fmt: skip
    most = at_once(facts)
    assert 1 <= most <= AT_ONCE
    assert at_once(replace(facts, failed=failed + 30)) <= most
    assert at_once(replace(facts, lost=lost + 30)) <= most
    assert at_once(replace(facts, late=delivered)) <= most


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({}, AT_ONCE_NEW),
        ({"canaries_passed": 1}, 4),
        ({"is_trusted": True}, AT_ONCE),
        ({"is_trusted": True, "delivered": 7, "failed": 3}, 4),
        ({"is_trusted": True, "delivered": 4, "failed": 3, "lost": 3}, 1),
        ({"is_trusted": True, "delivered": MEASURED, "late": 3}, 4),
        ({"failed": MEASURED - 1}, AT_ONCE_NEW),
        ({"failed": MEASURED}, 1),
    ],
)
def test_how_many_leases_a_worker_holds_at_once(changes: dict[str, Any], most: int) -> None:
    """By trust, by canaries, and by how much of what it held it has delivered, and in time."""
    facts = replace(NEW, **changes)
    assert reputation_of(facts).at_once == at_once(facts) == most
