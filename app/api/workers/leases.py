"""What a worker says of an item that it holds: that it makes it, what it has made, or why not."""

import base64
import binascii
import re
from hashlib import sha256
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.api.workers.shapes import pay_shape
from app.api.workers.tokens import worker_of
from app.artifacts.bounds import MIB
from app.artifacts.previews import MOST_BROUGHT
from app.house import House, house_of
from app.http.body import json_response, parse, read_body
from app.http.edge import polls
from app.http.fields import Body, path_id
from app.plain_text import odd_in
from app.promises.leases import LONGEST_REASON
from app.refusal import Refusal, Why
from app.strict_json import BadInput, moment
from db.leases import Named
from db.workers import WorkerRow
from statemachine.worker import WorkerState

MEDIA = ("image/png", "image/jpeg", "image/webp", "video/mp4", "video/webm")
MOST_FILE, FILE_S = 48 * MIB, 120.0  # the decoder takes no more
MOST_BEAT = MOST_BROUGHT * 4 // 3 + 1_024  # bytes of a heartbeat: a picture in base64
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
COMMANDS = {WorkerState.ONLINE: "continue", WorkerState.PAUSED: "continue"}


class Heartbeat(Body):
    """POST /api/v1/leases/{id}/heartbeat."""

    progress: Annotated[int, Field(ge=0, le=100)] = 0
    preview: str | None = None


class Failure(Body):
    """POST /api/v1/leases/{id}/fail."""

    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)]
    retryable: bool = True


async def _held(request: Request) -> tuple[House, WorkerRow, Named]:
    house = house_of(request)
    worker = await worker_of(request, house)
    lease = await house.lending.lease(worker, path_id(request, _unknown))
    return house, worker, lease


def _unknown() -> Refusal:
    return Refusal(Why.LEASE_UNKNOWN, "You have no lease of this id.")


async def heartbeat(request: Request) -> Response:
    """POST /api/v1/leases/{id}/heartbeat: 200 with until when it is held now."""
    polls(request)
    house, worker, lease = await _held(request)
    asked = parse(await read_body(request, most_bytes=MOST_BEAT), Heartbeat)
    preview = _decoded(asked.preview) if asked.preview is not None else b""
    held = await house.lending.beat(worker, lease, asked.progress, preview)
    command = COMMANDS.get(worker.state, "drain")
    return json_response({"until": moment(held.until), "command": command})


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("The field 'preview' must be a picture in base64.") from None


async def result(request: Request) -> Response:
    """PUT /api/v1/leases/{id}/result: 200 with what is earned; the body is the file."""
    house, worker, lease = await _held(request)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in MEDIA:
        sentence = f"Send the file as one of: {', '.join(MEDIA)}."
        raise Refusal(Why.MEDIA_UNKNOWN, sentence)
    data = await read_body(request, FILE_S, MOST_FILE)
    _check_digest(request, data)
    pay = await house.lending.submit(worker, lease, data, media_type)
    return json_response({"accepted": True, "earned": pay_shape(lease.asset, pay)})


def _check_digest(request: Request, data: bytes) -> None:
    """Refuse a file that is not the one whose digest was sent (RFC 9530)."""
    given = request.headers.get("content-digest")
    if given is None:
        return
    found = _DIGEST.search(given)
    if found is None:
        raise BadInput("The Content-Digest must be sha-256=:BASE64:.")
    if base64.b64decode(found[1]) != sha256(data).digest():
        raise BadInput("The file isn't the one of the Content-Digest. Send it again.")


async def fail(request: Request) -> Response:
    """POST /api/v1/leases/{id}/fail: 200; the item is another's turn."""
    house, worker, lease = await _held(request)
    asked = parse(await read_body(request), Failure)
    odd = odd_in(asked.reason)
    if odd:
        raise BadInput(f"The field 'reason' holds the character {odd}, which is not text.")
    await house.lending.fail(worker, lease, asked.reason, asked.retryable)
    return json_response({"ok": True})


async def release(request: Request) -> Response:
    """POST /api/v1/leases/{id}/release: 200; what was not begun is another's turn."""
    house, worker, lease = await _held(request)
    await house.lending.release(worker, lease)
    return json_response({"ok": True})
