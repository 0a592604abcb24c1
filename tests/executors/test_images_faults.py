"""A server of OpenAI's Images API that is busy, away, broken or lying: what of it is believed."""

import asyncio
import gzip
import json

import pytest
from structlog.testing import capture_logs

from app.executors.openai_images import OpenAiImages
from app.executors.provider import (
    DECLINES,
    MOST_PICTURE_BYTES,
    UNAVAILABLE,
    UNFIT,
    ProviderAway,
    ProviderBroke,
)
from app.ports import Declined, Made, Undoable, Wanted
from tests.world.images_server import (
    CAT,
    GENERATIONS,
    LONG_S,
    MODELS,
    error,
    holding,
    make_images,
)
from tests.world.patience import PATIENCE_S
from tests.world.provider_server import KEY, ProviderServer, Reply


@pytest.mark.parametrize("status", [429, 503])
async def test_it_is_asked_again_where_nothing_began(
    images: OpenAiImages, images_server: ProviderServer, status: int
) -> None:
    """Too many requests, or out of order: after the pause that it asks for."""
    busy = Reply(error("slow down", "rate_limit_exceeded"), status, {"retry-after": "0"})
    images_server.script(GENERATIONS, busy, busy)
    assert isinstance(await images.make(CAT), Made)
    assert len(images_server.of(GENERATIONS)) == 3
    assert await images.healthy() is None


async def test_a_provider_that_stays_busy_is_let_alone(images_server: ProviderServer) -> None:
    """After its retries, or where the pause it asks for is long, nothing more is claimed."""
    busy = Reply(error("slow down", "rate_limit_exceeded"), 429)
    long = Reply(busy.body, 429, {"retry-after": "600"})
    for replies in ([busy] * 3, [long]):
        images_server.reset()
        images_server.script(GENERATIONS, *replies)
        images = make_images(images_server.url)
        with pytest.raises(ProviderAway):
            await images.make(CAT)
        assert len(images_server.of(GENERATIONS)) == len(replies)
        assert isinstance(await images.healthy(), Undoable)
        assert images_server.of(MODELS) == []  # nor is it asked how it is
        await images.close()


async def test_what_may_have_begun_is_not_asked_for_again(
    images: OpenAiImages, images_server: ProviderServer
) -> None:
    """A 500 or a cut answer may have cost money: the item's own tries decide."""
    for reply in (Reply(error("oops", None), 500), Reply(cut=True)):
        images_server.reset()
        images_server.script(GENERATIONS, reply)
        with pytest.raises(ProviderBroke):
            await images.make(CAT)
        assert len(images_server.of(GENERATIONS)) == 1


async def test_a_provider_that_is_away_stops_claims(images_server: ProviderServer) -> None:
    """Nobody listens: a few tries, and the gate is shut."""
    images = make_images("http://127.0.0.1:9", retries_s=(0.0,))
    with pytest.raises(ProviderAway):
        await images.make(CAT)
    away = await images.healthy()
    assert isinstance(away, Undoable) and away.mend == "check IMAGES_KEY"
    await images.close()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(error(f"Incorrect API key: {KEY}", "invalid_api_key"), 401),
        Reply(error("pay us", "insufficient_balance"), 402),
        Reply(error("not in your country", "unsupported_country"), 403),
        Reply(error("You exceeded your quota", "insufficient_quota"), 429),
        Reply(error("limit", "billing_hard_limit_reached"), 400),
    ],
)
async def test_what_is_the_operators_fault_is_his_to_hear(
    images: OpenAiImages, images_server: ProviderServer, reply: Reply
) -> None:
    """A wrong key, no credit: a buyer reads that it can't be reached; claims stop; no log tells."""
    images_server.script(GENERATIONS, reply)
    with capture_logs() as logs:
        refused = await images.make(CAT)
    assert refused == Undoable(UNAVAILABLE, "check IMAGES_KEY")
    assert len(images_server.of(GENERATIONS)) == 1
    assert isinstance(await images.healthy(), Undoable)
    (line,) = logs
    assert line["status"] == reply.status
    assert KEY not in json.dumps(logs) and CAT.prompt not in json.dumps(logs)


async def test_a_model_that_is_gone_closes_no_other(
    images: OpenAiImages, images_server: ProviderServer
) -> None:
    """A name that the server doesn't know is that model's trouble alone."""
    refused = await images.make(Wanted("gone", "a cat", 512, 512))
    assert refused == Undoable(UNAVAILABLE, "check IMAGES_KEY")
    assert await images.healthy() is None
    assert isinstance(await images.make(CAT), Made)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(error("rejected by the safety system", "moderation_blocked", "user_error"), 400),
        Reply(error("no", "content_policy_violation"), 400),
        Reply({"error": "Your prompt violates the content policy"}, 422),
        Reply({"data": [{"respect_moderation": False}]}),
    ],
)
async def test_a_refusal_of_content_is_for_good(
    images: OpenAiImages, images_server: ProviderServer, reply: Reply
) -> None:
    """The buyer reads why, in a sentence of ours, and the provider is well."""
    images_server.script(GENERATIONS, reply)
    assert await images.make(CAT) == Declined(DECLINES)
    assert await images.healthy() is None


