"""A batch of which much fails, with the server killed on the way: a few items of the long run."""

import pytest

from tests.runs.batch_kills import PAYERS, sold
from tests.runs.crash_run import Databases


@pytest.mark.parametrize("payer", PAYERS)
async def test_what_is_killed_again_and_again_loses_nothing(postgres: str, payer: str) -> None:
    """Each item is delivered once or lost for good; what was delivered is charged, and the rest is
    back with whoever paid. `scripts/kills` does it with five hundred."""
    told = await sold(Databases(postgres), payer, items=20, kills=3, seed=1)
    assert not told.wrong
    assert told.kills == 3 and (told.delivered, told.lost) == (14, 6)
