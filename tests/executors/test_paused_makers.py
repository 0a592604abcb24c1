"""A process that makes images and sends refunds stands still; it goes on when others did it all."""

from collections.abc import AsyncIterator

import pytest

from tests.runs.batch_races import MAKER_STANDS, SENDER_STANDS, paused
from tests.runs.crash_run import Databases
from tests.runs.race_pair import Pair, pair_on

PLACES = ("store put: after", "commit leases.submit: before", "commit usdc_payouts.order: after")


@pytest.fixture(scope="module")
async def pair(postgres: str) -> AsyncIterator[Pair]:
    """Two running servers."""
    async with pair_on(Databases(postgres)) as running:
        yield running


@pytest.mark.parametrize("place", PLACES)
async def test_what_stood_still_delivers_and_sends_nothing_twice(pair: Pair, place: str) -> None:
    """Its item is another's, and so is the refund in USDC that it had begun to send: each item was
    made once, and each refund has moved once on the chain. `scripts/races` stands at every place.
    """
    assert place in (*MAKER_STANDS, *SENDER_STANDS)
    await paused(pair, place)
    await pair.calm()
