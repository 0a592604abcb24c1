"""Conversations on a session: who may, what is charged, and that nothing is charged for nothing."""

import asyncio
from typing import Any

import httpx2
import pytest

from db import ledger
from db.audit import audit
from statemachine.entries import Asset
from tests.world.chat_fixtures import HOME, Talker, paying, talker
from tests.world.contract import refused
from tests.world.gemini_server import ABSENT, CHAT_MODEL, STREAM, WHOLE, GeminiServer, Reply
from tests.world.house_fixtures import Instance

DRAW = "/api/gemini/generate-image"
pytestmark = pytest.mark.one_instance
INFRA_SATS = 3  # 2,000 micro-USD and a fifth, at 100,000 USD a bitcoin


async def test_an_answer_is_charged_to_the_session(
    chatty: Instance, gemini_server: GeminiServer
) -> None:
    """What was used is charged with the margin, the rest of the ceiling is given back, and no
    cookie is set.
    """
    gemini_server.script(STREAM, Reply(text="word " * 40, usage={
        "promptTokenCount": 1_000, "candidatesTokenCount": 2_000, "thoughtsTokenCount": 500,
    }))  # fmt: skip
    async with paying(chatty) as holder:
        mine = await holder.begin()
        done = (await holder.say(mine, "hello"))[-1]
        # (1,000 × 0.75 + 2,500 × 3.75 USD a million + 2,000 micro-USD) × 1.2, at 1,000 a sat
        assert done["chargedSats"] == 15
        assert await holder.balance_sats() == 2_000 - 15
        assert not holder.http.cookies
    assert await audit(chatty.built.db) == []


async def test_an_image_is_charged_to_the_session(
    chatty: Instance, gemini_server: GeminiServer
) -> None:
    """By the tokens that were counted: one that broke costs nothing, one declined what it read."""
    gemini_server.script(WHOLE, Reply(), Reply(status=500), Reply(block="SAFETY"))
    before = await lost_msat(chatty)
    async with paying(chatty) as holder:
        statuses = [
            (await holder.http.post(DRAW, json={"prompt": "a cat"})).status_code for _ in range(3)
        ]
        assert statuses == [200, 503, 422]
        # (1,120 × 60 USD a million + 2,000 micro-USD) × 1.2
        assert await holder.balance_sats() == 2_000 - 84 - INFRA_SATS
    assert await lost_msat(chatty) == before


async def test_a_painted_image_is_charged_to_the_session(instance_of_test: Instance) -> None:
    """A picture of the embedded painter counts as 1,000 tokens, the infrastructure and the margin;
    one that is declined costs what any declined one costs.
    """
    async with paying(instance_of_test) as holder:
        answer = await holder.http.post(DRAW, json={"prompt": "a cat on the beach"})
        assert answer.status_code == 200 and answer.json()["madeBy"] == "scene-1", answer.text
        # (1,000 × 1 USD a million + 2,000 micro-USD) × 1.2, at 1,000 a sat, rounded up
        assert await holder.balance_sats() == 2_000 - 4
        assert (await holder.http.post(DRAW, json={"prompt": "..."})).status_code == 422
        assert await holder.balance_sats() == 2_000 - 4 - INFRA_SATS
    assert await lost_msat(instance_of_test) == 0


async def test_an_image_that_nobody_can_show_is_the_houses_expense(
    chatty: Instance, gemini_server: GeminiServer
) -> None:
    """The model has drawn, and was paid: the session is not charged, and the books say so."""
    gemini_server.script(WHOLE, Reply(media_type="text/html"))
    before = await lost_msat(chatty)
    async with paying(chatty) as holder:
        answer = await holder.http.post(DRAW, json={"prompt": "a cat"})
        assert answer.status_code == 503
        assert await holder.balance_sats() == 2_000
    # 1,120 × 60 USD a million + 2,000 micro-USD
    assert await lost_msat(chatty) - before == 70 * 1_000


async def test_a_session_is_not_held_to_the_visitors_limit(
    chatty: Instance, gemini_server: GeminiServer
) -> None:
    """Who pays is told of no limit."""
    async with paying(chatty) as holder:
        mine = await holder.begin()
        async with holder.saying(mine, "hello") as (answer, coming):
            assert [event async for event in coming][-1]["done"]
            assert "x-ratelimit-limit" not in answer.headers


