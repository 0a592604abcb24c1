"""Canaries are ordered so that no worker can tell them: at a moment that dice choose, in words and
at a price as of any other item."""

import itertools
from collections.abc import Callable

import pytest

from app.advance import Applied
from app.till import Limits, Till
from app.trade.canaries import PARTS, Canaries
from app.trade.catalogue import PAINTER, Catalogue
from db.claims import Claim, Hired
from pricing.money import sats_to_msat
from pricing.oracle import Oracle
from pricing.rates import PUBLISHED, RateCard
from statemachine.entries import Asset
from tests.world.house_fixtures import fixed_oracle
from tests.world.market_fixtures import Market
from tests.world.scripted_agent import ScriptedAgent
from tests.world.trust_fixtures import Lent

LANES = {"scene-1": 70, "z-image-turbo": 70}
DUE = "UPDATE worker SET canary_due = true"


class Worker:
    """A worker that claims: what it is given of others, and how long it has waited for that."""

    def __init__(self, lent: Lent, desk: Canaries) -> None:
        self.lent, self.desk = lent, desk
        self.waits: list[tuple[int, float]] = []
        self.comes: list[Claim] = []  # while it waits
        self.is_gone = False
        self.least: dict[Asset, int] | None = None

    async def claims(self, most: int = 1, wait_s: float = 20) -> list[Claim]:
        """Claim what waits."""
        row, hired = await self.lent.row(), Hired(LANES, [], least=self.least)
        return await self.desk.among(row, hired, most, wait_s, self._claim, self._is_gone)

    async def _claim(self, most: int, wait_s: float) -> list[Claim]:
        self.waits.append((most, wait_s))
        return self.comes[:most]

    async def _is_gone(self) -> bool:
        return self.is_gone


@pytest.fixture
async def worker(market: Market) -> Worker:
    """A worker to whom a canary is due."""
    lent = Lent(market)
    await lent.workers("w")
    await market.db.run("due", lambda tx: tx.execute(DUE))
    return Worker(lent, desk_of(market, fixed_oracle(market.clock)))


def desk_of(market: Market, oracle: Oracle) -> Canaries:
    """Return the desk of a house that makes what its painter makes."""
    card, limits = RateCard(PUBLISHED, 2_000, 20), Limits(sats_to_msat(5), 600, 256)
    till = Till(card, oracle, ScriptedAgent(), market.clock, limits)
    numbers = itertools.count(1)
    new_id: Callable[[], str] = lambda: f"{next(numbers):032x}"  # noqa: E731
    catalogue = Catalogue({PAINTER}, development=True)
    return Canaries(
        market.db, market.shell, till, catalogue, market.clock, new_id, lambda sides: sides // 2
    )


async def test_a_canary_comes_while_a_worker_waits(worker: Worker) -> None:
    """After a part of its wait in which nothing else came; with words, a size and a seed, at the
    price of now: the worker's part of what one costs."""
    [canary] = await worker.claims()
    assert worker.waits == [(1, 20 * (PARTS // 2) / PARTS)]
    assert (canary.lane, canary.share_amount, canary.pay_pct) == ("scene-1", 4_000, 70)
    asked = canary.asked
    assert len(asked["prompt"].split()) > 4 and asked["seed"] > 0
    assert asked["width"] == asked["height"] == 768
    assert not (await worker.lent.row()).canary_due
    worker.waits.clear()
    assert await worker.claims() == []
    assert worker.waits == [(1, 20)]
    await worker.lent.market.is_right()


async def test_what_comes_first_is_given_first(worker: Worker) -> None:
    """The canary is due still; nor is one given to who has hung up."""
    held = await worker.lent.holds("other")
    await worker.lent.market.db.run("due", lambda tx: tx.execute(DUE))
    worker.comes = [held]
    assert await worker.claims() == [held]
    worker.comes, worker.is_gone = [], True
    assert await worker.claims() == []
    assert (await worker.lent.row()).canary_due


async def test_where_others_wait_it_is_one_of_several(worker: Worker) -> None:
    """In the words of somebody who asked of late, whose lane it is; at once, at a place among what
    else is claimed that dice choose."""
    market = worker.lent.market
    await market.bought("b", [1_000, 1_000], lane="scene-1")
    [theirs] = await market.claim("house:scene-1:1", lane="scene-1")
    assert await market.deliver(theirs, "house:scene-1:1") == Applied()
    worker.comes = [theirs, theirs, theirs]
    one, canary, *_ = given = await worker.claims(most=3)
    assert worker.waits == [(2, 0)] and len(given) == 3
    assert one == theirs
    assert canary.asked == {**theirs.asked, "seed": canary.asked["seed"]}


async def test_what_pays_less_than_a_worker_wants_is_not_given(worker: Worker) -> None:
    """A floor of its own holds for what the house orders, as for anything else."""
    worker.least = {Asset.MSAT: 2_801}
    assert await worker.claims() == []
    worker.least = {Asset.MSAT: 2_800}
    [canary] = await worker.claims()
    assert canary.pay_amount == 2_800


async def test_without_a_price_there_is_none(worker: Worker) -> None:
    """What others have ordered is claimed as ever, and a canary is due still."""
    market = worker.lent.market
    oracle = Oracle((), clock=market.clock, fallback_microusd=None, development_microusd=None)
    worker.desk = desk_of(market, oracle)
    assert await worker.claims() == []
    assert [most for most, _ in worker.waits] == [1, 1]
    assert sum(wait_s for _, wait_s in worker.waits) == 20
    assert (await worker.lent.row()).canary_due


async def test_only_what_the_house_makes_itself_is_known(market: Market) -> None:
    """Where its painter stands in for a model, its picture is not that model's."""
    desk = desk_of(market, fixed_oracle(market.clock))
    names = "scene-1", "z-image-turbo", "z-image-turbo/pro", "chroma", "x"
    assert [name for name in names if desk.is_known(name)] == ["scene-1"]
