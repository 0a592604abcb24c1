"""The simulation's second rail: whatever a facilitator says and a chain takes back, orders are
settled once, and what is owed moves once.
"""

import logging
from collections.abc import AsyncIterator

import pytest
import structlog

from tests.simulation.database import prepare
from tests.simulation.model import Violation
from tests.simulation.planted import PLANTED
from tests.simulation.world import World

SEED, STEPS = 2, 1_500
FOUND_BY = 14


@pytest.fixture(autouse=True)
async def silence() -> AsyncIterator[None]:
    """Keep the log of so many faults out of the way."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


async def test_in_a_world_of_lying_facilitators_no_usdc_is_lost(database_url: str) -> None:
    """What orders have brought is earned or back on the chain, to the last millionth; the orders
    that moved nothing have failed."""
    prepare(database_url)
    report = await World(SEED, database_url).live(STEPS)
    sums, seen = report.sums, report.market
    assert sums["microUSDC paid"] == sums["microUSDC earned"] + sums["microUSDC refunded"] > 0
    assert sums["microUSDC refunded"] > 0
    assert seen["order settled"] and seen["order failed"] and seen["refund settled"]
    assert [fault for fault in report.faults if fault.startswith("facilitator: ")]


async def test_a_refund_that_is_owed_again_too_soon_is_found(database_url: str) -> None:
    """Though the token would not move it twice: what is in flight is not owed."""
    prepare(database_url)
    hasty = PLANTED["a refund in USDC owed again on Unknown"]
    with pytest.raises(Violation, match=r"invariant 5: the order \d+ for \S+ is owed again"):
        await World(FOUND_BY, database_url, hasty).live(10_000)
