"""A stand-in for the media of the Gemini API: pictures, and films as interactions.

What is asked of it, and what it answers, is what Google's own client sends and reads: a test has
that client ask for the same.
"""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from app.executors.google_media import MEND, NAME, PROBE_PATH, GoogleMedia
from app.executors.provider import Provider
from app.ports import Wanted
from tests.world.patience import PATIENCE_S
from tests.world.provider_server import KEY, Asked, ProviderServer, Reply, film, png

IMAGE_MODEL, FILM_MODEL = "gemini-3-pro-image", "gemini-omni-1.2-flash"
GENERATE = f"/v1beta/models/{IMAGE_MODEL}:generateContent"
INTERACTIONS, FILM = "/v1beta/interactions", "/v1beta/interactions/v1_0"
FILE = "/v1beta/files/f0:download"
SIZES = {"1:1": (1_024, 1_024), "16:9": (1_376, 768), "9:16": (768, 1_376)}
FALLS = Wanted("banana", "falls", 2_048, 1_152)
SURF = Wanted("omni", "surf", 480, 854, duration_ms=5_000)
TIMES = {"created": "2026-11-30T00:00:00Z", "updated": "2026-11-30T00:00:00Z"}


def error(code: int, status: str, message: str, reason: str = "") -> dict[str, Any]:
    """Return the body of a refusal."""
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]
    return {"error": {"code": code, "status": status, "message": message, "details": details}}


def candidate(parts: list[dict[str, Any]], reason: str = "STOP") -> dict[str, Any]:
    """Return the body of an answer with one candidate."""
    content = {"role": "model", "parts": parts}
    return {"candidates": [{"content": content, "finishReason": reason, "index": 0}]}


def inline(picture: bytes) -> dict[str, Any]:
    """Return a part that holds a picture."""
    data = base64.b64encode(picture).decode()
    return {"inlineData": {"mimeType": "image/png", "data": data}}


def interaction(status: str, *content: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return an interaction."""
    steps: list[dict[str, Any]] = [
        {"type": "user_input", "content": [{"type": "text", "text": "surf"}]},
        {"type": "model_output", "content": list(content), **more},
    ]
    return {"id": "v1_0", "status": status, "model": FILM_MODEL, "steps": steps, **TIMES}


class GoogleApi:
    """What the API says. A film is there when it is asked for the second time."""

    def __init__(self) -> None:
        self.url = ""
        self.polls = 0

    def answers(self, asked: Asked) -> Reply:
        """Return the answer to a request."""
        if asked.headers.get("x-goog-api-key") != KEY:
            body = error(400, "INVALID_ARGUMENT", "API key not valid.", "API_KEY_INVALID")
            return Reply(body, 400)
        match asked.method, asked.path:
            case "GET", "/v1beta/models":
                return Reply({"models": [{"name": f"models/{IMAGE_MODEL}"}]})
            case "POST", "/v1beta/interactions":
                return Reply(interaction("in_progress"))
            case ("POST", "/v1beta/interactions/v1_0/cancel"):
                return Reply(interaction("cancelled"))
            case "DELETE", "/v1beta/interactions/v1_0":
                return Reply({})
            case "GET", "/v1beta/interactions/v1_0":
                self.polls += 1
                uri = f"{self.url}/v1beta/files/f0"
                video = {"type": "video", "mime_type": "video/mp4", "uri": uri}
                done = interaction("completed", video)
                return Reply(done if self.polls > 1 else interaction("in_progress"))
            case "GET", "/v1beta/files/f0:download":
                return Reply(film(5_000), media_type="video/mp4")
        if asked.path == GENERATE:
            how = asked.body["generationConfig"]["imageConfig"]
            width, height = SIZES[how["aspectRatio"]]
            scale = 2 if how["imageSize"] == "2K" else 1
            parts = [{"text": "Let me think.", "thought": True}]
            return Reply(candidate([*parts, inline(png(scale * width, scale * height))]))
        return Reply(error(404, "NOT_FOUND", "no such model"), 404)


API = GoogleApi()


def make_google(server_url: str, **changed: Any) -> GoogleMedia:
    """An executor before a server, which looks often."""
    provider = Provider(
        NAME,
        server_url,
        {"x-goog-api-key": changed.pop("key", KEY)},
        probe_path=PROBE_PATH,
        mend=MEND,
        at_once=2,
        pauses_s=(PATIENCE_S,),
        retries_s=(0.0, 0.0),
    )
    usual: dict[str, Any] = {
        "at_once": 2, "deadline_s": PATIENCE_S, "film_deadline_s": PATIENCE_S, "poll_s": 0.01,
    }  # fmt: skip
    models = {"banana": IMAGE_MODEL, "omni": FILM_MODEL, "gone": "gone"}
    return GoogleMedia(provider, models, **(usual | changed))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def google_server_running() -> AsyncIterator[ProviderServer]:
    """The one server of the session."""
    async with ProviderServer(API.answers).running() as server:
        API.url = server.url
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def google_server(google_server_running: ProviderServer) -> AsyncIterator[ProviderServer]:
    """The server, without the scripts, requests and films of other tests."""
    google_server_running.reset()
    API.polls = 0
    yield google_server_running
    google_server_running.reset()


@pytest_asyncio.fixture(loop_scope="session")
async def google(google_server: ProviderServer) -> AsyncIterator[GoogleMedia]:
    """The executor before the stand-in."""
    made = make_google(google_server.url)
    yield made
    await made.close()
