"""What conversations cost the house, what they are without a key, and the images they come with."""

import base64
from pathlib import Path
from typing import Any

from app.adapters import make_painter
from app.agents.agent import Agent, Broke
from app.agents.anthropic import AnthropicAgent
from app.agents.chat import WorkerChat
from app.executors.painter import ScenePainter
from app.settings import Settings
from db.audit import audit
from tests.world.agent_fixtures import Embedded
from tests.world.chat_fixtures import Talker, chatty_instance, talker
from tests.world.contract import refused
from tests.world.gemini_server import IMAGE_MODEL, PIXEL, STREAM, WHOLE, GeminiServer, Reply
from tests.world.house_fixtures import Instance, instance_of
from tests.world.scripted_agent import ScriptedAgent

DRAW = "/api/gemini/generate-image"


async def test_visitors_share_the_limit_of_the_demo(
    database_url: str, tmp_path: Path, gemini_server: GeminiServer
) -> None:
    """Messages, images and demos of an address are counted together; looking is free."""
    limit = {"DEMO_PER_HOUR": "3"}
    async with (
        chatty_instance(database_url, tmp_path, gemini_server, **limit) as instance,
        talker(instance) as somebody,
    ):
        mine = await somebody.begin()
        await somebody.say(mine, "hello")
        assert (await somebody.http.post(DRAW, json={"prompt": "a cat"})).status_code == 200
        assert (await somebody.http.get("/api/demo?request=hello")).status_code == 200
        refused(await somebody.refused(mine, "hello"), 429)
        refused(await somebody.http.post(DRAW, json={"prompt": "a cat"}), 429)
        assert len(await somebody.said(mine)) == 2


async def test_what_fails_on_our_side_is_no_turn(
    database_url: str, tmp_path: Path, gemini_server: GeminiServer
) -> None:
    """A message or an image that the model broke at is given back, also in the middle of it; one
    that the model declines is not.
    """
    async with (
        chatty_instance(database_url, tmp_path, gemini_server, DEMO_PER_HOUR="3") as instance,
        talker(instance) as somebody,
    ):
        mine = await somebody.begin()
        gemini_server.script(STREAM, Reply(status=500), Reply(text="one two", error_after=1))
        answer = await somebody.refused(mine, "hello")
        refused(answer, 503)
        assert answer.headers["x-ratelimit-remaining"] == "3"
        assert "error" in (await somebody.say(mine, "hello"))[-1]
        gemini_server.script(WHOLE, Reply(status=500), Reply(block="SAFETY"))
        drawn = [await somebody.http.post(DRAW, json={"prompt": "a cat"}) for _ in range(3)]
        assert [answer.status_code for answer in drawn] == [503, 422, 200]
        left = [answer.headers["x-ratelimit-remaining"] for answer in drawn]
        assert left == ["3", "2", "1"]


async def test_what_visitors_cost_is_the_houses_expense(
    chatty: Instance, visitor: Talker, gemini_server: GeminiServer
) -> None:
    """Each answer and image is booked at cost, and the books stay whole."""
    mine = await visitor.begin()
    done = (await visitor.say(mine, "hello"))[-1]
    await visitor.http.post(DRAW, json={"prompt": "a cat"})
    # Two times 2,000 micro-USD of infrastructure, and 1,120 tokens at 60 USD a million.
    row = await chatty.built.db.read_one("SELECT used_msat FROM free_day")
    assert row is not None
    assert row["used_msat"] == (done["chargedSats"] + 70) * 1_000
    assert done["chargedSats"] == 3
    assert await audit(chatty.built.db) == []


async def test_what_an_answer_that_broke_had_cost_is_the_houses_expense_too(
    chatty: Instance, visitor: Talker, gemini_server: GeminiServer
) -> None:
    """In the middle the model had read it all and written some: that is of what a day gives, at
    least as far as it is known, and kept as an estimate. Broken at once it has cost nothing."""
    mine = await visitor.begin()
    counted = {"promptTokenCount": 10_000, "candidatesTokenCount": 1}
    cut = Reply(text="one two", cut_after=1, usage=counted)
    gemini_server.script(STREAM, Reply(status=500), cut)
    await visitor.refused(mine, "hello")
    day = "SELECT used_msat FROM free_day"
    assert (await chatty.built.db.read_all(day)) in ([], [{"used_msat": 0}])
    assert "error" in (await visitor.say(mine, "hello"))[-1]
    row = await chatty.built.db.read_one(day)
    # 10,000 × 0.75 + 2 × 3.75 USD a million + 2,000 micro-USD, up to the next sat
    assert row is not None and row["used_msat"] == 10_000
    [kept] = await chatty.built.db.read_all("SELECT usage FROM message WHERE usage IS NOT NULL")
    assert kept["usage"]["estimated"] is True
    assert await audit(chatty.built.db) == []


