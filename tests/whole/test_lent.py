"""Three lent machines, of which one is killed and one lies: a few pictures of the long run."""

from tests.runs.crash_run import Databases
from tests.runs.lend_run import Plan, lent
from tests.world.lnbits_server import LnbitsServer


async def test_every_job_ends_with_a_picture_or_its_credits(
    postgres: str, lnbits: LnbitsServer
) -> None:
    """What a killed machine held is made by it when it is back, its sats are withdrawn over the
    real LNbits, and all sums agree to the msat. `scripts/lend` does it with two hundred."""
    told = await lent(Databases(postgres), lnbits, Plan(8, 0.1, is_cheap=True))
    assert not told.wrong
    assert told.completed == 8 == sum(told.delivered.values())
    assert told.delivered["honest"] >= 1 and told.withdrawn_msat >= 1_000
