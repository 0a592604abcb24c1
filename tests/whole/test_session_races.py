"""Who comes first on a session: never more is spent than was paid in, and nothing is lost."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.runs.crash_run import Databases
from tests.runs.race_pair import Pair, crowd, pair_on
from tests.runs.session_debits import debits
from tests.world.house_fixtures import Instance
from tests.world.scripted_agent import ScriptedAgent
from tests.world.session_fixtures import Holder, books_are_right, ceiling_sats, held


@pytest.fixture
async def pair(postgres: str) -> AsyncIterator[Pair]:
    """Two running servers."""
    async with pair_on(Databases(postgres)) as running:
        yield running


async def at_once(holder: Holder, count: int) -> Counter[int]:
    """Send so many requests at once, each on a connection of its own."""
    url, body = f"{holder.instance.url}{holder.path}/request?wait=0", {"request": "hello"}
    async with crowd() as http:

        async def send() -> int:
            while True:
                answer = await http.post(url, json=body, headers=holder.headers)
                if answer.status_code != 503:  # no connection was to spare, and nothing was done
                    return answer.status_code

        return Counter(await asyncio.gather(*(send() for _ in range(count))))


async def test_200_at_once_never_overdraw_a_session(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """As many as the balance covers are taken, all others are told that it does not."""
    ceiling = await ceiling_sats(instance)
    covers = 30
    holder = await held(instance, covers * ceiling + ceiling - 1)
    scripted_agent.go.clear()
    assert await at_once(holder, 200) == {202: covers, 402: 200 - covers}
    status = await holder.status()
    assert (status["balanceSats"], status["reservedSats"]) == (ceiling - 1, covers * ceiling)
    scripted_agent.go.set()
    status = await holder.until(reservedSats=0)
    rows = await instance.built.db.read_all("SELECT id FROM job")
    costs = [(await holder.ended(row["id"]))["debitedSats"] for row in rows]
    assert len(costs) == covers
    assert status["balanceSats"] == covers * ceiling + ceiling - 1 - sum(costs)
    await books_are_right(instance)


async def test_200_at_once_that_end_while_others_begin(instance: Instance) -> None:
    """What one gives back, another may have: still nothing is spent that was not there."""
    holder = await held(instance, 400)
    told = await at_once(holder, 200)
    assert set(told) <= {200, 202, 402, 409} and told[202] + told[200] > 0
    status = await holder.until(reservedSats=0)
    rows = await instance.built.db.read_all("SELECT id FROM job")
    assert len(rows) == told[202] + told[200]
    costs = [(await holder.ended(row["id"]))["debitedSats"] for row in rows]
    assert status["balanceSats"] == 400 - sum(costs) >= 0
    await books_are_right(instance)


async def test_many_debits_for_a_balance_that_covers_few(pair: Pair) -> None:
    """With two servers and children of the macaroon, against a top-up and a close: exactly what
    fits wins, no child spends beyond its budget, and every sat is earned or owed back.
    """
    await debits(pair, count=200, covers=20)
