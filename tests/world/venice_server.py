"""A stand-in for Venice: its list of models, its pictures, and its queue of films.

Shapes are those of the API's reference (its swagger.yaml) as read on 2026-11-30.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from app.executors.provider import Provider
from app.executors.venice import MEND, NAME, PROBE_PATH, Venice
from app.ports import Wanted
from tests.world.patience import PATIENCE_S
from tests.world.provider_server import KEY, Asked, ProviderServer, Reply, film, has_key, png

LIMITS, MODELS = "/api/v1/api_keys/rate_limits", "/api/v1/models"
GENERATE = "/api/v1/image/generate"
QUEUE, RETRIEVE, COMPLETE = (f"/api/v1/video/{part}" for part in ("queue", "retrieve", "complete"))
FILM_MODEL = "grok-imagine-text-to-video-private"
RATIOS = {"1:1": (1_024, 1_024), "16:9": (1_376, 768), "9:16": (768, 1_376)}
WAVES = Wanted("grok", "waves", 854, 480, duration_ms=5_000)
BOAT = Wanted("chroma", "a boat", 1_000, 720, negative_prompt="people", steps=99, seed=5)


def constraints(**more: Any) -> dict[str, Any]:
    """Return what a model of pictures takes."""
    usual = {"promptCharacterLimit": 1_500, "steps": {"default": 20, "max": 30}}
    return usual | {"widthHeightDivisor": 8} | more


def model(name: str, kind: str, takes: dict[str, Any]) -> dict[str, Any]:
    """Return a line of the list."""
    spec = {"name": name, "constraints": takes, "pricing": {"generation": {"usd": 0.01}}}
    return {"id": name, "type": kind, "object": "model", "created": 1, "model_spec": spec}


LIST = [
    model("chroma", "image", constraints()),
    model("banana", "image", constraints(aspectRatios=list(RATIOS), resolutions=["1K", "2K"])),
    model(FILM_MODEL, "video", {
        "model_type": "text-to-video", "aspect_ratios": ["16:9", "1:1"], "durations": ["5s", "10s"],
        "resolutions": ["480p", "720p"], "audio": True, "audio_configurable": True,
    }),
]  # fmt: skip


class VeniceApi:
    """What the API says. A film is there when it is asked for the second time."""

    def __init__(self) -> None:
        self.polls: dict[str, int] = {}
        self.seconds = 5

    def answers(self, asked: Asked) -> Reply:
        """Return the answer to a request."""
        if asked.path == MODELS:  # which needs no key
            return Reply({"object": "list", "type": asked.query["type"], "data": LIST})
        if not has_key(asked):
            return Reply({"error": "Authentication failed"}, 401)
        match asked.path:
            case "/api/v1/api_keys/rate_limits":
                return Reply({"data": {"accessPermitted": True, "balances": {"USD": 3.5}}})
            case "/api/v1/image/generate":
                return self._picture(asked.body)
            case "/api/v1/video/queue":
                name = f"q{len(self.polls)}"
                self.polls[name] = 0
                self.seconds = int(asked.body["duration"].removesuffix("s"))
                return Reply({"model": asked.body["model"], "queue_id": name})
            case "/api/v1/video/retrieve":
                return self._film(asked.body["queue_id"])
            case "/api/v1/video/complete":
                return Reply({"success": True})
        return Reply({"error": "Not found"}, 404)

    def _picture(self, body: dict[str, Any]) -> Reply:
        if "aspect_ratio" in body:
            width, height = RATIOS[body["aspect_ratio"]]
        else:
            width, height = body["width"], body["height"]
            if width % 8 or height % 8 or max(width, height) > 1_280:
                return Reply({"error": "Invalid request parameters", "details": {}}, 400)
        return Reply(png(width, height), media_type="image/png")

    def _film(self, queue_id: str) -> Reply:
        if queue_id not in self.polls:
            return Reply({"error": "Media could not be found."}, 404)
        self.polls[queue_id] += 1
        if self.polls[queue_id] == 1:
            times = {"average_execution_time": 100_000, "execution_duration": 40_000}
            return Reply({"status": "PROCESSING", **times})
        return Reply(film(self.seconds * 1_000), media_type="video/mp4")


API = VeniceApi()


def make_venice(server_url: str, **changed: Any) -> Venice:
    """An executor before a server, quick to ask again."""
    provider = Provider(
        NAME,
        f"{server_url}/api/v1",
        {"Authorization": f"Bearer {changed.pop('key', KEY)}"},
        probe_path=PROBE_PATH,
        mend=MEND,
        at_once=2,
        pauses_s=(PATIENCE_S,),
        retries_s=(0.0, 0.0),
    )
    usual: dict[str, Any] = {
        "at_once": 2, "deadline_s": PATIENCE_S, "film_deadline_s": PATIENCE_S, "poll_s": 0.01,
    }  # fmt: skip
    models = {"chroma": "chroma", "banana": "banana", "grok": FILM_MODEL, "gone": "gone"}
    return Venice(provider, models, **(usual | changed))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def venice_server_running() -> AsyncIterator[ProviderServer]:
    """The one server of the session."""
    async with ProviderServer(API.answers).running() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def venice_server(venice_server_running: ProviderServer) -> AsyncIterator[ProviderServer]:
    """The server, without the scripts, requests and films of other tests."""
    venice_server_running.reset()
    API.polls.clear()
    yield venice_server_running
    venice_server_running.reset()


@pytest_asyncio.fixture(loop_scope="session")
async def venice(venice_server: ProviderServer) -> AsyncIterator[Venice]:
    """The executor before the stand-in."""
    made = make_venice(venice_server.url)
    yield made
    await made.close()
