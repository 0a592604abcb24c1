"""The simulation's people: accounts, API keys, casts, jobs paid in USDC, and who hears of them."""

import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import structlog

from tests.simulation.askers import Askers
from tests.simulation.database import prepare
from tests.simulation.lenders import Lenders
from tests.simulation.model import Violation
from tests.simulation.patrons import People
from tests.simulation.payers import Crowd
from tests.simulation.planted_people import PLANTED_ON_PEOPLE
from tests.simulation.process import Make
from tests.simulation.world import World

SEED, STEPS = 3, 800
NEW = 4  # crowds that are in no other test come after these
BREACH = r"step \d+: (invariant \d|.* raised Unwritten\('CheckViolation: ck_api_key_spent'\))"


@pytest.fixture(autouse=True)
async def silence() -> AsyncIterator[None]:
    """Keep the log of so many faults out of the way."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


def world_of(
    crowd: type[Crowd[Any]] | None,
    seed: int,
    url: str,
    make: Make | None = None,
    faults: Mapping[str, float] | None = None,
) -> World:
    """Return a world of a few of them, each of whom does much; None: of all who are new, but for
    those who lend machines."""
    prepare(url)
    world = World(seed, url, make, people=True, faults=faults)
    world.most_payers = 4
    new = [each for each in world.crowds[NEW:] if not isinstance(each, Lenders)]
    mine = [each for each in new if crowd is None or type(each) is crowd]
    world.crowds = tuple(mine)
    return world


async def test_in_a_world_of_people_nothing_is_lost(database_url: str) -> None:
    """What came to accounts is spent, an author's, taken out or still there; a job that USDC has
    paid for costs what it used; and whoever wanted to be told of an end is."""
    report = await world_of(None, SEED, database_url).live(STEPS)
    seen, sums = report.market, report.sums
    spent = sum(sums[f"microUSDC {what}"] for what in ("earned", "refunded", "claimable"))
    assert sums["microUSDC paid"] == spent > 0
    assert sums["paid"] == sums["earned"] + sums["refunded"] + sums["claimable"]
    assert sums["microUSDC refunded"] > 0 and seen["job in USDC complete"]
    assert seen["account opened"] and seen["deposit credited"] and seen["notice delivered"]
    assert seen["cast begun"] and seen["author's share in msat"]


@pytest.mark.parametrize("bug", PLANTED_ON_PEOPLE)
async def test_what_is_planted_among_people_is_found(database_url: str, bug: str) -> None:
    """And named as the breach of an invariant, or refused by Postgres before there is one: of a key
    nothing is given back that was not spent. Nothing else goes wrong in that world.
    """
    crowd, make = Askers if "job" in bug else People, PLANTED_ON_PEOPLE[bug]
    world = world_of(crowd, SEED, database_url, make, {})
    with pytest.raises(Violation, match=BREACH):
        await world.live(2_000)
