"""Pictures and films by Venice: what is sent, what is believed, and the faults it outlives."""

import asyncio
from typing import Any

import pytest

from app.executors.provider import (
    DECLINES,
    OTHER_SIZE,
    TOO_SHORT,
    UNAVAILABLE,
    UNFIT,
    ProviderBroke,
)
from app.executors.venice import MEND, Venice
from app.ports import BEGUN, Declined, Made, Step, Undoable, Wanted
from tests.world.patience import PATIENCE_S
from tests.world.provider_server import ProviderServer, Reply, film, png
from tests.world.venice_server import (
    BOAT,
    COMPLETE,
    FILM_MODEL,
    GENERATE,
    MODELS,
    QUEUE,
    RETRIEVE,
    WAVES,
    make_venice,
)

PROCESSING = {"status": "PROCESSING", "average_execution_time": 1, "execution_duration": 5}


async def test_a_picture_is_made_as_its_model_takes_it(
    venice: Venice, venice_server: ProviderServer
) -> None:
    """By sides, on the model's grid, with no more steps than it has; what it blurs is declined."""
    steps: list[Step] = []
    made = await venice.make(BOAT, steps.append)
    assert made == Made(png(1_000, 720), "image/png", 1_000, 720)
    assert steps == [BEGUN]  # Venice wants to be paid
    (asked,) = venice_server.of(GENERATE)
    assert asked.body == {
        "model": "chroma", "prompt": "a boat", "negative_prompt": "people", "format": "png",
        "return_binary": True, "hide_watermark": True, "safe_mode": True, "seed": 5, "steps": 30,
        "width": 1_000, "height": 720,
    }  # fmt: skip
    await venice.make(Wanted("chroma", "a boat", 1_003, 725))
    assert venice_server.of(GENERATE)[1].body["width"] == 1_000
    assert len(venice_server.of(MODELS)) == 1  # the list is read once


@pytest.mark.parametrize(
    ("sides", "shape", "tier"), [((1_024, 576), "16:9", "1K"), ((2_048, 2_048), "1:1", "2K")]
)
async def test_a_model_of_shapes_is_asked_by_shape(
    venice: Venice, venice_server: ProviderServer, sides: tuple[int, int], shape: str, tier: str
) -> None:
    """With the resolution that holds what was bought; a smaller picture isn't that."""
    made = await venice.make(Wanted("banana", "a boat", *sides))
    (asked,) = venice_server.of(GENERATE)
    assert (asked.body["aspect_ratio"], asked.body["resolution"]) == (shape, tier)
    assert "width" not in asked.body
    assert isinstance(made, Made) if tier == "1K" else made == Declined(OTHER_SIZE)


async def test_a_film_is_queued_awaited_and_freed(
    venice: Venice, venice_server: ProviderServer
) -> None:
    """Its progress is told, and nothing of it stays there."""
    steps: list[Step] = []
    made = await venice.make(WAVES, steps.append)
    assert made == Made(film(5_000), "video/mp4", 854, 480, 5_000)
    assert steps == [BEGUN, Step(40, 100)]
    (queued,) = venice_server.of(QUEUE)
    assert queued.body == {
        "model": FILM_MODEL, "prompt": "waves", "duration": "5s", "resolution": "480p",
        "aspect_ratio": "16:9",
    }  # fmt: skip
    which = {"model": FILM_MODEL, "queue_id": "q0"}
    assert [asked.body for asked in venice_server.of(RETRIEVE)] == [which, which]
    assert [asked.body for asked in venice_server.of(COMPLETE)] == [which]


async def test_a_private_film_is_fetched_where_its_queue_said(
    venice: Venice, venice_server: ProviderServer
) -> None:
    """Once it is done, by the address of the first answer, and without the key."""
    where = f"{venice_server.url}/share/1"
    queued = {"model": FILM_MODEL, "queue_id": "p1", "download_url": where}
    venice_server.script(QUEUE, Reply(queued))
    done = Reply({"status": "COMPLETED", "average_execution_time": 1, "execution_duration": 1})
    venice_server.script(RETRIEVE, Reply(PROCESSING), done, done)
    venice_server.script(
        "/share/1", Reply({}, 429), Reply(film(5_000), media_type="application/octet-stream")
    )
    assert isinstance(await venice.make(WAVES), Made)
    fetched = venice_server.of("/share/1")
    assert len(fetched) == 2 and "authorization" not in fetched[0].headers


async def test_a_paid_film_outlives_lost_answers(
    venice: Venice, venice_server: ProviderServer
) -> None:
    """A 500, a cut and one that is out of order: it is asked for again, and not bought again."""
    venice_server.script(
        RETRIEVE, Reply({}, 500), Reply(cut=True), Reply({}, 503), Reply({}, 404), Reply(b"x")
    )
    with pytest.raises(ProviderBroke):  # at most so many in all
        venice_server.script(RETRIEVE, *[Reply({}, 500)] * 2)
        await venice.make(WAVES)
    assert len(venice_server.of(QUEUE)) == 1 and len(venice_server.of(COMPLETE)) == 1
    venice_server.reset()
    venice_server.script(RETRIEVE, Reply({}, 500), Reply(cut=True), Reply(b"x"))
    assert isinstance(await venice.make(WAVES), Made)
    assert len(venice_server.of(QUEUE)) == 1


