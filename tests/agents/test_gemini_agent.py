"""The adapter of the Gemini API: what it sends, what it believes, and the faults it outlives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
import pytest_asyncio

from app.agents.agent import Broke
from app.agents.chat import Declined, Done, Drawn, Piece, Said, Turn
from app.agents.gemini import GeminiChat
from pricing.rates import Usage
from tests.world.gemini_server import (
    ABSENT,
    CHAT_MODEL,
    CLIENT_KEY,
    IMAGE_MODEL,
    IMAGE_TOKENS,
    MODEL,
    PIXEL,
    STREAM,
    THOUGHT_TOKENS,
    WHOLE,
    GeminiServer,
    Reply,
    read_tokens,
)

RAIN = Turn("user", "Write one line about rain.")
ELSEWHERE = "http://127.0.0.1:9"


def make_gemini(server: GeminiServer, **changed: Any) -> GeminiChat:
    """An adapter for the stand-in."""
    usual: dict[str, Any] = {
        "client_key": CLIENT_KEY,
        "base_url": server.url,
        "chat_model": CHAT_MODEL,
        "image_model": IMAGE_MODEL,
        "answer_deadline_s": 5,
        "image_deadline_s": 5,
    }
    return GeminiChat(**(usual | changed))


@pytest_asyncio.fixture(loop_scope="session")
async def gemini(gemini_server: GeminiServer) -> AsyncIterator[GeminiChat]:
    """The adapter before the stand-in."""
    chat = make_gemini(gemini_server)
    yield chat
    await chat.close()


async def answer(chat: GeminiChat, *turns: Turn, limit: int = 100) -> list[Piece]:
    """Read an answer to its end."""
    return [piece async for piece in chat.answer(CHAT_MODEL, turns or (RAIN,), limit)]


async def test_an_answer_comes_word_by_word(
    gemini: GeminiChat, gemini_server: GeminiServer
) -> None:
    """Each chunk of the model is a piece; thoughts are none of the text, and are counted."""
    gemini_server.script(STREAM, Reply(text="Grey drops fall."))
    *pieces, done = await answer(gemini)
    read = read_tokens(gemini_server.calls[-1])
    assert [(type(piece), getattr(piece, "text", "")) for piece in pieces] == [
        (Said, "Grey "),
        (Said, "drops "),
        (Said, "fall."),
    ]
    assert pieces[0] == Said("Grey ", Usage(read, THOUGHT_TOKENS + 1))
    assert done == Done(Usage(read, THOUGHT_TOKENS + 3))


async def test_the_whole_conversation_is_sent(
    gemini: GeminiChat, gemini_server: GeminiServer
) -> None:
    """Turns are sent in order under the API's roles, with the ceiling, the key and few thoughts."""
    await answer(gemini, Turn("user", "one"), Turn("assistant", "two"), RAIN, limit=77)
    call = gemini_server.calls[-1]
    assert call.said == [("user", "one"), ("model", "two"), ("user", RAIN.text)]
    assert call.model == CHAT_MODEL and call.headers["x-goog-api-key"] == CLIENT_KEY
    assert call.config["maxOutputTokens"] == 77 and call.config["candidateCount"] == 1
    assert call.config["thinkingConfig"] == {"thinking_level": "LOW"}
    assert "tools" not in call.body and "systemInstruction" not in call.body


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        ("gemini-2.5-flash", {"thinking_budget": 0}),
        ("gemini-2.0-flash", None),
        ("gemini-3-flash-preview", {"thinking_level": "LOW"}),
    ],
)
async def test_a_family_thinks_as_little_as_it_can(
    gemini: GeminiChat, gemini_server: GeminiServer, model: str, thinking: Any
) -> None:
    """Thoughts would eat the ceiling that is paid for."""
    assert isinstance([p async for p in gemini.answer(model, (RAIN,), 9)][-1], Done)
    assert gemini_server.calls[-1].config.get("thinkingConfig") == thinking


async def test_an_answer_that_is_too_long_is_cut(
    gemini: GeminiChat, gemini_server: GeminiServer
) -> None:
    """The ceiling ends an answer, which says so; nothing more is asked for."""
    gemini_server.script(STREAM, Reply(text="one two", finish="MAX_TOKENS"))
    assert (await answer(gemini))[-1] == Done(
        Usage(read_tokens(gemini_server.calls[-1]), THOUGHT_TOKENS + 2), cut=True
    )
    assert len(gemini_server.calls) == 1


@pytest.mark.parametrize("reason", ["SAFETY", "PROHIBITED_CONTENT", "RECITATION", "A_NEW_REASON"])
async def test_what_is_stopped_is_declined(
    gemini: GeminiChat, gemini_server: GeminiServer, reason: str
) -> None:
    """An answer that was stopped for what it says is declined, with what was used."""
    gemini_server.script(STREAM, Reply(text="one two", finish=reason))
    *_, end = await answer(gemini)
    assert isinstance(end, Declined) and end.usage.output_tokens == THOUGHT_TOKENS + 2


