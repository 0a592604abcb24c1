"""What a worker of the network is given: what pays it enough, and for as long as it may need."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import advance
from app.advance import Applied
from db import claims, workers
from db.claims import Claim, Hired
from db.seen import Seen
from db.workers import NewWorker
from statemachine.entries import Asset
from statemachine.speed import KNOWN_AFTER, LEAST, TIMES, Speed, longest
from tests.world.market_fixtures import LANE, Market, hashed

HOUSE = timedelta(seconds=900)


async def lends(market: Market) -> None:
    """Register a worker that makes what waits in the lane."""
    new = NewWorker("w", "w-account", "w", hashed("w"), "wk_…", "lender@example.org")
    await market.shell.do(advance.workers.register, new)
    await market.shell.do(advance.workers.see, Seen("w", (LANE,), 1_000, 8))


async def claimed(
    market: Market, most: int = 1, least: dict[Asset, int] | None = None
) -> list[Claim]:
    """Have it claim items."""
    names = [hashed(f"lease {next(market.numbers)}")[:32] for _ in range(most)]
    hired = Hired({LANE: 70}, names, 8, least)
    return await market.shell.do(advance.leases.claim, "w", [LANE], most, hired)


async def test_what_pays_less_than_its_floor_is_not_given(market: Market) -> None:
    """The others are, in their turn, by the pay in each one's own asset; and another asset, of
    which nobody knows what it is worth, is not.
    """
    await lends(market)
    await market.bought("b", [1_000, 3_000, 2_000, 9_000], payer="p")
    await market.paid("c", [900, 1_100])
    floor = {Asset.MSAT: 1_400}  # of 2,000 that a buyer pays
    given = await claimed(market, 8, floor)
    assert [(each.id, each.pay_amount) for each in given] == [
        ("bi002", 2_100), ("bi003", 1_400), ("bi004", 6_300),
    ]  # fmt: skip
    assert await claimed(market, 8, floor) == []
    assert await claims.waiting(market.db, "w", [LANE, "another"]) == [LANE]
    [usdc] = await claimed(market, 8, floor | {Asset.MICROUSDC: 700})
    assert (usdc.asset, usdc.pay_amount) == (Asset.MICROUSDC, 770)
    rest = await claimed(market, 8)
    assert {each.id for each in rest} == {"bi001", "ci001"}
    assert await claims.waiting(market.db, "w", [LANE]) == []
    for each in (*given, usdc, *rest):
        assert await market.deliver(each) == Applied()
    await market.is_right()


async def test_who_is_fast_holds_an_item_no_longer_than_it_may_need(market: Market) -> None:
    """Four times what its work takes at the measured speed, a minute at the least; with all that
    it holds. Until its speed is known, and where it is slow, as long as anybody.
    """
    await lends(market)
    await market.bought("b", [1_000] * 12)
    for seconds in (20, 40, 30):
        assert market.clock() + HOUSE == (first := (await claimed(market))[0]).deadline
        market.clock.forward(seconds=seconds)
        assert await market.deliver(first) == Applied()
    speed = Speed()
    for seconds in (20, 40, 30):
        speed = speed.after(seconds * 1_000, 1)
    assert await workers.speed(market.db, "w", LANE) == speed
    expected_ms = speed.expected_ms(1)
    assert expected_ms is not None and 25_000 < expected_ms < 35_000
    one, two = await claimed(market, 2)
    [three] = await claimed(market)
    lasts = [each.deadline - market.clock() for each in (one, two, three)]
    assert lasts == [longest(HOUSE, expected_ms, hand) for hand in (1, 2, 3)]
    assert TIMES * expected_ms * 3 == lasts[2] // timedelta(milliseconds=1)
    held = await market.shell.do(advance.leases.beat, one.id, one.number, "w", 1)
    assert held == advance.leases.Held(market.clock() + timedelta(seconds=30))
    market.clock.now = one.deadline - timedelta(seconds=1)
    held = await market.shell.do(advance.leases.beat, one.id, one.number, "w", 2)
    assert held == advance.leases.Held(one.deadline)
    market.clock.now = one.deadline
    told = await market.shell.do(advance.leases.beat, one.id, one.number, "w", 3)
    assert told == advance.Lost()
    house = await market.claim("house:1")
    assert [each.deadline - market.clock() for each in house] == [HOUSE]


@pytest.mark.parametrize(("took_s", "lasts_s"), [(1, 60), (1_000, 900)])
async def test_a_deadline_has_its_bounds(market: Market, took_s: int, lasts_s: int) -> None:
    """A minute is the least, and the house's time the most."""
    await lends(market)
    await market.bought("b", [1_000] * (KNOWN_AFTER + 1))
    for _ in range(KNOWN_AFTER):
        [claim] = await claimed(market)
        market.clock.forward(seconds=took_s)
        assert await market.deliver(claim) == Applied()
    [claim] = await claimed(market)
    assert claim.deadline - market.clock() == timedelta(seconds=lasts_s)
    assert claim.until == market.clock() + timedelta(seconds=30)


@given(st.integers(1, 10**7), st.integers(1, 10**6), st.integers(1, 60), st.integers(1, 9))
def test_who_is_always_as_fast_is_expected_to_be(
    took_ms: int, work: int, items: int, in_hand: int
) -> None:
    """Within what is lost to whole numbers; and a lease lasts a minute at the least, the house's
    time at the most.
    """
    speed = Speed()
    for _ in range(items):
        speed = speed.after(took_ms, work)
    expected_ms = speed.expected_ms(work)
    assert (expected_ms is None) is (items < KNOWN_AFTER)
    if expected_ms is not None:
        assert abs(expected_ms - took_ms) <= took_ms // 4 + 1
    assert longest(HOUSE, None) == HOUSE
    assert LEAST <= longest(HOUSE, expected_ms, in_hand) <= HOUSE