async def test_who_leaves_pays_for_what_was_used(
    chatty: Instance, gemini_server: GeminiServer
) -> None:
    """Before the model has counted, for about what it was given to read."""
    counted = {"promptTokenCount": 10_000, "candidatesTokenCount": 1}
    gemini_server.script(
        STREAM,
        Reply(text="one two", hang_after=1, usage=counted),
        Reply(text="one", hang_after=0),
    )
    async with paying(chatty) as holder:
        mine = await holder.begin()
        async with holder.saying(mine, "hello") as (_, coming):
            assert await anext(coming) == {"content": "one "}
        await gemini_server.left.acquire()
        # (10,000 × 0.75 + 2 × 3.75 USD a million + 2,000 micro-USD) × 1.2
        assert await holder.balance_sats() == 2_000 - 12
        sending = asyncio.create_task(holder.say(mine, "x" * 20_000))
        while len(gemini_server.calls) < 2:
            await asyncio.sleep(0.02)
        sending.cancel()
        await gemini_server.left.acquire()
        # 5,000 tokens were given to read, and a few of before
        assert await holder.balance_sats() == 2_000 - 12 - 7
    assert await audit(chatty.built.db) == []


COUNTED = {"promptTokenCount": 10_000, "candidatesTokenCount": 2_000, "thoughtsTokenCount": 500}


@pytest.mark.parametrize(
    ("reply", "lost_sats"),
    [
        (Reply(status=500), 0),
        (Reply(raw=b"<html>"), 0),
        # 10,000 × 0.75 + 2,500 × 3.75 USD a million + 2,000 micro-USD, without the margin
        (Reply(text="one two", cut_after=1, usage=COUNTED), 19),
        (Reply(text="one two", finish="OTHER", usage=COUNTED), 19),
        # No count at all: what the few words are about, and the infrastructure.
        (Reply(text="one two", usage={"promptTokenCount": -1, "candidatesTokenCount": 2}), 3),
        (Reply(text="one two", usage=ABSENT), 3),
    ],
    ids=["at once", "unreadable", "cut", "failed", "no usage", "uncounted"],
)
async def test_a_model_that_breaks_costs_the_session_nothing(
    chatty: Instance, gemini_server: GeminiServer, reply: Reply, lost_sats: int
) -> None:
    """Neither before its first word nor after it: what it had cost until then is the house's, which
    books it, and whose balance and books stay whole."""
    gemini_server.script(STREAM, reply)
    before = await lost_msat(chatty)
    async with paying(chatty) as holder:
        mine = await holder.begin()
        path = f"{HOME}/{mine}/messages"
        answer = await holder.http.post(path, json={"content": "hello"})
        assert answer.status_code == 503 or '"error"' in answer.text
        assert await holder.balance_sats() == 2_000
    assert await lost_msat(chatty) - before == lost_sats * 1_000


async def lost_msat(chatty: Instance) -> int:
    """Return what calls that broke have cost the house, in books that are whole."""
    assert await audit(chatty.built.db) == []
    return int(await ledger.balance(chatty.built.db, "expense:failed", Asset.MSAT))


async def test_what_is_declined_costs_what_was_read(
    chatty: Instance, gemini_server: GeminiServer
) -> None:
    """A model that will not answer has read all the same."""
    gemini_server.script(STREAM, Reply(block="SAFETY"))
    async with paying(chatty) as holder:
        refused(await holder.refused(await holder.begin(), "hello"), 422)
        assert await holder.balance_sats() == 2_000 - INFRA_SATS


async def test_a_balance_too_low_for_the_ceiling_is_refused(
    chatty: Instance, gemini_server: GeminiServer
) -> None:
    """No model is asked, nothing is stored, nothing is set aside; it says what to do."""
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 3_000}
    gemini_server.script(STREAM, Reply(text="much", usage=usage))
    async with paying(chatty, 100) as holder:
        mine = await holder.begin()
        await holder.say(mine, "hello")
        answer = await holder.refused(mine, "🌧" * 20_000)  # a token a byte, at most
        assert answer.status_code == 402, answer.text
        assert "/topup" in answer.json()["next"] and answer.json()["balanceSats"] == 84
        assert (await holder.http.post(DRAW, json={"prompt": "a cat"})).status_code == 402
        assert len(await holder.said(mine)) == 2
        assert await holder.balance_sats() == 84
    assert len(gemini_server.calls) == 1


@pytest.mark.parametrize(
    ("caveat", "status"),
    [("endpoints=request,status", 403), ("max_sats=5", 403), ("budget_sats=5", 402)],
)
async def test_a_narrowed_macaroon_is_held_to_its_limits(
    chatty: Instance, gemini_server: GeminiServer, caveat: str, status: int
) -> None:
    """What its caveats do not allow is refused before a model is asked."""
    async with paying(chatty, 2_000, caveat) as holder, talker(chatty) as somebody:
        made = await holder.http.post(HOME, json={"title": "x"})
        if caveat.startswith("endpoints"):
            refused(made, status, "'gemini'")
            mine = await somebody.begin()
        else:
            mine = made.json()["id"]
        path = f"{HOME}/{mine}/messages"
        answer = await holder.http.post(path, json={"content": "hello"})
        assert answer.status_code == status, answer.text
    assert gemini_server.calls == []