async def test_a_cancelled_film_is_freed_there(
    venice: Venice, venice_server: ProviderServer
) -> None:
    """Whoever stops wanting it tells Venice so; a deadline is such a cancellation."""
    venice_server.script(RETRIEVE, Reply(hang=True))
    making = asyncio.create_task(venice.make(WAVES))
    async with asyncio.timeout(PATIENCE_S):
        while not venice_server.of(RETRIEVE):
            await venice_server.arrived.acquire()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert len(venice_server.of(COMPLETE)) == 1


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"model": "grok", "duration_ms": 7_000}, "films of 5s, 10s only"),
        ({"model": "grok", "duration_ms": 5_000, "width": 1_920, "height": 1_080}, "480p, 720p"),
        ({"model": "grok", "duration_ms": 5_000, "width": 480, "height": 854}, "shapes only"),
        ({"model": "banana", "width": 512, "height": 1_800}, "shapes only: 1:1"),
        ({"model": "chroma", "prompt": "x" * 1_501}, "at most 1500 characters"),
        ({"model": "chroma", "width": 1_400}, "at most 1280 pixels"),
        ({"model": "chroma", "reference": b"x"}, "from words alone"),
        ({"model": "other"}, "isn't made here"),
        ({"model": "gone"}, UNAVAILABLE),
    ],
)
async def test_no_call_is_spent_on_what_a_model_does_not_take(
    venice: Venice, venice_server: ProviderServer, changed: dict[str, Any], says: str
) -> None:
    """Venice's list says what it takes; the buyer reads what would do."""
    usual: dict[str, Any] = {"model": "chroma", "prompt": "a boat", "width": 854, "height": 480}
    refused = await venice.make(Wanted(**(usual | changed)))
    assert isinstance(refused, Declined | Undoable) and says in refused.reason
    assert not venice_server.of(GENERATE) and not venice_server.of(QUEUE)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply({"error": "Your prompt violates the content policy of Venice.ai"}, 422),
         Declined(DECLINES)),
        (Reply(png(1_000, 720), headers={"x-venice-is-blurred": "true"}), Declined(DECLINES)),
        (Reply(png(1_000, 720), headers={"x-venice-is-content-violation": "true"}),
         Declined(DECLINES)),
        (Reply({"error": "Invalid request parameters", "details": {}}, 400), Declined(UNFIT)),
        (Reply({"error": "Insufficient USD or Diem balance"}, 402), Undoable(UNAVAILABLE, MEND)),
        (Reply({"error": "Authentication failed"}, 401), Undoable(UNAVAILABLE, MEND)),
        (Reply(png(720, 1_000)), Declined(OTHER_SIZE)),
    ],
)  # fmt: skip
async def test_a_refused_picture_says_why(
    venice: Venice, venice_server: ProviderServer, reply: Reply, expected: object
) -> None:
    """Content, inputs, another size: for the buyer. The key and the balance: for the operator."""
    venice_server.script(GENERATE, reply)
    assert await venice.make(BOAT) == expected
    assert (await venice.healthy() is None) is not isinstance(expected, Undoable)


@pytest.mark.parametrize("reply", [Reply(b"no picture"), Reply(film(1_000)), Reply({}, 500)])
async def test_junk_is_no_picture(
    venice: Venice, venice_server: ProviderServer, reply: Reply
) -> None:
    """Nor is a film, nor an error: it may be tried again."""
    venice_server.script(GENERATE, reply)
    with pytest.raises(ProviderBroke):
        await venice.make(BOAT)


async def test_a_refused_film_says_why(venice: Venice, venice_server: ProviderServer) -> None:
    """At its queue or later, by content; a consent is the operator's; a short film isn't it."""
    policy = {"error": {"message": "no", "type": "provider_content_policy"}}
    venice_server.script(QUEUE, Reply(policy, 422))
    assert await venice.make(WAVES) == Declined(DECLINES)
    venice_server.script(RETRIEVE, Reply(policy, 422))
    assert await venice.make(WAVES) == Declined(DECLINES)
    venice_server.script(QUEUE, Reply({"error": {"code": "needs_consent"}}, 409))
    assert await venice.make(WAVES) == Undoable(UNAVAILABLE, MEND)
    venice_server.script(RETRIEVE, Reply(film(2_000), media_type="video/mp4"))
    assert await venice.make(WAVES) == Declined(TOO_SHORT)
    venice_server.script(QUEUE, Reply({"id": "?"}))
    with pytest.raises(ProviderBroke):
        await venice.make(WAVES)
    venice_server.script(RETRIEVE, Reply(png(8, 8), media_type="video/mp4"))
    with pytest.raises(ProviderBroke):
        await venice.make(WAVES)


async def test_a_wrong_key_is_known_before_anything_is_claimed(
    venice_server: ProviderServer,
) -> None:
    """Its list of models needs none, so that another answer is asked for."""
    venice = make_venice(venice_server.url, key="wrong")
    assert await venice.healthy() == Undoable(UNAVAILABLE, MEND)
    await venice.close()


async def test_a_list_that_cant_be_read_is_no_list(venice_server: ProviderServer) -> None:
    """Nothing is asked for by guess, and the next wish reads it again."""
    venice = make_venice(venice_server.url)
    venice_server.script(MODELS, Reply({"data": [7, {"id": 7}, {"id": "chroma"}, None]}))
    assert isinstance(await venice.make(WAVES), Undoable)
    await venice.close()
    other = make_venice(venice_server.url)
    venice_server.script(MODELS, Reply({"data": "x"}), Reply({}, 500))
    assert isinstance(await other.make(WAVES), Undoable)
    with pytest.raises(ProviderBroke):
        await other.make(WAVES)
    assert isinstance(await other.make(WAVES), Made)
    await other.close()
