"""The simulation's machines that others lend, honest ones and others, and their pay."""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest
import structlog

from tests.simulation.database import prepare
from tests.simulation.lent import world_of_lenders
from tests.simulation.model import Violation
from tests.simulation.planted_workers import PLANTED_ON_WORKERS

SEED, STEPS = 5, 2_000
WORLDS = 4  # one after the other, until all has happened that is to be seen
SEEN = {"worker registered", "item lent out", "item paid for", "pay in msat", "canary given"}
# By whom a bug is found soonest.
FOUND_BY = {
    "a lease without fencing": "slow",
    "pay without acceptance": "honest",
    "holdback released early": "honest",
    "a canary that nobody has brought": "greedy",
    "a limit that is looked at too early": "greedy",
}


@pytest.fixture(autouse=True)
async def silence() -> AsyncIterator[None]:
    """Keep the log of so many faults out of the way."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


async def test_who_lends_a_machine_is_paid_for_what_is_taken_of_it_and_for_nothing_else(
    database_urls: Callable[[], str],
) -> None:
    """Whatever they bring, forget, steal and ask for; and all that was paid is somebody's."""
    seen, number = Counter[str](), 0
    while missing := SEEN - set(seen):
        assert number < WORLDS, f"in no world is there {missing}"
        prepare(url := database_urls())
        report = await world_of_lenders(SEED + number, url).live(STEPS)
        sums = report.sums
        assert sums["paid"] == sums["earned"] + sums["refunded"] + sums["claimable"]
        seen, number = seen + report.market, number + 1


@pytest.mark.parametrize("bug", PLANTED_ON_WORKERS)
async def test_what_is_planted_among_workers_is_found(database_url: str, bug: str) -> None:
    """Within 10,000 steps, and named as the breach of an invariant; nothing else goes wrong in that
    world."""
    prepare(database_url)
    make, characters = PLANTED_ON_WORKERS[bug], [FOUND_BY[bug]]
    world = world_of_lenders(SEED, database_url, make, {}, characters)
    with pytest.raises(Violation, match=r"step \d+: invariant \d"):
        await world.live(10_000)
