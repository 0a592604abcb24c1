"""Pictures and films by the Gemini API: what is sent is what Google's own client sends; faults."""

import asyncio
import base64
from dataclasses import replace
from typing import Any

import pytest
from google import genai
from google.genai import types

from app.executors.google_media import MEND, GoogleMedia
from app.executors.provider import (
    DECLINES,
    OTHER_SIZE,
    TOO_SHORT,
    UNAVAILABLE,
    UNFIT,
    ProviderBroke,
)
from app.ports import Declined, Made, Undoable
from tests.world.google_media_server import (
    FALLS,
    FILE,
    FILM,
    FILM_MODEL,
    GENERATE,
    IMAGE_MODEL,
    INTERACTIONS,
    SURF,
    candidate,
    error,
    inline,
    interaction,
    make_google,
)
from tests.world.patience import PATIENCE_S
from tests.world.provider_server import KEY, ProviderServer, Reply, film, png


async def test_what_is_sent_is_what_googles_own_client_sends(
    google: GoogleMedia, google_server: ProviderServer
) -> None:
    """A picture and a film, word for word; and that client reads what the stand-in answers."""
    client = genai.Client(
        api_key=KEY,
        vertexai=False,
        http_options=types.HttpOptions(base_url=google_server.url, api_version="v1beta"),
    )
    how = types.ImageConfig(aspect_ratio="16:9", image_size="2K")
    answer = await client.aio.models.generate_content(
        model=IMAGE_MODEL,
        contents=FALLS.prompt,
        config=types.GenerateContentConfig(
            response_modalities=["IMAGE"], candidate_count=1, image_config=how
        ),
    )
    format_: dict[str, Any] = {
        "type": "video", "aspect_ratio": "9:16", "duration": "5s", "resolution": "720p",
        "delivery": "uri",
    }  # fmt: skip
    begun = await client.aio.interactions.create(
        model=FILM_MODEL, input=SURF.prompt, background=True, response_format=format_
    )
    assert getattr(begun, "status", None) == "in_progress"
    await client.aio.interactions.get(id="v1_0")
    done = await client.aio.interactions.get(id="v1_0")
    assert done.status == "completed" and done.output_video is not None
    assert answer.parts is not None and answer.parts[-1].inline_data is not None
    made = await google.make(FALLS)
    assert isinstance(made, Made) and made.data == answer.parts[-1].inline_data.data
    assert isinstance(await google.make(SURF), Made)
    for path in (GENERATE, INTERACTIONS):
        theirs, ours = google_server.of(path)
        assert (theirs.method, theirs.body) == (ours.method, ours.body)
        assert theirs.headers["x-goog-api-key"] == ours.headers["x-goog-api-key"]


async def test_a_film_is_awaited_fetched_and_not_left_there(
    google: GoogleMedia, google_server: ProviderServer
) -> None:
    """Its file is fetched with the key, as Google wants it; the interaction is deleted."""
    assert await google.make(SURF) == Made(film(5_000), "video/mp4", 480, 854, 5_000)
    (fetched,) = google_server.of(FILE)
    assert fetched.headers["x-goog-api-key"] == KEY and fetched.query == {"alt": "media"}
    assert [asked.method for asked in google_server.of(FILM)] == ["GET", "GET", "DELETE"]
    assert google_server.of(f"{FILM}/cancel") == []


async def test_a_file_elsewhere_is_fetched_without_the_key(
    google: GoogleMedia, google_server: ProviderServer
) -> None:
    """A redirect is followed once, by hand; where it leads to a private net, nobody is asked."""
    google_server.script(FILE, Reply(b"", 302, {"location": f"{google_server.url}/raw/f0"}))
    google_server.script("/raw/f0", Reply(film(5_000), media_type="video/mp4"))
    assert isinstance(await google.make(SURF), Made)
    (fetched,) = google_server.of("/raw/f0")
    assert "x-goog-api-key" not in fetched.headers
    google_server.script(FILE, *[Reply(b"", 302, {"location": "http://10.0.0.1/f"})] * 5)
    with pytest.raises(ProviderBroke):
        await google.make(SURF)


async def test_a_film_may_come_in_the_answer(
    google: GoogleMedia, google_server: ProviderServer
) -> None:
    """A small one, as base64."""
    data = base64.b64encode(film(5_000)).decode()
    done = interaction("completed", {"type": "text", "text": "x"}, {"type": "video", "data": data})
    google_server.script(INTERACTIONS, Reply(done))
    assert isinstance(await google.make(SURF), Made)


