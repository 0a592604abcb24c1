"""The demo: what it answers, what it tells of its limit, and what it costs the house."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from app.agents.agent import Accepted, Broke, Progress, Rejected, Result, unwatched
from db import ledger
from pricing.oracle import Oracle
from pricing.rates import Usage
from tests.world.contract import CONTRACT, refused
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import PATIENCE_S
from tests.world.rail_fixtures import RailClock
from tests.world.scripted_agent import ScriptedAgent

PER_HOUR = 5
DAY_S = 86_400
# At cost, whole sats: 2,000 micro-USD of infrastructure a call, and what the agent has used.
JUDGED_MSAT, WORKED_MSAT = 3_000, 4_000


async def ask(instance: Instance, request: str = "hello") -> httpx2.Response:
    """Ask for a demo."""
    return await instance.http.get("/api/demo", params={"request": request})


def left(answer: httpx2.Response) -> int:
    """Return how many more demos an answer promises."""
    assert answer.headers["x-ratelimit-limit"] == str(PER_HOUR)
    assert int(answer.headers["x-ratelimit-reset"]) > 0
    return int(answer.headers["x-ratelimit-remaining"])


async def given_msat(instance: Instance) -> int:
    """Return what the house has given away by its books, which must be whole."""
    lines = await ledger.trial_balance(instance.built.db)
    assert all(line.kept == line.recomputed for line in lines)
    books = {line.account: line.kept for line in lines}
    spent = books.get("expense:free", 0)
    # What is held is on its way from the one to the other.
    held = sum(amount for name, amount in books.items() if name.startswith("hold:"))
    assert spent == books.get("revenue:free", 0) + held
    [day] = await instance.built.db.read_all("SELECT used_msat FROM free_day") or [{"used_msat": 0}]
    assert spent == day["used_msat"]
    return spent


async def test_a_demo_is_judged_done_and_paid_by_the_house(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """One GET answers with the result; its true cost is booked, without a margin, and no job is
    made.
    """
    answer = await ask(instance, "  write a haiku  ")
    assert answer.status_code == 200
    assert answer.json() == {"result": "done: write a haiku", "state": "complete"}
    assert left(answer) == PER_HOUR - 1
    assert scripted_agent.calls == {("judge", "write a haiku"): 1, ("work", "write a haiku"): 1}
    assert await given_msat(instance) == JUDGED_MSAT + WORKED_MSAT
    assert await instance.built.db.read_all("SELECT id FROM job") == []


async def test_a_request_that_is_declined_is_answered_too(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """The reason is the result, and only the judging is paid for."""
    answer = await ask(instance, "REJECT me")
    assert answer.status_code == 200 and left(answer) == PER_HOUR - 1
    assert answer.json() == {"result": "It asks for what is not done here.", "state": "rejected"}
    assert ("work", "REJECT me") not in scripted_agent.calls
    assert await given_msat(instance) == JUDGED_MSAT


@pytest.mark.parametrize(
    ("request_text", "cost_msat"), [("BREAK-JUDGE", 0), ("BREAK-WORK", JUDGED_MSAT)]
)
async def test_an_agent_that_breaks_is_a_503(
    instance: Instance, request_text: str, cost_msat: int
) -> None:
    """It says so in a sentence; no turn is used, and what was answered before is paid for."""
    answer = await ask(instance, request_text)
    refused(answer, 503, "The agent is out of order")
    assert left(answer) == PER_HOUR and int(answer.headers["retry-after"]) > 0
    assert await given_msat(instance) == cost_msat
    assert left(await ask(instance)) == PER_HOUR - 1


class Rambling(ScriptedAgent):
    """Answers, and nobody can read its verdict."""

    async def judge(self, request: str) -> Accepted | Rejected | Broke:
        """Break, when the model has been paid."""
        return Broke("The agent gave no verdict.", retryable=True, usage=Usage(10, 5))


async def test_what_a_model_was_paid_for_is_a_turn(database_url: str, tmp_path: Path) -> None:
    """A request that a model answers uselessly may have brought that about: it counts, and what
    it has cost is booked.
    """
    async with instance_of(database_url, tmp_path, agent=Rambling()) as instance:
        answer = await ask(instance)
        refused(answer, 503, "gave no verdict")
        assert left(answer) == PER_HOUR - 1
        assert await given_msat(instance) == JUDGED_MSAT


async def test_failures_have_an_end_too(instance: Instance, scripted_agent: ScriptedAgent) -> None:
    """Of what fails on our side so many are given back in an hour as may be asked in one, and the
    next ones count: then it is a 429, and no agent is asked.
    """
    told = []
    for _ in range(2 * PER_HOUR):
        answer = await ask(instance, "BREAK-JUDGE")
        assert answer.status_code == 503
        told.append(left(answer))
    assert told == [PER_HOUR] * PER_HOUR + [*reversed(range(PER_HOUR))]
    refused(await ask(instance, "BREAK-JUDGE"), 429)
    assert scripted_agent.calls["judge", "BREAK-JUDGE"] == 2 * PER_HOUR


async def test_a_page_of_a_demo_that_broke_gives_it_back_too(instance: Instance) -> None:
    """Without JavaScript a failure of ours is no turn either."""
    async with httpx2.AsyncClient(base_url=instance.url, timeout=PATIENCE_S) as browser:
        page = await browser.get("/demo", params={"request": "BREAK-WORK"})
    assert page.status_code == 503 and left(page) == PER_HOUR


async def test_an_agent_that_does_not_answer_is_not_waited_for(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent
) -> None:
    """After AGENT_TIMEOUT_S it is a 503, nothing stays held, and no turn is used."""
    scripted_agent.go.clear()
    slow = instance_of(database_url, tmp_path, agent=scripted_agent, AGENT_TIMEOUT_S="1")
    async with slow as instance:
        answer = await ask(instance)
        refused(answer, 503, "did not answer in time")
        assert left(answer) == PER_HOUR and await given_msat(instance) == 0


def test_every_answer_is_promised_to_tell_the_limit() -> None:
    """X-RateLimit-Limit, -Remaining and -Reset stand at each status, as the seed has them."""
    for answer in CONTRACT.document["paths"]["/api/demo"]["get"]["responses"].values():
        promised = CONTRACT.resolve(answer)["headers"]
        for name in ("Limit", "Remaining", "Reset"):
            assert CONTRACT.resolve(promised[f"X-RateLimit-{name}"])["required"]


async def test_the_sixth_in_an_hour_is_refused(instance: Instance) -> None:
    """Five are answered; then a 429 says when there is another, and what can be done till then."""
    for number in range(PER_HOUR):
        answer = await ask(instance)
        assert answer.status_code == 200 and left(answer) == PER_HOUR - 1 - number
    over = await ask(instance)
    refused(over, 429, "more than 5 demos in one hour")
    assert left(over) == 0 and 3500 < int(over.headers["retry-after"]) <= 3600
    assert "POST /api/jobs" in over.json()["next"]


BAD = {
    "": "'request' is missing",
    "req=hello": "'request' is missing",
    "request=": "is empty",
    "request=%20%0a": "is empty",
    "request=a&request=b": "given twice",
    "request=a&request=a": "given twice",
    "request=" + "a" * 20_001: "at most 20000",
    "request=a%00b": "U+0000",
    "request=%ff": "UTF-8",
    "request=%ed%a0%80": "UTF-8",
    "&".join(f"a{number}=b" for number in range(200)): "over 100 parameters",
}


@pytest.mark.one_instance
@pytest.mark.parametrize("query", BAD, ids=lambda query: query[:20])
async def test_a_bad_request_costs_nobody_anything(
    instance: Instance, scripted_agent: ScriptedAgent, query: str
) -> None:
    """It is a 400 with the limit's headers, and no turn is used; the agent is not asked."""
    answer = await instance.http.get(f"/api/demo?{query}")
    refused(answer, 400, BAD[query])
    assert left(answer) == PER_HOUR and not scripted_agent.calls