async def test_inputs_that_are_refused_are_not_tried_again(
    images: OpenAiImages, images_server: ProviderServer
) -> None:
    """A prompt too long, a size that isn't made there: the same would be refused again."""
    images_server.script(GENERATIONS, Reply(error("string too long", "string_above_max"), 400))
    assert await images.make(CAT) == Declined(UNFIT)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html>hello</html>", media_type="text/html"),
        Reply({}),
        Reply({"data": []}),
        Reply({"data": ["x"]}),
        Reply({"data": [{"b64_json": None}]}),
        Reply({"data": [{"b64_json": "%%%"}]}),
        Reply(holding(b"GIF89a" + bytes(50))),
        Reply(holding(b"\0\0\0\x18ftypmp42" + bytes(50))),
        Reply(holding(b"\x89PNG\r\n\x1a\n")),
        Reply(b"", 302, {"location": "/v1/models"}),
        Reply(gzip.compress(b"{}"), headers={"content-encoding": "gzip"}),
    ],
)
async def test_junk_is_no_picture(
    images: OpenAiImages, images_server: ProviderServer, reply: Reply
) -> None:
    """A page, nothing, a film, half a picture, a redirect, what is packed: none is believed."""
    images_server.script(GENERATIONS, reply)
    with pytest.raises(ProviderBroke):
        await images.make(CAT)


async def test_an_answer_without_end_is_left(
    images: OpenAiImages, images_server: ProviderServer
) -> None:
    """No more is read than a picture can have."""
    images_server.script(GENERATIONS, Reply(endless=True))
    with pytest.raises(ProviderBroke):
        await images.make(CAT)
    assert images_server.sent_bytes < 2 * MOST_PICTURE_BYTES


async def test_a_call_is_bounded_in_time(images_server: ProviderServer) -> None:
    """Who says nothing is left at the deadline."""
    images = make_images(images_server.url, deadline_s=0.2)
    images_server.script(GENERATIONS, Reply(hang=True))
    with pytest.raises(ProviderBroke):
        await images.make(CAT)
    await images.close()


async def test_a_cancelled_call_frees_the_provider(
    images: OpenAiImages, images_server: ProviderServer
) -> None:
    """Its connection is closed, so that it can stop."""
    images_server.script(GENERATIONS, Reply(hang=True))
    making = asyncio.create_task(images.make(CAT))
    async with asyncio.timeout(PATIENCE_S):
        await images_server.arrived.acquire()
        making.cancel()
        await images_server.left.acquire()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert isinstance(await images.make(CAT), Made)


async def test_no_more_are_asked_for_at_once_than_may_be(
    images: OpenAiImages, images_server: ProviderServer
) -> None:
    """Whoever calls: the third waits until one of two is done."""
    images_server.go.clear()
    making = [asyncio.create_task(images.make(CAT)) for _ in range(5)]
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(2):
            await images_server.arrived.acquire()
        images_server.go.set()
        made = await asyncio.gather(*making)
    assert all(isinstance(each, Made) for each in made)
    assert images_server.most == 2


async def test_how_it_is_is_asked_once_for_all(
    images: OpenAiImages, images_server: ProviderServer
) -> None:
    """Of twenty who look, one asks; and what was made says it too."""
    assert await asyncio.gather(*(images.healthy() for _ in range(20))) == [None] * 20
    await images.make(CAT)
    assert await images.healthy() is None
    assert len(images_server.of(MODELS)) == 1


async def test_a_gate_opens_when_the_provider_is_back(images_server: ProviderServer) -> None:
    """After its pause it is asked how it is, and longer pauses follow one another."""
    images = make_images(images_server.url, pauses_s=(0.0, LONG_S))
    images_server.script(MODELS, Reply({}, 500), Reply({}, 401))
    assert isinstance(await images.healthy(), Undoable)
    assert isinstance(await images.healthy(), Undoable)  # asked again at once, and longer shut
    assert isinstance(await images.healthy(), Undoable)
    assert len(images_server.of(MODELS)) == 2
    await images.close()
    again = make_images(images_server.url, pauses_s=(0.0,))
    images_server.script(MODELS, Reply({}, 503))
    assert isinstance(await again.healthy(), Undoable)
    assert await again.healthy() is None
    await again.close()


async def test_a_wrong_key_is_known_before_anything_is_claimed(
    images_server: ProviderServer,
) -> None:
    """The probe says so; the mend is the operator's."""
    images = make_images(images_server.url, key="wrong")
    assert await images.healthy() == Undoable(UNAVAILABLE, "check IMAGES_KEY")
    await images.close()
