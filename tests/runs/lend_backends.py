"""What lent machines of a long run make pictures with: one is slow, one lies, and one waits until
it is told to go on.

All speak the API of AUTOMATIC1111's web UI. The slow one paints what it was asked for; the liar
gives everybody noise, of the size that was asked for.
"""

import asyncio
import base64
import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from PIL import Image
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.executors.painter import MODEL, ScenePainter
from app.ports import Made, Wanted
from tests.world.provider_server import Asked, ProviderServer, Reply

CHECKPOINT = "turbo.safetensors"
Paint = Callable[[dict[str, Any]], Awaitable[bytes]]


def _answers(asked: Asked) -> Reply:
    if asked.path == "/sdapi/v1/sd-models":
        return Reply([{"title": CHECKPOINT, "model_name": "turbo", "filename": CHECKPOINT}])
    if asked.path == "/sdapi/v1/progress":
        return Reply({"progress": 0.5, "state": {"interrupted": False}})
    return Reply({"detail": "Not Found"}, 404)


@asynccontextmanager
async def _served(paint: Paint) -> AsyncIterator[str]:
    async def txt2img(request: Request) -> JSONResponse:
        made = await paint(await request.json())
        return JSONResponse({"images": [base64.b64encode(made).decode()], "info": "{}"})

    route = Route("/sdapi/v1/txt2img", txt2img, methods=["POST"])
    async with ProviderServer(_answers, route).running() as server:
        yield server.url


@asynccontextmanager
async def slow(pause_s: float) -> AsyncIterator[str]:
    """Give the address of one that takes so long for a picture, and paints it well."""
    painter = ScenePainter()

    async def paint(body: dict[str, Any]) -> bytes:
        await asyncio.sleep(pause_s)
        size = body["width"], body["height"]
        more = body["negative_prompt"], body.get("steps", 0), body["seed"]
        made = await painter.make(Wanted(MODEL, body["prompt"], *size, *more))
        assert isinstance(made, Made), made
        return made.data

    try:
        async with _served(paint) as url:
            yield url
    finally:
        await painter.close()


@asynccontextmanager
async def waiting(go: asyncio.Event) -> AsyncIterator[str]:
    """Give the address of one that makes nothing before it may go on, and then what is cheap."""

    async def paint(body: dict[str, Any]) -> bytes:
        await go.wait()
        kept, size = io.BytesIO(), (body["width"], body["height"])
        colour = tuple(body["seed"] // step % 256 for step in (1, 256, 65_536))
        Image.new("RGB", size, colour).save(kept, "PNG")
        return kept.getvalue()

    async with _served(paint) as url:
        yield url


@asynccontextmanager
async def lying(pause_s: float) -> AsyncIterator[str]:
    """Give the address of one that makes noise of whatever it is asked for."""

    async def paint(body: dict[str, Any]) -> bytes:
        await asyncio.sleep(pause_s)
        kept, size = io.BytesIO(), (body["width"], body["height"])
        noise = Image.frombytes("RGB", (16, 16), os.urandom(16 * 16 * 3))
        noise.resize(size, Image.Resampling.BICUBIC).save(kept, "PNG")
        return kept.getvalue()

    async with _served(paint) as url:
        yield url
