"""While what is bought could not be done, nobody is asked to pay for it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.agents.agent import Broke
from app.http.envelopes import refusal_of
from app.refusal import patience_s
from db.engine import DatabaseAway
from tests.world.contract import refused
from tests.world.house_fixtures import Instance, instance_of
from tests.world.scripted_agent import ScriptedAgent
from tests.world.session_fixtures import held

MEND = "install the package"


class AbsentAgent(ScriptedAgent):
    """An agent that can't be asked."""

    async def healthy(self) -> Broke | None:
        """See Agent."""
        return Broke("The agent is not available.", retryable=False, mend=MEND)


@pytest.fixture
async def absent(database_url: str, tmp_path: Path) -> AsyncIterator[Instance]:
    """An instance without an agent, which knows it."""
    async with instance_of(database_url, tmp_path, agent=AbsentAgent()) as running:
        ready = await running.http.get("/api/readyz")
        refused_parts = ready.json()["agents"]
        assert refused_parts == {"status": "unavailable", "reason": "The agent is not available."}
        yield running


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/jobs", {"request": "hello"}),
        ("/api/ask", {"request": "hello"}),
        ("/api/sessions", {"amount_sats": 1000}),
    ],
)
async def test_nothing_is_sold_that_can_not_be_done(
    absent: Instance, path: str, body: dict[str, object]
) -> None:
    """503 before there is an invoice, without a word of what only an operator can mend."""
    answer = await absent.post(path, body)
    refused(answer, 503, "nothing can be bought")
    assert int(answer.headers["retry-after"]) > 0 and MEND not in answer.text
    row = await absent.built.db.read_one("SELECT count(*) AS n FROM invoice")
    assert row == {"n": 0}


def test_what_stays_away_is_asked_for_less_often() -> None:
    """Retry-After grows with how long the trouble has lasted, from seconds to five minutes."""
    assert [patience_s(lasted_s) for lasted_s in (0, 4.2, 61, 299.5, 90_000)] == [
        5,
        5,
        61,
        300,
        300,
    ]
    assert patience_s(0, least_s=15) == 15
    assert refusal_of(DatabaseAway("gone", 61)).headers["Retry-After"] == "61"


class FadingAgent(ScriptedAgent):
    """An agent that can be asked for a while."""

    is_there = True

    async def healthy(self) -> Broke | None:
        """See Agent."""
        return None if self.is_there else Broke("The agent is away.", retryable=True)


async def test_nothing_is_paid_in_that_can_not_be_spent(database_url: str, tmp_path: Path) -> None:
    """A session is topped up no more while nothing can be done, and again when it can."""
    agent = FadingAgent()
    async with instance_of(database_url, tmp_path, agent=agent, HEALTH_S=1) as house:
        holder = await held(house)
        for is_there in (False, True):
            agent.is_there = is_there
            wanted = "ok" if is_there else "unavailable"
            while (await house.http.get("/api/readyz")).json()["agents"]["status"] != wanted:
                await asyncio.sleep(0.05)
            answer = await holder.post("topup", {"amount_sats": 500})
            if is_there:
                assert answer.status_code == 200, answer.text
            else:
                refused(answer, 503, "nothing can be bought")
