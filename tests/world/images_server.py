"""A stand-in for a server of OpenAI's Images API: LocalAI, stable-diffusion.cpp, OpenAI itself.

Shapes of its answers and refusals are those of the API's reference; as the real one does, it
refuses fields that it doesn't know.
"""

import base64
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from PIL import Image, ImageOps

from app.executors.openai_images import OpenAiImages
from app.executors.provider import Provider
from app.ports import Wanted
from tests.world.patience import PATIENCE_S
from tests.world.provider_server import KEY, Asked, ProviderServer, Reply, has_key, png

GENERATIONS, MODELS = "/v1/images/generations", "/v1/models"
EDITS, EDITOR = "/v1/images/edits", "gpt-image-1"
KNOWN = {"model", "prompt", "n", "size", "quality", "background", "output_format", "user"}
FINER = {"seed", "steps", "negative_prompt"}
MODEL = "flux-1-dev"


def error(message: str, code: str | None, kind: str = "invalid_request_error") -> dict[str, object]:
    """Return the body of a refusal."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def answers(asked: Asked) -> Reply:
    """Return what the API says: a picture of the size that was asked for."""
    if not has_key(asked):
        return Reply(error("Incorrect API key provided", "invalid_api_key"), 401)
    if asked.path == MODELS:
        return Reply({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
    if asked.path == EDITS and asked.method == "POST":
        return edits(asked)
    if asked.path != GENERATIONS or asked.method != "POST":
        return Reply(error("Unknown request URL", None), 404)
    unknown = set(asked.body) - KNOWN - FINER
    if unknown:
        return Reply(error(f"Unknown parameter: '{min(unknown)}'", "unknown_parameter"), 400)
    if asked.body["model"] != MODEL:
        return Reply(error("The model does not exist", "model_not_found"), 404)
    if "forbidden" in asked.body["prompt"]:
        return Reply(error("rejected by the safety system", "moderation_blocked"), 400)
    width, height = (int(side) for side in asked.body["size"].split("x"))
    return Reply(holding(png(width, height)))


def edits(asked: Asked) -> Reply:
    """Return a picture as words change it: this editor knows how to mirror, and no more. Where
    there is a mask, what is not transparent in it stays."""
    if set(asked.body) - KNOWN or not asked.headers["content-type"].startswith("multipart/form"):
        return Reply(error("Unknown parameter", "unknown_parameter"), 400)
    if asked.body["model"] != EDITOR:
        return Reply(error("The model does not exist", "model_not_found"), 404)
    if set(asked.files) - {"mask"} != {"image"}:
        return Reply(error("Missing required parameter: 'image'", "missing_parameter"), 400)
    if "forbidden" in asked.body["prompt"]:
        return Reply(error("rejected by the safety system", "moderation_blocked"), 400)
    made = io.BytesIO()
    picture = Image.open(io.BytesIO(asked.files["image"]), formats=["PNG", "JPEG", "WEBP"])
    mirrored = ImageOps.mirror(picture)
    if "mask" in asked.files:
        mask = Image.open(io.BytesIO(asked.files["mask"]), formats=["PNG"])
        mirrored.paste(picture, mask=mask.getchannel("A"))
    mirrored.save(made, "PNG")
    return Reply(holding(made.getvalue()))


def holding(picture: bytes) -> dict[str, object]:
    """Return the body of an answer that holds a picture."""
    return {"created": 1_785_000_000, "data": [{"b64_json": base64.b64encode(picture).decode()}]}


CAT = Wanted("flux", "a cat on a roof", 512, 384, negative_prompt="dogs", steps=12, seed=7)
LONG_S = PATIENCE_S


def make_images(server_url: str, **changed: Any) -> OpenAiImages:
    """An executor before a server, quick to ask again."""
    at_once = changed.pop("at_once", 2)
    provider = Provider(
        "images-api",
        f"{server_url}/v1",
        {"Authorization": f"Bearer {changed.pop('key', KEY)}"},
        probe_path="/models",
        mend="check IMAGES_KEY",
        at_once=at_once,
        pauses_s=changed.pop("pauses_s", (LONG_S,)),
        retries_s=changed.pop("retries_s", (0.0, 0.0)),
        public=changed.pop("public", None),
    )
    usual: dict[str, Any] = {"at_once": at_once, "deadline_s": LONG_S, "most_side": 2_048}
    usual["edits"] = {"kontext": EDITOR, "left": "gone"}
    return OpenAiImages(provider, {"flux": MODEL, "gone": "gone"}, **(usual | changed))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def images_server_running() -> AsyncIterator[ProviderServer]:
    """The one server of the session."""
    async with ProviderServer(answers).running() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def images_server(images_server_running: ProviderServer) -> AsyncIterator[ProviderServer]:
    """The server, without the scripts and requests of other tests."""
    images_server_running.reset()
    yield images_server_running
    images_server_running.reset()


@pytest_asyncio.fixture(loop_scope="session")
async def images(images_server: ProviderServer) -> AsyncIterator[OpenAiImages]:
    """The executor before the stand-in."""
    made = make_images(images_server.url)
    yield made
    await made.close()
