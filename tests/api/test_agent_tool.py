"""The agent as a tool: text in, text out, charged for the tokens it used; the rest goes back."""

from dataclasses import dataclass, field

import pytest

from app.agents.agent import Broke, Rejected, Result
from app.agents.agent_tool import AgentTool
from app.ports import Declined, Made, NotBegun, Step, Undoable, Wanted
from db.audit import audit
from pricing.rates import Usage
from pricing.run_price import Tokens
from tests.world.house_fixtures import Instance
from tests.world.patience import patiently
from tests.world.scripted_agent import ScriptedAgent
from tests.world.tool_fixtures import person

PRICE = Tokens("m", 1_000_000, 5_000_000, 2_000, 20, 8_000, 1_024)
ASKED = Wanted("agent", inputs={"prompt": "hello", "max_tokens": 64})


async def test_what_is_not_used_goes_back(instance: Instance) -> None:
    """The maximum is set aside; what the answer used is charged, in whole sats."""
    key = await person(instance, 10_000)
    tool = (await instance.http.get("/api/v1/tools/agent")).json()
    assert tool["costingModel"]["type"] == "tokens" and tool["metadata"]["outputs"] == ["text"]
    body = {"toolId": "agent", "inputs": {"prompt": "Say hello.", "max_tokens": 400}}
    made = await instance.post("/api/v1/generations/execute", body, headers=key)
    assert made.status_code == 202, made.text
    where = f"/api/v1/generations/status/{made.json()['generationId']}"
    async for look in patiently("it did not end", pause_s=0.02):
        look.saw = said = (await instance.http.get(f"{where}?wait=5", headers=key)).json()
        if said["status"] in ("completed", "failed"):
            break
    assert said["status"] == "completed", said
    [output] = said["outputs"]
    assert output["type"] == "text" and "Say hello." in output["data"]["text"][0]
    [row] = await instance.built.db.read_all("SELECT price_amount, charged_amount FROM batch")
    assert 0 < row["charged_amount"] < row["price_amount"]
    assert row["charged_amount"] % 1_000 == 0
    me = (await instance.http.get("/api/v1/user/me", headers=key)).json()
    assert me["balanceSats"] == 10_000 - row["charged_amount"] // 1_000
    assert await audit(instance.built.db) == []


@dataclass
class Answering(ScriptedAgent):
    """An agent that answers each call with the next of these."""

    answers: list[Result | Rejected | Broke] = field(default_factory=list)
    ill: Broke | None = None
    looked: int = 0

    async def work(
        self, request: str, max_output_tokens: int, progress: object = None
    ) -> Result | Rejected | Broke:
        """Answer."""
        assert callable(progress)
        progress("Hel", Usage(5, 2))
        return self.answers.pop(0)

    async def healthy(self) -> Broke | None:
        """Say how it is."""
        self.looked += 1
        return self.ill


async def test_each_answer_of_an_agent_is_one_of_a_tool() -> None:
    """A text with what it came to, a refusal with its reason, a failure that may be tried again."""
    steps: list[Step] = []
    agent = Answering(answers=[
        Result("Hello\x1b[2J\x00 \n", Usage(10, 20)), Result(" \n", Usage(1, 1)),
        Rejected("Not this.", Usage(1, 1)), Broke("It is ill.", retryable=True),
    ])  # fmt: skip
    tool = AgentTool(agent, PRICE)
    made = await tool.make(ASKED, steps.append)
    assert isinstance(made, Made) and made.used_microusd == 2_532  # as `Tokens.used` has it
    assert made.data.startswith(b"Hello") and b"\x1b" not in made.data and b"\x00" not in made.data
    assert steps == [Step(2, 64)]
    assert isinstance(await tool.make(ASKED), Undoable)
    assert await tool.make(ASKED) == Declined("Not this.")
    assert await tool.make(ASKED) == Undoable("It is ill.")
    assert agent.looked == 0 and await tool.healthy() is None


async def test_an_agent_that_turns_runs_away_is_asked_no_more_for_a_while() -> None:
    """Nothing was begun, so no try is lost; whether it is well again is asked later."""
    agent = Answering(answers=[Broke("Too many.", retryable=True, busy=True)])
    tool = AgentTool(agent, PRICE)
    with pytest.raises(NotBegun):
        await tool.make(ASKED)
    trouble = await tool.healthy()
    assert trouble is not None and trouble.reason == "Too many." and agent.looked == 0