async def test_a_paid_film_outlives_lost_answers(
    google: GoogleMedia, google_server: ProviderServer
) -> None:
    """A 500, a cut, a file that isn't ready: asked for again, and not bought again."""
    google_server.script(FILM, Reply({}, 500), Reply(cut=True))
    google_server.script(FILE, Reply({}, 404), Reply(b"not yet"))
    assert isinstance(await google.make(SURF), Made)
    assert len(google_server.of(INTERACTIONS)) == 1


async def test_a_film_that_is_wanted_no_more_is_cancelled_there(
    google: GoogleMedia, google_server: ProviderServer
) -> None:
    """By whoever stops wanting it; a deadline is such a cancellation."""
    google_server.script(FILM, Reply(hang=True))
    making = asyncio.create_task(google.make(SURF))
    async with asyncio.timeout(PATIENCE_S):
        while not google_server.of(FILM):
            await google_server.arrived.acquire()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert len(google_server.of(f"{FILM}/cancel")) == 1


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}), Declined(DECLINES)),
        (Reply(candidate([], "IMAGE_SAFETY")), Declined(DECLINES)),
        (Reply(candidate([], "RECITATION")), Declined(DECLINES)),
        (Reply(error(400, "INVALID_ARGUMENT", "prompt too long"), 400), Declined(UNFIT)),
        (Reply(error(400, "INVALID_ARGUMENT", "no", "API_KEY_INVALID"), 400),
         Undoable(UNAVAILABLE, MEND)),
        (Reply(error(403, "PERMISSION_DENIED", "no"), 403), Undoable(UNAVAILABLE, MEND)),
        (Reply(candidate([inline(png(1_024, 1_024))])), Declined(OTHER_SIZE)),
    ],
)  # fmt: skip
async def test_a_refused_picture_says_why(
    google: GoogleMedia, google_server: ProviderServer, reply: Reply, expected: object
) -> None:
    """Content and inputs: for the buyer. The key: for the operator, and claims stop."""
    google_server.script(GENERATE, reply)
    assert await google.make(FALLS) == expected
    assert (await google.healthy() is None) is not isinstance(expected, Undoable)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(candidate([{"text": "I can't draw."}])),
        Reply(candidate([], "NO_IMAGE")),
        Reply(candidate([inline(b"no picture")])),
        Reply(candidate([{**inline(png(2_752, 1_536)), "thought": True}])),
        Reply({"candidates": "x"}),
        Reply([]),
        Reply(b"{"),
        Reply(error(500, "INTERNAL", "oops"), 500),
    ],
)
async def test_junk_is_no_picture(
    google: GoogleMedia, google_server: ProviderServer, reply: Reply
) -> None:
    """Words, a thought, nothing, a fault: it may be tried again."""
    google_server.script(GENERATE, reply)
    with pytest.raises(ProviderBroke):
        await google.make(FALLS)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (interaction("failed", error={"code": 3, "message": "blocked by safety filters"}),
         Declined(DECLINES)),
        (interaction("budget_exceeded"), Undoable(UNAVAILABLE, MEND)),
        (interaction("failed", error={"code": 13, "message": "internal"}), None),
        (interaction("completed"), None),
        (interaction("completed", {"type": "video", "data": "AAAA"}), None),
        ({"status": "strange"}, None),
    ],
)  # fmt: skip
async def test_a_film_that_is_not_made_says_why(
    google: GoogleMedia, google_server: ProviderServer, told: dict[str, Any], expected: object
) -> None:
    """Content is the buyer's to hear, a spent budget the operator's; the rest is tried again."""
    google_server.script(FILM, Reply(told))
    if expected is None:
        with pytest.raises(ProviderBroke):
            await google.make(SURF)
    else:
        assert await google.make(SURF) == expected


async def test_a_film_is_what_was_asked_for(
    google: GoogleMedia, google_server: ProviderServer
) -> None:
    """Not a shorter one; and what isn't made is refused before a call is spent."""
    google_server.script(FILE, Reply(film(2_000), media_type="video/mp4"))
    assert await google.make(SURF) == Declined(TOO_SHORT)
    google_server.reset()
    for wanted in (
        replace(SURF, duration_ms=20_000),
        replace(SURF, width=640, height=480),
        replace(SURF, width=1_080, height=1_920),
        replace(FALLS, width=256, height=2_048),
        replace(FALLS, model="other"),
        replace(FALLS, reference=b"x"),
    ):
        assert isinstance(await google.make(wanted), Declined | Undoable)
    assert google_server.asked == []


async def test_a_wrong_key_is_known_before_anything_is_claimed(
    google_server: ProviderServer,
) -> None:
    """Google says so with a 400."""
    google = make_google(google_server.url, key="wrong")
    assert await google.healthy() == Undoable(UNAVAILABLE, MEND)
    await google.close()