async def test_other_words_do_no_harm(instance: Instance, scripted_agent: ScriptedAgent) -> None:
    """Parameters that the demo does not know are ignored; a request may be any text."""
    text = "Größe? 10 % + 5 & \U0001f600\n\ttabs"
    answer = await instance.http.get(f"/api/demo?utm=1&request={quote(text)}&fbclid=")
    assert answer.json()["result"] == f"done: {text}"


async def test_head_asks_and_runs_nothing(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """HEAD is answered with the limit's headers, counts nothing, and asks no agent."""
    answer = await instance.http.head("/api/demo", params={"request": "hello"})
    assert answer.status_code == 200 and left(answer) == PER_HOUR and not scripted_agent.calls


async def test_the_operator_can_close_it(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent
) -> None:
    """Where nothing is given away, the demo says that it is closed."""
    shut = instance_of(database_url, tmp_path, agent=scripted_agent, FREE_SATS_PER_DAY="0")
    async with shut as instance:
        answer = await ask(instance)
        refused(answer, 503, "closed")
        assert left(answer) == PER_HOUR and not scripted_agent.calls


@pytest.fixture
def clock() -> RailClock:
    """A clock that a test moves; it begins at noon."""
    return RailClock()


@pytest.fixture
async def frugal(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent, clock: RailClock
) -> AsyncIterator[Instance]:
    """An instance that gives away what one demo may cost at most (11 sats), and a sat."""
    async with instance_of(
        database_url, tmp_path, agent=scripted_agent, clock=clock, FREE_SATS_PER_DAY="12"
    ) as instance:
        yield instance


async def test_what_is_given_away_ends_with_the_day(frugal: Instance, clock: RailClock) -> None:
    """When the day's share is used up, it is a 503 until midnight UTC and no turn is used; then it
    goes on.
    """
    assert (await ask(frugal)).status_code == 200
    over = await ask(frugal)
    refused(over, 503, "used up")
    wait_s = int(over.headers["retry-after"])
    assert DAY_S // 2 <= wait_s <= DAY_S // 2 + 1
    assert left(over) == PER_HOUR - 1
    clock.advance(wait_s)
    assert (await ask(frugal)).status_code == 200


async def test_demos_at_once_do_not_spend_the_share_twice(
    frugal: Instance, scripted_agent: ScriptedAgent
) -> None:
    """While one runs, its ceiling is set aside, and what is left is not enough for another."""
    scripted_agent.go.clear()
    running = asyncio.ensure_future(ask(frugal))
    await scripted_agent.begun.wait()
    refused(await ask(frugal), 503, "used up")
    scripted_agent.go.set()
    assert (await running).status_code == 200
    assert len(scripted_agent.calls) == 2


class Measuring(ScriptedAgent):
    """Tells the ceiling that it was given."""

    async def work(
        self, request: str, max_output_tokens: int, progress: Progress = unwatched
    ) -> Result | Broke:
        """Answer with the ceiling."""
        return Result(str(max_output_tokens), Usage(1, 1))


@pytest.mark.parametrize(("ceiling", "given"), [("300", "300"), ("5000", "1000")])
async def test_an_answer_is_short(
    database_url: str, tmp_path: Path, ceiling: str, given: str
) -> None:
    """The agent may write DEMO_MAX_OUTPUT_TOKENS, and never more than it may write at all."""
    brief: dict[str, Any] = {"DEMO_MAX_OUTPUT_TOKENS": ceiling}
    async with instance_of(database_url, tmp_path, agent=Measuring(), **brief) as instance:
        assert (await ask(instance)).json()["result"] == given


class Bursting(ScriptedAgent):
    """Breaks in a way that no agent should."""

    async def judge(self, request: str) -> Accepted | Rejected | Broke:
        """Break."""
        raise RuntimeError("canary")


async def test_even_a_fault_of_ours_tells_the_limit(database_url: str, tmp_path: Path) -> None:
    """A 500 has the limit's headers too, nothing stays held, and no turn is used."""
    async with instance_of(database_url, tmp_path, agent=Bursting()) as instance:
        answer = await ask(instance)
        refused(answer, 500)
        assert left(answer) == PER_HOUR and await given_msat(instance) == 0


async def test_without_a_price_nothing_is_run(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent, clock: RailClock
) -> None:
    """What can't be booked is not run: a 503, and no turn is used."""
    nobody = Oracle((), clock=clock, fallback_microusd=None, development_microusd=None)
    poor = instance_of(database_url, tmp_path, agent=scripted_agent, oracle=nobody)
    async with poor as instance:
        answer = await ask(instance)
        refused(answer, 503, "price")
        assert left(answer) == PER_HOUR and not scripted_agent.calls
