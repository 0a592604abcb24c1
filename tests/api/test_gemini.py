"""Conversations over real HTTP: whose they are, how answers come, and how they end."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.agents.chat import Turn
from app.trade.chats import given_turns
from db.audit import audit
from db.conversations import Said
from tests.world.chat_fixtures import HOME, Talker, chatty_instance, talker
from tests.world.contract import refused
from tests.world.gemini_server import CHAT_MODEL, STREAM, GeminiServer, Reply
from tests.world.house_fixtures import Instance

DRAW = "/api/gemini/generate-image"
pytestmark = pytest.mark.one_instance


async def test_a_conversation_is_its_visitors(chatty: Instance, visitor: Talker) -> None:
    """It is begun, listed, read and deleted by who has its cookie, and by nobody else."""
    made = await visitor.http.post(HOME, json={"title": "  Rain  "})
    conversation = made.json()
    path = f"{HOME}/{conversation['id']}"
    assert made.status_code == 201 and conversation["title"] == "Rain"
    assert made.headers["location"] == path
    later = await visitor.begin("Snow")
    listed = await visitor.http.get(HOME)
    assert [each["id"] for each in listed.json()] == [later, conversation["id"]]
    assert (await visitor.http.get(path)).json() == {**conversation, "messages": []}
    async with talker(chatty) as stranger:
        assert (await stranger.http.get(HOME)).json() == []
        for at in (path, f"{path}/messages"):
            refused(await stranger.http.get(at), 404)
        refused(await stranger.http.delete(path), 404)
        await stranger.begin()
        refused(await stranger.refused(conversation["id"], "hello"), 404)
    gone = await visitor.http.delete(path)
    assert (gone.status_code, gone.content) == (204, b"")
    refused(await visitor.http.delete(path), 404)
    refused(await visitor.http.get(path), 404)


async def test_the_cookie_is_kept_from_scripts_and_strangers(
    database_url: str, tmp_path: Path, gemini_server: GeminiServer
) -> None:
    """It is for these addresses alone, not for scripts, nor for other sites' forms, and on https
    never sent without it; who has one gets no other.
    """
    public = {"PUBLIC_URL": "https://boltwork.example"}
    async with (
        chatty_instance(database_url, tmp_path, gemini_server, **public) as instance,
        talker(instance) as somebody,
    ):
        made = await somebody.http.post(HOME, json={"title": "x"})
        line = made.headers["set-cookie"]
        for rule in ("HttpOnly", "SameSite=Lax", "Secure", "Path=/api/gemini"):
            assert f"; {rule}" in line
        cookie = line.partition(";")[0]
        again = await somebody.http.post(HOME, json={"title": "y"}, headers={"cookie": cookie})
        assert "set-cookie" not in again.headers


@pytest.mark.parametrize("forged", ["x", "", "gAAAAA" * 20, "a" * 5000, '"\\351"'])
async def test_a_forged_cookie_is_none(visitor: Talker, forged: str) -> None:
    """Who shows a cookie that we did not make is somebody new."""
    await visitor.begin()
    headers = {"cookie": f"boltwork_visitor={forged}"}
    visitor.http.cookies.clear()
    assert (await visitor.http.get(HOME, headers=headers)).json() == []
    assert (
        "set-cookie"
        in (await visitor.http.post(HOME, json={"title": "x"}, headers=headers)).headers
    )


async def test_an_answer_is_streamed_and_stored(
    visitor: Talker, gemini_server: GeminiServer
) -> None:
    """Each piece of the model is an event; at the end the answer is stored and counted."""
    mine = await visitor.begin()
    gemini_server.script(STREAM, Reply(text="Grey drops fall."))
    *pieces, done = await visitor.say(mine, "  Write about rain.  ")
    assert pieces == [{"content": "Grey "}, {"content": "drops "}, {"content": "fall."}]
    assert done["done"] is True and done["end"] == "whole" and done["model"] == CHAT_MODEL
    assert done["inputTokens"] == 7 and done["outputTokens"] == 10
    shown = (await visitor.http.get(f"{HOME}/{mine}")).json()["messages"]
    assert [(each["role"], each["content"]) for each in shown] == [
        ("user", "Write about rain."),
        ("assistant", "Grey drops fall."),
    ]
    assert shown[1]["id"] == done["messageId"]
    assert {each["conversationId"] for each in shown} == {mine}


async def test_the_model_hears_what_was_said_before(
    visitor: Talker, gemini_server: GeminiServer
) -> None:
    """The conversation goes with each message, in order."""
    mine = await visitor.begin()
    await visitor.say(mine, "one")
    gemini_server.script(STREAM, Reply(text="three"))
    await visitor.say(mine, "two")
    await visitor.say(mine, "four", model="gemini-3-flash-preview")
    call = gemini_server.calls[-1]
    assert call.model == "gemini-3-flash-preview"
    assert call.said == [
        ("user", "one"), ("model", "one"), ("user", "two"), ("model", "three"), ("user", "four"),
    ]  # fmt: skip


def test_what_does_not_fit_is_left_out() -> None:
    """The newest message is always given; of those before, what fits, beginning with a question."""
    said = [
        Said("assistant", "é" * 10),
        Said("user", "b" * 10),
        Said("assistant", "c" * 10),
        Said("user", "d" * 10),
    ]
    newest = Turn("user", "now")
    assert given_turns(said, "now", 1) == [newest]
    assert given_turns(said, "now", 22) == [newest]
    fits = [Turn("user", "b" * 10), Turn("assistant", "é" * 10), newest]
    assert given_turns(said, "now", 33) == given_turns(said, "now", 43) == fits
    assert given_turns(said, "now", 53) == [
        Turn("user", "d" * 10), Turn("assistant", "c" * 10), *fits
    ]  # fmt: skip


async def test_a_piece_is_sent_while_the_model_still_writes(
    chatty: Instance, visitor: Talker, gemini_server: GeminiServer
) -> None:
    """Nothing is held back; who goes away stops the model, and what was said is stored."""
    mine = await visitor.begin()
    gemini_server.script(STREAM, Reply(text="one two three", hang_after=2))
    async with visitor.saying(mine, "count") as (answer, coming):
        assert answer.status_code == 200
        assert await anext(coming) == {"content": "one "}
        assert await anext(coming) == {"content": "two "}
        assert await visitor.said(mine) == [("user", "count")]
    await gemini_server.left.acquire()
    while len(await visitor.said(mine)) < 2:
        await asyncio.sleep(0.02)
    assert await visitor.said(mine) == [("user", "count"), ("assistant", "one two ")]
    await visitor.say(mine, "go on")
    assert ("model", "one two ") in gemini_server.calls[-1].said
    assert await audit(chatty.built.db) == []


async def test_leaving_before_the_first_word_stops_the_model(
    chatty: Instance, visitor: Talker, gemini_server: GeminiServer
) -> None:
    """There is nothing to store then, and what was set aside is not left so."""
    mine = await visitor.begin()
    gemini_server.script(STREAM, Reply(text="one", hang_after=0))
    sending = asyncio.create_task(visitor.say(mine, "count"))
    while not gemini_server.calls:
        await asyncio.sleep(0.02)
    sending.cancel()
    await gemini_server.left.acquire()
    while await chatty.built.db.read_one("SELECT 1 AS one FROM hold WHERE state = 'held'"):
        await asyncio.sleep(0.02)
    assert await visitor.said(mine) == [("user", "count")]
    assert await audit(chatty.built.db) == []


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (Reply(status=429), 503),
        (Reply(status=500), 503),
        (Reply(status=400), 503),
        (Reply(raw=b"<html>"), 503),
        (Reply(text="one", cut_after=0), 503),
        (Reply(text=""), 422),
        (Reply(block="SAFETY"), 422),
        (Reply(text="", finish="SAFETY"), 422),
    ],
    ids=lambda given: repr(given)[6:60],
)
async def test_a_model_that_says_nothing_is_an_ordinary_refusal(
    chatty: Instance, visitor: Talker, gemini_server: GeminiServer, reply: Reply, status: int
) -> None:
    """No stream begins without a word: 503 when it broke, 422 when it declines. The message is
    stored all the same.
    """
    mine = await visitor.begin()
    gemini_server.script(STREAM, reply)
    refused(await visitor.refused(mine, "hello"), status)
    assert await visitor.said(mine) == [("user", "hello")]
    assert (await visitor.say(mine, "again"))[-1]["done"]
    assert await audit(chatty.built.db) == []


@pytest.mark.parametrize(
    "reply",
    [
        Reply(text="one two", cut_after=1),
        Reply(text="one two", error_after=1),
        Reply(text="one ", finish="SAFETY"),
    ],
    ids=["cut", "error", "stopped"],
)
async def test_a_model_that_breaks_in_the_middle_says_so(
    chatty: Instance, visitor: Talker, gemini_server: GeminiServer, reply: Reply
) -> None:
    """The last event is an error in a sentence; what was said until then is stored."""
    mine = await visitor.begin()
    gemini_server.script(STREAM, reply)
    piece, error = await visitor.say(mine, "hello")
    assert piece == {"content": "one "} and list(error) == ["error", "code"]
    assert error["error"].endswith(".")
    assert (await visitor.said(mine))[1:] == [("assistant", "one ")]
    assert await audit(chatty.built.db) == []


async def test_an_answer_at_its_ceiling_says_that_it_is_cut(
    visitor: Talker, gemini_server: GeminiServer
) -> None:
    """It is an answer all the same."""
    mine = await visitor.begin()
    gemini_server.script(STREAM, Reply(text="one two", finish="MAX_TOKENS"))
    assert (await visitor.say(mine, "count"))[-1]["end"] == "cut"


async def test_a_deleted_conversation_takes_no_answer(
    chatty: Instance, visitor: Talker, gemini_server: GeminiServer
) -> None:
    """An answer to what was deleted meanwhile is sent to its end, and kept nowhere."""
    mine = await visitor.begin()
    gemini_server.script(STREAM, Reply(text="one \x00two"))
    async with visitor.saying(mine, "count") as (_, coming):
        assert await anext(coming) == {"content": "one "}
        await visitor.http.delete(f"{HOME}/{mine}")
        assert [event async for event in coming][-1]["done"]
    left = await chatty.built.db.read_one(
        "SELECT count(*) AS many FROM message WHERE conversation_id = %(mine)s", mine=mine
    )
    assert left is not None and left["many"] in (0, 2)  # the answer may have been stored before
    assert await audit(chatty.built.db) == []


async def test_a_key_sends_a_message_once(visitor: Talker, gemini_server: GeminiServer) -> None:
    """The same key gives the same answer again, which the model is not asked for."""
    mine, key = await visitor.begin(), {"Idempotency-Key": "one"}
    said = await visitor.say(mine, "hello there", key)
    again = await visitor.say(mine, "hello there", key)
    assert again == [{"content": "hello there"}, said[-1]]
    assert len(gemini_server.calls) == 1 and len(await visitor.said(mine)) == 2
    path = f"{HOME}/{mine}/messages"
    other = await visitor.http.post(path, json={"content": "other"}, headers=key)
    refused(other, 409, "another request")
    gemini_server.script(STREAM, Reply(status=500))
    broke = {"Idempotency-Key": "two"}
    body = {"content": "hello"}
    refused(await visitor.http.post(path, json=body, headers=broke), 503)
    refused(await visitor.http.post(path, json=body, headers=broke), 409, "no answer")


async def test_a_key_begins_a_conversation_once(visitor: Talker) -> None:
    """The same key gives the same conversation; another title under it is refused."""
    await visitor.begin()  # who has no cookie yet is somebody new each time
    keyed = {"Idempotency-Key": "one"}
    made = [await visitor.begin("Rain", **keyed) for _ in range(2)]
    assert made[0] == made[1]
    refused(await visitor.http.post(HOME, json={"title": "Snow"}, headers=keyed), 409)


@pytest.mark.parametrize("path", ["0", "x", "1.5", "-1", "9" * 30, "%00", "１"])
async def test_what_is_no_id_is_unknown(visitor: Talker, path: str) -> None:
    """An id is a whole number; anything else is a 404, as is one that nobody has."""
    await visitor.begin()
    refused(await visitor.http.get(f"{HOME}/{path}"), 404)
    refused(await visitor.http.delete(f"{HOME}/{path}"), 404)
    refused(await visitor.http.get(f"{HOME}/{path}/messages"), 404)
    refused(await visitor.http.post(f"{HOME}/{path}/messages", json={"content": "x"}), 404)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "'content' is missing"),
        ({"content": " \n"}, "'content' is empty"),
        ({"content": "x" * 20_001}, "at most 20000"),
        ({"content": "a\x00"}, "U+0000"),
        ({"content": "x", "role": "system"}, "'role' is not known"),
        ({"content": "x", "model": "gpt-1"}, "'model'"),
        ({"content": "x", "model": "gemini-3.1-flash-image"}, "'model'"),
        ({"content": "x", "model": 7}, "'model'"),
    ],
)
async def test_a_wrong_message_is_refused(
    visitor: Talker, gemini_server: GeminiServer, body: dict[str, Any], says: str
) -> None:
    """What is wrong is named, nothing is stored and no model is asked."""
    mine = await visitor.begin()
    refused(await visitor.http.post(f"{HOME}/{mine}/messages", json=body), 400, says)
    assert await visitor.said(mine) == [] and gemini_server.calls == []
    if "content" not in body:
        refused(await visitor.http.post(HOME, json={"name": "x"}), 400, "'title' is missing")
        refused(await visitor.http.post(DRAW, json={"prompt": " "}), 400, "'prompt' is empty")