async def test_a_blocked_prompt_is_declined(
    gemini: GeminiChat, gemini_server: GeminiServer
) -> None:
    """A prompt that the API blocks gets no word, and what was read is told."""
    gemini_server.script(STREAM, Reply(block="SAFETY"))
    [end] = await answer(gemini)
    assert isinstance(end, Declined) and end.usage == Usage(9, 0)
    gemini_server.script(WHOLE, Reply(block="OTHER"))
    assert isinstance(await gemini.draw("a cat"), Declined)


@pytest.mark.parametrize(
    ("status", "retryable", "says"),
    [
        (400, False, "does not take"),
        (403, False, "could not be asked"),
        (404, False, "could not be asked"),
        (429, True, "too much to do"),
        (500, True, "out of order"),
        (503, True, "out of order"),
        (302, False, "does not take"),
    ],
)
async def test_a_refusal_of_the_api_is_a_value(
    gemini: GeminiChat, gemini_server: GeminiServer, status: int, retryable: bool, says: str
) -> None:
    """Errors of the API break the answer, in words that hold nothing of it nor of the key."""
    gemini_server.script(STREAM, Reply(status=status, headers={"location": ELSEWHERE}))
    gemini_server.script(WHOLE, Reply(status=status, headers={"location": ELSEWHERE}))
    [end] = await answer(gemini)
    assert end == await gemini.draw("a cat")
    assert isinstance(end, Broke) and end.retryable is retryable and says in end.reason
    assert CLIENT_KEY not in end.reason
    assert len(gemini_server.calls) == 2  # nothing was asked again


@pytest.mark.parametrize(
    "reply",
    [
        Reply(raw=b"<html>"),
        Reply(raw=b'data: {"candidates": \r\n\r\n'),
        Reply(raw=b"data: [1, 2]\r\n\r\n"),
        Reply(raw=b'data: {"candidates": 7}\r\n\r\n'),
        Reply(raw=b""),
        Reply(text="one two", cut_after=1),
        Reply(text="one two", error_after=1),
        Reply(text="one two", finish="FINISH_REASON_UNSPECIFIED"),
        Reply(text="one two", finish="OTHER"),
        Reply(text="one two", usage=ABSENT),
        Reply(text="one two", usage={"promptTokenCount": -1, "candidatesTokenCount": 2}),
        Reply(text="one two", usage={"promptTokenCount": 10**12, "candidatesTokenCount": 2}),
        Reply(text="one two", usage={"promptTokenCount": "many"}),
        Reply(text="one two", usage={"candidatesTokenCount": 2}),
        Reply(text="x" * 20_001),
    ],
    ids=lambda reply: repr(reply)[6:60],
)
async def test_a_broken_answer_is_broke(
    gemini: GeminiChat, gemini_server: GeminiServer, reply: Reply
) -> None:
    """Garbage, a cut or endless stream, an error inside it, and wrong counts end as Broke."""
    gemini_server.script(STREAM, reply)
    *pieces, end = await answer(gemini)
    assert isinstance(end, Broke) and all(isinstance(piece, Said) for piece in pieces)
    assert isinstance((await answer(gemini))[-1], Done)  # the next one is whole


async def test_an_answer_that_says_nothing_is_declined(
    gemini: GeminiChat, gemini_server: GeminiServer
) -> None:
    """What the model has read is counted: it is asked no second time for nothing."""
    gemini_server.script(STREAM, Reply(text=""))
    [end] = await answer(gemini)
    assert isinstance(end, Declined) and end.usage.input_tokens


@pytest.mark.parametrize("reply", [Reply(hang=True), Reply(text="one two", hang_after=1)])
async def test_an_answer_has_a_deadline(gemini_server: GeminiServer, reply: Reply) -> None:
    """A model that does not answer, or stops in the middle, is left; its connection is closed."""
    chat = make_gemini(gemini_server, answer_deadline_s=1.5)
    gemini_server.script(STREAM, reply)
    *_, end = await answer(chat)
    assert end == Broke("The model did not answer in time.", retryable=True)
    if not reply.hang:
        await gemini_server.left.acquire()
    await chat.close()


async def test_a_slow_reader_is_not_a_slow_model(gemini_server: GeminiServer) -> None:
    """The deadline ends the wait for the model, never whoever reads its pieces."""
    chat = make_gemini(gemini_server, answer_deadline_s=1.5)
    gemini_server.script(STREAM, Reply(text="one two three", hang_after=2))
    got = []
    async with aclosing(chat.answer(CHAT_MODEL, (RAIN,), 9)) as pieces:
        async for piece in pieces:
            await asyncio.sleep(0.8)  # twice, it is longer than the deadline
            got.append(type(piece))
    assert got == [Said, Said, Broke]
    await chat.close()


async def test_leaving_stops_the_model(gemini: GeminiChat, gemini_server: GeminiServer) -> None:
    """Closing the stream between two pieces closes the connection at once."""
    gemini_server.script(STREAM, Reply(text="one two three", hang_after=1))
    async with aclosing(gemini.answer(CHAT_MODEL, (RAIN,), 9)) as pieces:
        assert isinstance(await anext(pieces), Said)
    await gemini_server.left.acquire()