async def test_nothing_is_given_away_where_the_house_gives_nothing(
    database_url: str, tmp_path: Path, gemini_server: GeminiServer
) -> None:
    """Then visitors are told to use a session, and no model is asked."""
    closed = {"FREE_SATS_PER_DAY": "0"}
    async with (
        chatty_instance(database_url, tmp_path, gemini_server, **closed) as instance,
        talker(instance) as somebody,
    ):
        mine = await somebody.begin()
        refused(await somebody.refused(mine, "hello"), 503, "Use a session")
        refused(await somebody.http.post(DRAW, json={"prompt": "a cat"}), 503)
    assert gemini_server.calls == []


async def test_an_image_is_drawn(visitor: Talker, gemini_server: GeminiServer) -> None:
    """It is answered in base64, with its type; a prompt that is declined is a 422."""
    answer = await visitor.http.post(DRAW, json={"prompt": "a cat"})
    assert answer.status_code == 200
    assert answer.json()["mimeType"] == "image/png"
    assert (answer.json()["model"], answer.json()["madeBy"]) == (IMAGE_MODEL, "gemini")
    assert base64.b64decode(answer.json()["b64_json"]) == PIXEL
    gemini_server.script(WHOLE, Reply(block="SAFETY"), Reply(status=500), Reply(image=None))
    for status in (422, 503, 422):
        refused(await visitor.http.post(DRAW, json={"prompt": "a cat"}), status)


async def test_without_a_key_the_agent_converses_and_the_painter_paints(
    database_url: str, tmp_path: Path, embedded: Embedded
) -> None:
    """The embedded model streams text, whichever model is asked for; an image says who made it."""
    model = "smollm2-135m-instruct"
    agent = AnthropicAgent(embedded.client_key, embedded.url, model, model, max_output_tokens=24)
    async with (
        instance_of(database_url, tmp_path, agent=agent) as instance,
        talker(instance) as somebody,
    ):
        mine = await somebody.begin()
        *pieces, done = await somebody.say(mine, "Say hello.", model="gemini-3-flash-preview")
        assert len(pieces) > 1 and done["model"] == model
        assert done["inputTokens"] > 0 and done["outputTokens"] > 0
        told = "".join(piece["content"] for piece in pieces)
        assert (await somebody.said(mine))[1] == ("assistant", told)
        answer = await somebody.http.post(DRAW, json={"prompt": "a cat"})
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["mimeType"], told["model"], told["madeBy"]) == (
            "image/png", "scene-1", "scene-1",
        )  # fmt: skip
        assert base64.b64decode(told["b64_json"]).startswith(b"\x89PNG")
        refused(await somebody.http.post(DRAW, json={"prompt": "..."}), 422, "nothing to paint")


async def test_production_paints_only_where_it_was_told_to() -> None:
    """Else nothing draws there without a key, and says so."""
    drawn = await WorkerChat(ScriptedAgent(), 1_000).draw("a cat")
    assert isinstance(drawn, Broke) and "draws" in drawn.reason
    real: dict[str, Any] = {
        "BOLTWORK_ENV": "production", "BOLTWORK_SECRET": "5" * 64, "ANTHROPIC_API_KEY": "x",
        "LNBITS_URL": "https://lnbits.example", "LNBITS_API_KEY": "x",
        "BOLTWORK_PUBLIC_URL": "https://example.com",
    }  # fmt: skip
    assert make_painter(Settings(**real)) is None
    assert make_painter(Settings(**real, ALLOW_EMBEDDED_MODEL="true")) is not None


async def test_what_an_executor_cannot_make_now_is_nobodys_charge() -> None:
    """What it raises may be tried again; what it can't make at all may not."""
    starved = ScenePainter(memory_mb=64)
    for chat, retryable in (
        (WorkerChat(ScriptedAgent(), 1_000, starved), True),
        (WorkerChat(ScriptedAgent(), 1_000, ScenePainter(), 0), True),
        (WorkerChat(ScriptedAgent(), 1_000, closed := ScenePainter()), False),
    ):
        if not retryable:
            await closed.close()
        drawn = await chat.draw("a cat")
        assert isinstance(drawn, Broke) and drawn.retryable is retryable
        assert drawn.usage is None
        await chat.close()


class Mute:
    """An agent of which only the work is known."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.name, self.eval_model, self.work_model = agent.name, agent.eval_model, agent.work_model
        self.max_output_tokens = agent.max_output_tokens
        self.max_eval_output_tokens = agent.max_eval_output_tokens
        self.judge, self.work = agent.judge, agent.work
        self.healthy, self.close = agent.healthy, agent.close


async def test_an_agent_that_cannot_converse_says_so(database_url: str, tmp_path: Path) -> None:
    """Where no agent converses, a message is a 503, and is stored."""
    async with (
        instance_of(database_url, tmp_path, agent=Mute(ScriptedAgent())) as instance,
        talker(instance) as somebody,
    ):
        mine = await somebody.begin()
        refused(await somebody.refused(mine, "hello"), 503, "converses")
        assert await somebody.said(mine) == [("user", "hello")]
