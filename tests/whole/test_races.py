"""Two real server processes, one Postgres, one rail: whatever comes at once happens once.

A round of each race; `scripts/races --rounds 200` is the long run.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from db.connection import IDLE_S
from db.engine import Database, DatabaseAway, Tx
from tests.runs import lent_races, races
from tests.runs.crash_run import Databases
from tests.runs.race_pair import Pair, pair_on
from tests.runs.races import CLAIMS, CLEAR, RACES, STANDS

_SETTING = "idle_in_transaction_session_timeout"
_SOON = f"SELECT set_config('{_SETTING}', '50ms', true)"
PLACES = ("agent work: after", "commit payouts.settle: before", "rail pay: before")


@pytest.fixture(scope="module")
async def pair(postgres: str) -> AsyncIterator[Pair]:
    """Two running servers."""
    async with pair_on(Databases(postgres)) as running:
        yield running


async def test_500_claims_at_once_are_one_payout(pair: Pair) -> None:
    """Each brings an invoice of its own; one is paid, and all others are told clearly why not."""
    told = await races.claims(pair, CLAIMS)
    assert sum(told[code] for code in CLEAR) == CLAIMS - 1
    await pair.calm()


@pytest.mark.parametrize("race", RACES)
async def test_a_race_ends_well_whoever_wins(pair: Pair, race: str) -> None:
    """However it goes, each payment is booked once, each refund paid once, and nothing is lost."""
    await RACES[race](pair)
    await pair.calm()


@pytest.fixture(scope="module")
async def lending(postgres: str) -> AsyncIterator[Pair]:
    """Two running servers, for which only workers of the network make anything."""
    async with pair_on(Databases(postgres), lent_races.ENVIRONMENT) as running:
        yield running


@pytest.mark.parametrize("race", lent_races.RACES)
async def test_a_race_of_workers_ends_well_whoever_wins(lending: Pair, race: str) -> None:
    """However it goes, what was brought is paid for once, and nobody holds more than he may."""
    await lent_races.RACES[race](lending)
    await lending.calm()


@pytest.mark.parametrize("place", PLACES)
async def test_a_worker_that_stood_still_does_nothing_twice(pair: Pair, place: str) -> None:
    """Its promise is kept by another; when it goes on, nothing is charged or paid a second time."""
    assert place in STANDS
    await races.paused(pair, place)
    await pair.calm()


async def _until_ended(db: Database, tx: Tx) -> None:
    """Do nothing until Postgres has ended the session of a transaction, as it soon does."""
    [mine] = await tx.all("SELECT pg_backend_pid() AS pid")
    await tx.all(_SOON)
    there = "SELECT 1 AS one FROM pg_stat_activity WHERE pid = %(pid)s"
    while await db.read_one(there, pid=mine["pid"]):
        await asyncio.sleep(0.02)


async def test_a_transaction_in_which_nothing_is_done_is_ended(db: Database) -> None:
    """Who stands still with rows locked lets go of them, and learns that nothing was written."""

    async def ask(tx: Tx) -> str:
        return str((await tx.all(f"SHOW {_SETTING}"))[0][_SETTING])

    async def stand_still(tx: Tx) -> None:
        await _until_ended(db, tx)
        await tx.all("SELECT 1")

    assert await db.run("ask", ask) == f"{IDLE_S}s"
    with pytest.raises(DatabaseAway):
        await db.run("stand_still", stand_still)
    assert await db.run("ask", ask) == f"{IDLE_S}s"


async def test_what_stood_still_once_is_done_anew(db: Database) -> None:
    """Nothing of it was written, so nobody else need be told."""
    tries = 0

    async def stand_still_once(tx: Tx) -> int:
        nonlocal tries
        tries += 1
        await tx.execute("INSERT INTO heartbeat (process, at) VALUES ('a', now())")
        if tries == 1:
            await _until_ended(db, tx)
        return tries

    assert await db.run("stand_still_once", stand_still_once) == 2
    assert await db.read_one("SELECT count(*) AS n FROM heartbeat") == {"n": 1}
