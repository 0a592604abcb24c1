"""A stand-in for ComfyUI: its queue, its websocket with steps and previews, its history.

Its shapes are those of ComfyUI's server.py and of what it sends while it runs a workflow.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.executors.comfyui import MEND, NAME, PROBE_PATH, ComfyUi
from app.executors.provider import Provider
from app.ports import Wanted
from app.workflow import read_workflow
from tests.world.patience import PATIENCE_S
from tests.world.provider_server import (
    KEY,
    Asked,
    ProviderServer,
    Reply,
    film,
    has_key,
    picture,
    png,
)

KNOWN = ("CheckpointLoaderSimple", "CLIPTextEncode", "EmptyLatentImage", "KSampler", "SaveImage")
WORKFLOW = {
    "3": {"class_type": "KSampler",
          "inputs": {"seed": "%seed%", "steps": "%steps:4%", "model": ["4", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd.safetensors"}},
    "5": {"class_type": "EmptyLatentImage",
          "inputs": {"width": "%width%", "height": "%height%", "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "best, %prompt%", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "%negative_prompt%"}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0]}},
}  # fmt: skip
TREE = Wanted("sd", "a tree", 512, 390, negative_prompt="people", seed=7)
PREVIEW = picture(32, 32, "JPEG")


class ComfyApi:
    """What the server does with a piece: it is made at once, unless `goes` says otherwise."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all pieces."""
        self.goes = "well"  # or: fails, stays, waits, vanishes, silent
        self.made = b""  # instead of what was asked for
        self.sockets: dict[str, WebSocket] = {}
        self.running: dict[str, asyncio.Task[None]] = {}
        self.waiting: list[str] = []
        self.history: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.interrupted: list[str] = []
        self.begun = 0

    async def socket(self, socket: WebSocket) -> None:
        """Serve /ws."""
        if self.goes == "silent":
            await socket.close()
            return
        await socket.accept()
        client = socket.query_params["clientId"]
        self.sockets[client] = socket
        status: dict[str, Any] = {"status": {"exec_info": {"queue_remaining": 0}}, "sid": client}
        await socket.send_json({"type": "status", "data": status})
        try:
            while True:
                await socket.receive_text()
        except WebSocketDisconnect:
            self.sockets.pop(client, None)

    def answers(self, asked: Asked) -> Reply:
        """Return the answer to a request."""
        if not has_key(asked):
            return Reply({}, 401)
        name = asked.path.rpartition("/")[2]
        match asked.method, asked.path:
            case "GET", "/system_stats":
                return Reply({"system": {"comfyui_version": "0.9"}, "devices": []})
            case "POST", "/prompt":
                return self._queue(asked.body)
            case "GET", "/queue":
                rows = {"queue_running": list(self.running), "queue_pending": self.waiting}
                return Reply({key: [[0, each, {}, {}, []] for each in rows[key]] for key in rows})
            case "POST", "/queue":
                self.waiting = [each for each in self.waiting if each not in asked.body["delete"]]
                return Reply(b"")
            case "POST", "/interrupt":
                self.interrupted.append(asked.body["prompt_id"])
                self.running.pop(asked.body["prompt_id"]).cancel()
                return Reply(b"")
            case "POST", "/history":
                self.history.pop(asked.body["delete"][0])
                return Reply(b"")
            case "GET", "/view":
                data = self.files.get(asked.query["filename"])
                return Reply(data, media_type="image/png") if data else Reply({}, 404)
        entry = self.history.get(name)
        return Reply({name: entry} if entry else {})

    def _queue(self, body: dict[str, Any]) -> Reply:
        nodes = body["prompt"]
        strange = [node for node in nodes.values() if node["class_type"] not in KNOWN]
        if strange:
            error = {"type": "invalid_prompt", "message": "Node type missing", "details": ""}
            return Reply({"error": error, "node_errors": {}}, 400)
        self.begun += 1
        name = f"0000-{self.begun}"
        if self.goes == "waits":
            self.waiting.append(name)
        elif self.goes != "vanishes":
            self.running[name] = asyncio.create_task(self._run(name, body))
        return Reply({"prompt_id": name, "number": self.begun, "node_errors": {}})

    async def _run(self, name: str, body: dict[str, Any]) -> None:
        client = body["client_id"]
        for kind, data in (("execution_start", {}), ("executing", {"node": "3"})):
            await self._send(client, kind, {**data, "prompt_id": name})
        for done in range(1, 5):
            progress = {"value": done, "max": 4, "prompt_id": name, "node": "3"}
            await self._send(client, "progress", progress)
            await self._send_bytes(client, b"\0\0\0\1\0\0\0\1" + PREVIEW)
        if self.goes == "stays":
            await asyncio.Event().wait()
        await self._send(client, "progress", {"value": 1, "max": 9, "prompt_id": "another"})
        well = self.goes != "fails"
        self.running.pop(name)
        ended = "execution_success" if well else "execution_error"
        await self._send(client, ended, {"prompt_id": name})  # before it is in the history
        file = {"filename": f"{name}.png", "subfolder": "a b", "type": "output"}
        shown = {"filename": "preview.png", "subfolder": "", "type": "temp"}
        size = body["prompt"]["5"]["inputs"]
        self.files[file["filename"]] = self.made or png(size["width"], size["height"])
        outputs = {"8": {"images": [shown]}, "9": {"images": [file]}} if well else {}
        ended_as: dict[str, Any] = {
            "status_str": "success" if well else "error",
            "completed": well,
            "messages": [],
        }
        self.history[name] = {"prompt": [0, name], "outputs": outputs, "status": ended_as}

    async def _send(self, client: str, kind: str, data: dict[str, Any]) -> None:
        if client in self.sockets:
            await self.sockets[client].send_text(json.dumps({"type": kind, "data": data}))

    async def _send_bytes(self, client: str, data: bytes) -> None:
        if client in self.sockets:
            await self.sockets[client].send_bytes(data)


