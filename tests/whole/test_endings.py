"""A server that is asked to end does so, at whatever moment of its start it is asked."""

import asyncio
from pathlib import Path

import pytest

from app.main import assemble, running, utc_now
from db.connection import Line, pool_of
from db.engine import Database
from db.hosts import Hosts
from payments.stub import StubRail
from payments.usdc.stub_facilitator import FILE, StubFacilitator
from tests.world.batch_doors import batch, sold_by
from tests.world.house_fixtures import fixed_oracle, settings_for
from tests.world.patience import PATIENCE_S
from tests.world.scripted_agent import ScriptedAgent
from tests.world.scripted_maker import ScriptedMaker
from tests.world.usdc_doors import asked_in, signed
from tests.world.usdc_fixtures import Payer


async def test_whoever_ends_early_ends(database_url: str, tmp_path: Path) -> None:
    """Loops, listeners and workers end, even where a library swallows that they were asked to."""
    for after_ms in (0, 2, 5, 8, 11, 15, 20, 30, 50, 80, 0, 5, 10, 20):
        built = assemble(
            settings_for(tmp_path),
            database_url,
            rail=StubRail(tmp_path / "stub.sqlite3", utc_now),
            agent=ScriptedAgent(),
            oracle=fixed_oracle(utc_now),
        )
        async with asyncio.timeout(PATIENCE_S):
            async with running(built):
                await asyncio.sleep(after_ms / 1000)


@pytest.mark.parametrize("ticks", range(8))
async def test_who_is_cancelled_as_a_connection_comes_ends(database_url: str, ticks: int) -> None:
    """The pool may swallow that; who waited ends all the same, and the connection goes back."""
    pool = pool_of(Hosts(database_url), 1, _as_it_is, 10)
    await pool.open(wait=True)
    held = await pool.getconn()
    waiting = asyncio.create_task(pool.getconn())
    while not pool.get_stats()["requests_waiting"]:
        await asyncio.sleep(0)
    giving = asyncio.create_task(pool.putconn(held))
    for _ in range(ticks):
        await asyncio.sleep(0)
    if waiting.cancel():
        with pytest.raises(asyncio.CancelledError):
            await waiting
    else:
        await pool.putconn(await waiting)
    await giving
    await pool.putconn(await pool.getconn())
    await pool.close()


async def test_an_order_in_usdc_that_is_under_way_is_settled_before_the_end(
    database_url: str, tmp_path: Path
) -> None:
    """Its buyer was told that it is pending; whoever ends waits for what the facilitator says, and
    leaves nothing to be found out by the next process."""
    settings = {"SETTLE_WAIT_S": 1}
    async with sold_by(database_url, tmp_path, ScriptedMaker(), **settings) as shop:
        stub = StubFacilitator(shop.built.settings.data / FILE, shop.built.clock)
        await stub.script_fault("settle", "slow", delay_s=2)
        await stub.close()
        asked = asked_in(await shop.post("/api/jobs", batch("a cat")))
        paying = signed(shop, Payer(), asked)
        pending = await shop.post("/api/jobs", batch("a cat"), headers=paying)
        assert pending.status_code == 202, pending.text
    db = Database(database_url, 1)
    await db.open()
    row = await db.read_one("SELECT state FROM usdc_authorization")
    assert row == {"state": "settled"}
    await db.close()


async def _as_it_is(_: Line) -> None:
    pass
