"""What a worker is paid, over many figures: nothing is made, and nothing is lost."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from statemachine import item, worker
from statemachine.entries import Asset
from statemachine.item import ItemFacts, ItemState
from statemachine.worker import (
    NEW_FOR,
    NEW_ITEMS,
    Delivered,
    Holds,
    Pay,
    WorkerFacts,
    WorkerState,
    pay_of,
)
from tests.world.law_facts import held

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ASSETS = st.sampled_from(Asset)


@given(
    st.integers(1, 10**12), st.integers(0, 100), st.integers(0, 30), st.sampled_from(Holds), ASSETS
)  # fmt: skip
def test_a_charge_is_the_houses_the_authors_and_the_workers(
    charge: int, pct: int, author_pct: int, holds: Holds, asset: Asset
) -> None:
    """Together they have just what the buyer is charged, and none of them less than nothing; of a
    new worker half is held back, and all before it has passed a canary."""
    pay = Pay("w", "c", pct, holds)
    facts = ItemFacts(
        "i", "b", ItemState.PROCESSING, charge, 1,
        asset=asset, author_id="a", author_pct=author_pct, pay=pay,
    )  # fmt: skip
    decision = item.decide(facts, item.Delivered())
    names = "revenue:media", "user:a", "user:c", "worker:w"
    house, author, free, held_back = (held(decision, name) for name in names)
    assert house + author + free + held_back == charge == -held(decision, "batch:b")
    assert min(house, author, free, held_back) >= 0
    paid = free + held_back
    assert held_back == {Holds.NOTHING: 0, Holds.HALF: paid // 2, Holds.ALL: paid}[holds]
    assert (free + held_back) * 100 <= (charge - author) * pct < (free + held_back + 1) * 100
    assert {entry.asset for entry in decision.entries} == {asset}


@given(st.lists(st.tuples(ASSETS, st.integers(0, 10**9), st.integers(0, 400)), max_size=60))
def test_what_is_held_back_is_freed_once_and_whole(
    brings: list[tuple[Asset, int, int]],
) -> None:
    """Whatever a worker brings, and whenever: what was held is held still, or was freed in one
    entry of each asset; and never before it was old, or had delivered enough."""
    facts = WorkerFacts("w", "c", WorkerState.ONLINE, NOON)
    was_held, freed, at = dict.fromkeys(Asset, 0), dict.fromkeys(Asset, 0), NOON
    for asset, pay, hours in brings:
        at += timedelta(hours=hours)
        _, back = pay_of(facts, 100).of(pay)
        was_held[asset] += back
        decision = worker.decide(facts, Delivered(at, asset, back))
        facts = decision.facts
        for entry in decision.entries:
            assert freed[entry.asset] == 0 and facts.is_trusted
            freed[entry.asset] = sum(max(0, leg.amount) for leg in entry.postings)
        if facts.is_trusted:
            assert facts.delivered >= NEW_ITEMS and at - NOON >= NEW_FOR
        for each in Asset:
            assert facts.held(each) + freed[each] == was_held[each]
            assert freed[each] == (was_held[each] if facts.is_trusted else 0)


@given(st.booleans(), st.integers(0, 2), st.booleans())
def test_all_is_held_until_a_worker_has_shown_what_it_makes(
    is_trusted: bool, passed: int, is_checked: bool
) -> None:
    """Where it can be given canaries; then half, and nothing of one that is trusted."""
    facts = WorkerFacts("w", "c", WorkerState.ONLINE, NOON, is_trusted=is_trusted)
    pay = pay_of(replace(facts, canaries_passed=passed), 100, is_checked=is_checked)
    new = Holds.ALL if is_checked and not passed else Holds.HALF
    assert pay.holds is (Holds.NOTHING if is_trusted else new)
