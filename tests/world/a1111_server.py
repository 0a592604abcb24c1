"""A stand-in for AUTOMATIC1111's web UI: one picture after the other, asked meanwhile how it goes.

Its shapes are those of modules/api and modules/progress of that program; as there, a wish for a
checkpoint that it does not have is left out, and an interrupted piece is answered like any other.
"""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.executors.a1111 import A1111, MEND, NAME, PROBE_PATH, basic
from app.executors.provider import Provider
from app.ports import Wanted
from tests.world.patience import PATIENCE_S
from tests.world.provider_server import Asked, ProviderServer, Reply, picture, png

LOGIN = "owner:of the stand-in"
CHECKPOINT = "flux1-dev.safetensors"
LIST = [
    {"title": f"{CHECKPOINT} [0123456789]", "model_name": "flux1-dev", "hash": "0123456789",
     "sha256": None, "filename": f"C:\\models\\{CHECKPOINT}", "config": None},
]  # fmt: skip
FOREST = Wanted("flux", "a forest", 512, 384, negative_prompt="people", steps=4, seed=2**40 + 7)
PREVIEW = picture(32, 32, "JPEG")
MADE, OPTIONS = "/sdapi/v1/txt2img", "override_settings"


class A1111Api:
    """What the server does with a piece: it is made at once, unless `goes` says otherwise."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all pieces."""
        self.goes = "well"  # or: stays, fails, memory, interrupted
        self.has_pages = self.names_pieces = True  # pages: /internal/progress is there
        self.asked: list[dict[str, Any]] = []
        self.running, self.others = "", False  # the piece that is made; whether it is another's
        self.interrupted = 0
        self.begun, self.looked = asyncio.Event(), asyncio.Event()
        self.go = asyncio.Event()  # what stays is made when it is set
        self.lock = asyncio.Lock()

    async def txt2img(self, request: Request) -> JSONResponse:
        """Serve POST /sdapi/v1/txt2img: one at a time, as that program does."""
        if request.headers.get("authorization") != basic(LOGIN)["Authorization"]:
            return JSONResponse({"detail": "Incorrect username or password"}, 401)
        body = await request.json()
        self.asked.append(body)
        async with self.lock:
            if not self.others:
                self.running = body["force_task_id"]
            self.begun.set()
            return await self._made(body)

    async def _made(self, body: dict[str, Any]) -> JSONResponse:
        if self.goes == "stays":
            await self.go.wait()
        self.running = ""
        if self.goes == "memory":
            words = {"detail": "", "body": "", "errors": "CUDA out of memory."}
            return JSONResponse({"error": "OutOfMemoryError", **words}, 500)
        if self.goes == "fails":
            return JSONResponse({"detail": [{"loc": ["body", "steps"], "msg": "wrong"}]}, 422)
        data = base64.b64encode(png(body["width"], body["height"])).decode()
        return JSONResponse({"images": [data], "parameters": body, "info": "{}"})

    def answers(self, asked: Asked) -> Reply:
        """Return the answer to anything else."""
        if asked.headers.get("authorization") != basic(LOGIN)["Authorization"]:
            return Reply({"detail": "Incorrect username or password"}, 401)
        match asked.method, asked.path:
            case "GET", "/sdapi/v1/sd-models":
                return Reply(LIST)
            case "GET", "/sdapi/v1/progress":
                return Reply(self._progress())
            case "POST", "/internal/progress" if self.has_pages:
                return Reply(self._of_one(asked.body))
            case "POST", "/sdapi/v1/interrupt":
                self.interrupted += 1
                self.go.set()
                return Reply({})
        return Reply({"detail": "Not Found"}, 404)

    def _progress(self) -> dict[str, Any]:
        self.looked.set()
        state = {"skipped": False, "interrupted": self.goes == "interrupted", "job_count": 1}
        said = {"progress": 0.26, "eta_relative": 1.0, "state": state, "textinfo": None}
        task = {"current_task": self.running or None} if self.names_pieces else {}
        return {**said, "current_image": None, **task}

    def _of_one(self, body: dict[str, Any]) -> dict[str, Any]:
        self.looked.set()
        active = bool(self.running) and body["id_task"] == self.running
        said: dict[str, Any] = {"active": active, "queued": False, "completed": not active}
        if not active:
            return {**said, "id_live_preview": -1, "textinfo": "Waiting..."}
        shown = {} if body.get("id_live_preview") == 3 else {"live_preview": _data(PREVIEW)}
        return {**said, "progress": 0.5, "eta": 1.0, **shown, "id_live_preview": 3}


def _data(picture: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"


API = A1111Api()


def make_a1111(server_url: str, **changed: Any) -> A1111:
    """An executor before a server, which looks often."""
    provider = Provider(
        NAME,
        server_url,
        basic(changed.pop("login", LOGIN)),
        probe_path=PROBE_PATH,
        mend=MEND,
        at_once=1,
        pauses_s=(PATIENCE_S,),
        retries_s=(0.0, 0.0),
    )
    models = {"flux": CHECKPOINT, "loaded": ""}
    return A1111(provider, models, at_once=1, deadline_s=PATIENCE_S, poll_s=0.02)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def a1111_server_running() -> AsyncIterator[ProviderServer]:
    """The one server of the session."""
    made = Route(MADE, API.txt2img, methods=["POST"])
    async with ProviderServer(API.answers, made).running() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def a1111_server(a1111_server_running: ProviderServer) -> AsyncIterator[ProviderServer]:
    """The server, without the pieces of other tests."""
    a1111_server_running.reset()
    API.reset()
    yield a1111_server_running
    API.go.set()
    a1111_server_running.reset()


@pytest_asyncio.fixture(loop_scope="session")
async def a1111(a1111_server: ProviderServer) -> AsyncIterator[A1111]:
    """The executor before the stand-in."""
    made = make_a1111(a1111_server.url)
    yield made
    await made.close()
