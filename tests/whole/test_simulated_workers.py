"""The simulation's machines that others lend, honest ones and others, and their pay."""

import logging
from collections.abc import AsyncIterator

import pytest
import structlog

from tests.simulation.database import prepare
from tests.simulation.lent import world_of_lenders
from tests.simulation.model import Violation
from tests.simulation.planted_workers import PLANTED_ON_WORKERS

SEED, STEPS = 5, 1_000
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
    database_url: str,
) -> None:
    """Whatever they bring, forget, steal and ask for; and all that was paid is somebody's."""
    prepare(database_url)
    report = await world_of_lenders(SEED, database_url).live(STEPS)
    seen, sums = report.market, report.sums
    assert sums["paid"] == sums["earned"] + sums["refunded"] + sums["claimable"] > 0
    assert seen["worker registered"] and seen["item lent out"] and seen["item paid for"]
    assert seen["pay in msat"] or seen["pay in microusdc"]
    assert seen["canary given"]


@pytest.mark.parametrize("bug", PLANTED_ON_WORKERS)
async def test_what_is_planted_among_workers_is_found(database_url: str, bug: str) -> None:
    """Within 10,000 steps, and named as the breach of an invariant; nothing else goes wrong in that
    world."""
    prepare(database_url)
    make, characters = PLANTED_ON_WORKERS[bug], [FOUND_BY[bug]]
    world = world_of_lenders(SEED, database_url, make, {}, characters)
    with pytest.raises(Violation, match=r"step \d+: invariant \d"):
        await world.live(10_000)
