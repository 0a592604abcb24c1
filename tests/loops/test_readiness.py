"""/api/readyz says whether money moves: of what the loops saw last, and nobody is asked for it."""

from pathlib import Path

from app.agents.agent import Broke
from tests.world.house_fixtures import Instance, instance_of, readiness_of, until_ready_is
from tests.world.scripted_agent import ScriptedAgent


class CountedAgent(ScriptedAgent):
    """A scripted agent that counts how often it was asked how it is, and is ill when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.ill: Broke | None = None

    async def healthy(self) -> Broke | None:
        """See Agent."""
        self.asked += 1
        return self.ill


async def test_who_looks_asks_nobody_outside(database_url: str, tmp_path: Path) -> None:
    """A hundred looks at the page are a hundred answers, and not one more question to an agent."""
    agent = CountedAgent()
    async with instance_of(database_url, tmp_path, agent=agent) as instance:
        code, body = await readiness_of(instance)
        assert code == 200 and body["status"] == "ok"
        answers = [await readiness_of(instance) for _ in range(100)]
        assert {code for code, _ in answers} == {200}
        assert agent.asked == 2  # by the loops: once for the jobs, once for who converses


async def test_what_a_part_is_like_is_seen_again_and_again(
    database_url: str, tmp_path: Path
) -> None:
    """An agent that falls ill makes the server unready, says why, and well again it is ready."""
    agent = CountedAgent()
    async with instance_of(database_url, tmp_path, agent=agent, HEALTH_S=1) as instance:
        await until_ready_is(instance, 200, "agents")
        agent.ill = Broke("its model is on holiday", retryable=True)
        said = await until_ready_is(instance, 503, "agents")
        assert said["reason"] == "its model is on holiday"
        agent.ill = None
        await until_ready_is(instance, 200, "agents")


async def test_every_loop_the_listener_and_the_worker_have_a_beat(instance: Instance) -> None:
    """The page tells how long ago each loop finished a turn, and how long a promise waits."""
    code, body = await readiness_of(instance)
    assert code == 200
    turned = body["loops"]["turnedS"]
    assert {"expire", "ask_invoices", "ask_payouts", "recover", "receive"} <= set(turned)
    assert body["promises"] == {"status": "ok", "oldestWaitsS": 0.0}
    assert body["listener"] == {"status": "ok"}


async def test_without_a_worker_anywhere_nothing_is_ready(
    database_url: str, tmp_path: Path
) -> None:
    """A server that keeps no promises says so, until some process that does is there."""
    async with instance_of(database_url, tmp_path, worker=False, HEALTH_S=1) as door:
        said = await until_ready_is(door, 503, "promises")
        assert "boltwork worker" in said["reason"]
        other = tmp_path / "other"
        other.mkdir()
        async with instance_of(database_url, other, HEALTH_S=1):
            await until_ready_is(door, 200, "promises")