async def test_a_cancelled_wait_stops_the_model(
    gemini: GeminiChat, gemini_server: GeminiServer
) -> None:
    """Cancelling whoever waits for a piece closes the connection too, and the next call works."""
    gemini_server.script(STREAM, Reply(text="one two three", hang_after=1))
    pieces = gemini.answer(CHAT_MODEL, (RAIN,), 9)
    await anext(pieces)
    waiting = asyncio.create_task(anext(pieces))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await gemini_server.left.acquire()
    assert isinstance((await answer(gemini))[-1], Done)


async def test_an_image_is_drawn(gemini: GeminiChat, gemini_server: GeminiServer) -> None:
    """An image comes as its bytes and type, with the tokens that it was counted for."""
    drawn = await gemini.draw("a cat")
    call = gemini_server.calls[-1]
    assert drawn == Drawn(PIXEL, "image/png", Usage(read_tokens(call), IMAGE_TOKENS), "gemini")
    assert (call.model, call.said) == (IMAGE_MODEL, [("user", "a cat")])
    assert call.config["responseModalities"] == ["IMAGE"]
    assert call.config["maxOutputTokens"] == gemini.max_image_tokens


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(image=None), Declined),
        (Reply(image=None, finish="NO_IMAGE"), Broke),
        (Reply(image=None, finish="IMAGE_SAFETY"), Declined),
        (Reply(media_type="text/html"), Broke),
        (Reply(media_type="image/svg+xml"), Broke),
        (Reply(image=None, finish="OTHER"), Broke),
        (Reply(image=b"\0" * (16 * 1024 * 1024 + 1)), Broke),
        (Reply(usage=ABSENT), Broke),
        (Reply(raw=b"{"), Broke),
        (Reply(raw=b""), Broke),
        (Reply(raw=b'{"candidates": [{"content": {"parts": [{"inlineData": {}}]}}]}'), Broke),
    ],
    ids=range(11),
)
async def test_what_is_no_image_is_none(
    gemini: GeminiChat, gemini_server: GeminiServer, reply: Reply, kind: type
) -> None:
    """Only a bounded image of a kind that browsers show, with its usage, is believed."""
    gemini_server.script(WHOLE, reply)
    assert isinstance(await gemini.draw("a cat"), kind)


async def test_what_broke_tells_what_it_used(
    gemini: GeminiChat, gemini_server: GeminiServer
) -> None:
    """As far as the API has counted: an answer that failed, and an image that nobody can show."""
    counted = {"promptTokenCount": 30, "candidatesTokenCount": 5}
    gemini_server.script(STREAM, Reply(text="one two", finish="OTHER", usage=counted))
    gemini_server.script(
        WHOLE,
        Reply(media_type="text/html", usage=counted),
        Reply(image=None, finish="NO_IMAGE", usage=counted),
        Reply(status=500),
    )
    ends = [(await answer(gemini))[-1], *[await gemini.draw("a cat") for _ in range(3)]]
    used = [end.usage for end in ends if isinstance(end, Broke)]
    assert used == [Usage(30, 5), Usage(30, 5), Usage(30, 5), None]


async def test_an_image_has_a_deadline(gemini_server: GeminiServer) -> None:
    """A model that does not draw is left."""
    chat = make_gemini(gemini_server, image_deadline_s=0.2)
    gemini_server.script(WHOLE, Reply(hang=True))
    assert await chat.draw("a cat") == Broke("The model did not answer in time.", retryable=True)
    await chat.close()


async def test_nobody_there(gemini_server: GeminiServer) -> None:
    """A server that is not there is a value too."""
    chat = make_gemini(gemini_server, base_url=ELSEWHERE)
    unreachable = Broke("The model cannot be reached.", retryable=True)
    assert await answer(chat) == [unreachable]
    assert await chat.draw("a cat") == unreachable == await chat.healthy()
    await chat.close()


async def test_health_is_that_the_api_does_not_refuse(
    gemini: GeminiChat, gemini_server: GeminiServer
) -> None:
    """A refused key and a broken server are unhealthy; a model it does not list is not."""
    assert await gemini.healthy() is None
    gemini_server.script(MODEL, Reply(status=403), Reply(status=500), Reply(status=404))
    assert isinstance(await gemini.healthy(), Broke)
    assert isinstance(await gemini.healthy(), Broke)
    assert await gemini.healthy() is None


async def test_only_priced_models_that_write_are_taken(gemini_server: GeminiServer) -> None:
    """A model without a price, or one that draws, does not converse."""
    chat = make_gemini(gemini_server, priced=frozenset({"gemini-2.5-flash", IMAGE_MODEL}))
    assert chat.takes("gemini-2.5-flash") == "gemini-2.5-flash"
    assert chat.takes(CHAT_MODEL) == CHAT_MODEL
    assert chat.takes(IMAGE_MODEL) == chat.takes("claude-haiku-5-5") == chat.takes("../x") == ""
    await chat.close()
