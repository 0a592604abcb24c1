"""A job of another network's worker: popped, its file brought, and submitted."""

from functools import partial
from typing import Annotated, Final, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.api.horde.keys import worker_of
from app.api.horde.shapes import job_shape, nothing_shape, paid_shape
from app.house import house_of
from app.http.body import json_response, parse, read_body
from app.http.edge import polls
from app.http.fields import Foreign, is_id
from app.http.image_job_shapes import id_of
from app.http.links import base_url
from app.strict_json import BadInput
from app.trade.stock_workers import MOST_FILE, Nothing, gone

FILE_S: Final = 120.0
MOST_PIXELS: Final = 8_192 * 8_192
MOST_MODELS: Final = 1_000  # some offer all that their network knows
WHY_NOT: Final = {
    "faulted": "Its worker could not make it.",
    "censored": "Its worker holds it back: it is nothing to be shown.",
    "csam": "Its worker holds it back: it shows abuse.",
}
Model = Annotated[str, Field(min_length=1, max_length=255)]


class Pop(Foreign):
    """POST /api/v2/generate/pop."""

    models: Annotated[list[Model], Field(max_length=MOST_MODELS)]
    max_pixels: Annotated[int, Field(ge=1)]


class Submit(Foreign):
    """POST /api/v2/generate/submit."""

    id: Annotated[str, Field(max_length=80)]
    ended: Literal["ok", "censored", "faulted", "csam"] = Field("ok", alias="state")
    censored: bool = False


async def pop(request: Request) -> Response:
    """POST /api/v2/generate/pop: 200 with one job; or with none, and why."""
    polls(request)
    house = house_of(request)
    worker = await worker_of(request, house)
    asked = parse(await read_body(request), Pop)
    base = base_url(request, house.settings.public_url)
    if base is None:
        raise BadInput("The Host header is none that a file could be brought to.")
    most_pixels = min(asked.max_pixels, MOST_PIXELS)
    door = house.stock_workers
    told = await door.pop(worker, asked.models, most_pixels, request.is_disconnected)
    if isinstance(told, Nothing):
        return json_response(nothing_shape(told.no_match))
    return json_response(job_shape(told, base, house.clock()))


async def upload(request: Request) -> Response:
    """PUT /api/v2/uploads/{id}/{mark}: 200; the body is the file, whatever it is called."""
    house, lease_id = house_of(request), request.path_params["id"]
    if not is_id(lease_id):
        raise gone("?")
    body = partial(read_body, request, FILE_S, MOST_FILE)
    await house.stock_workers.upload(lease_id, request.path_params["mark"], body)
    return json_response({"ok": True})


async def submit(request: Request) -> Response:
    """POST /api/v2/generate/submit: 200 with the reward, in sats."""
    house = house_of(request)
    worker = await worker_of(request, house)
    asked = parse(await read_body(request), Submit)
    lease_id = id_of(asked.id)
    if lease_id is None:
        raise gone("?")
    ended = "censored" if asked.censored and asked.ended == "ok" else asked.ended
    if ended != "ok":
        await house.stock_workers.fault(worker, lease_id, WHY_NOT[ended])
        return json_response({"reward": 0})
    return json_response(paid_shape(await house.stock_workers.submit(worker, lease_id)))