async def test_a_childs_budget_is_charged_what_was_used(
    chatty: Instance, gemini_server: GeminiServer
) -> None:
    """What its answer did not need is on its budget again."""
    async with paying(chatty, 2_000, "budget_sats=60") as holder:
        mine = await holder.begin()
        for _ in range(3):
            assert (await holder.say(mine, "hello"))[-1]["chargedSats"] == INFRA_SATS
        session_id = holder.session.rpartition("/")[2]
    used = await chatty.built.db.read_one(
        "SELECT used_msat FROM allowance WHERE session_id = %(session_id)s", session_id=session_id
    )
    assert used is not None and used["used_msat"] == 3 * INFRA_SATS * 1_000
    assert await audit(chatty.built.db) == []


async def test_a_conversation_is_its_sessions(chatty: Instance, visitor: Talker) -> None:
    """Neither another session nor a visitor finds it, and the session does not find a visitor's."""
    theirs = await visitor.begin()
    async with paying(chatty) as holder, paying(chatty) as other:
        mine = await holder.begin()
        for stranger in (other, visitor):
            refused(await stranger.http.get(f"{HOME}/{mine}"), 404)
            refused(await stranger.http.delete(f"{HOME}/{mine}"), 404)
            refused(await stranger.refused(mine, "hello"), 404)
        refused(await holder.http.get(f"{HOME}/{theirs}"), 404)
        assert [each["id"] for each in (await holder.http.get(HOME)).json()] == [mine]


@pytest.mark.parametrize(
    "shown",
    ["Bearer junk", "Bearer", "Bearer AgEIYm9sdHdvcms", "Basic dTpw", "L402 a:b", "x" * 300],
)
async def test_a_credential_that_does_not_hold_is_a_401(visitor: Talker, shown: str) -> None:
    """Whatever it is, and on every address; the cookie does not stand in for it."""
    mine = await visitor.begin()
    headers, body = {"authorization": shown}, {"content": "x", "title": "x", "prompt": "x"}
    asked: list[tuple[str, str, Any]] = [
        ("GET", HOME, None),
        ("POST", HOME, {"title": "x"}),
        ("GET", f"{HOME}/{mine}", None),
        ("DELETE", f"{HOME}/{mine}", None),
        ("GET", f"{HOME}/{mine}/messages", None),
        ("POST", f"{HOME}/{mine}/messages", {"content": body["content"]}),
        ("POST", DRAW, {"prompt": body["prompt"]}),
    ]
    for method, path, sent in asked:
        answer: httpx2.Response = await visitor.http.request(
            method, path, json=sent, headers=headers
        )
        refused(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_revoked_macaroon_is_a_401(chatty: Instance) -> None:
    """A session's new credential is the only one then."""
    async with paying(chatty) as holder:
        await holder.begin()
        answer = await holder.plain.post(f"{holder.session}/revoke")
        assert answer.status_code == 200, answer.text
        refused(await holder.http.get(HOME), 401, "revoked")


@pytest.mark.parametrize(
    ("sats", "caveats", "status"), [(2_000, ("max_sats=1",), 403), (100, (), 402)]
)
async def test_a_revoked_macaroon_draws_nothing(
    chatty: Instance, gemini_server: GeminiServer, sats: int, caveats: tuple[str, ...], status: int
) -> None:
    """That is said of it before anything else is, and nothing is set aside."""
    async with paying(chatty, sats, *caveats) as holder:
        refused(await holder.http.post(DRAW, json={"prompt": "a cat"}), status)
        renewed = (await holder.plain.post(f"{holder.session}/revoke")).json()
        holder.plain.headers["authorization"] = f"Bearer {renewed['macaroon']}"
        refused(await holder.http.post(DRAW, json={"prompt": "a cat"}), 401, "revoked")
        assert await holder.balance_sats() == sats and not gemini_server.calls


async def test_a_session_that_is_over_reads_and_asks_no_more(
    chatty: Instance, gemini_server: GeminiServer
) -> None:
    """What was said can still be read with its macaroon, and deleted."""
    async with paying(chatty) as holder:
        mine = await holder.begin()
        await holder.say(mine, "hello")
        assert (await holder.plain.post(f"{holder.session}/close")).status_code == 200
        refused(await holder.refused(mine, "hello"), 410)
        assert len(await holder.said(mine)) == 2
        assert (await holder.http.delete(f"{HOME}/{mine}")).status_code == 204
    assert len(gemini_server.calls) == 1 and gemini_server.calls[0].model == CHAT_MODEL