API = ComfyApi()


def make_comfy(server_url: str, **changed: Any) -> ComfyUi:
    """An executor before a server, which looks often."""
    provider = Provider(
        NAME,
        server_url,
        {"Authorization": f"Bearer {changed.pop('key', KEY)}"},
        probe_path=PROBE_PATH,
        mend=MEND,
        at_once=1,
        pauses_s=(PATIENCE_S,),
        retries_s=(0.0, 0.0),
    )
    usual: dict[str, Any] = {
        "at_once": 1, "deadline_s": PATIENCE_S, "film_deadline_s": PATIENCE_S, "poll_s": 0.05,
    }  # fmt: skip
    workflow = read_workflow(json.dumps(WORKFLOW).encode())
    strange = {**workflow, "1": {"class_type": "Strange", "inputs": {}}}
    workflows = {"sd": workflow, "wan": workflow, "strange": strange}
    return ComfyUi(provider, workflows, frozenset({"wan"}), **(usual | changed))


def long_film() -> bytes:
    """Return a film of five seconds, as far as its head says it."""
    return film(5_000)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def comfy_server_running() -> AsyncIterator[ProviderServer]:
    """The one server of the session."""
    async with ProviderServer(API.answers, WebSocketRoute("/ws", API.socket)).running() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def comfy_server(comfy_server_running: ProviderServer) -> AsyncIterator[ProviderServer]:
    """The server, without the pieces of other tests."""
    comfy_server_running.reset()
    API.reset()
    yield comfy_server_running
    for task in API.running.values():
        task.cancel()
    comfy_server_running.reset()


@pytest_asyncio.fixture(loop_scope="session")
async def comfy(comfy_server: ProviderServer) -> AsyncIterator[ComfyUi]:
    """The executor before the stand-in."""
    made = make_comfy(comfy_server.url)
    yield made
    await made.close()
