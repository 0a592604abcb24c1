"""JSON in and out over HTTP. What comes in is bounded in bytes and time, and read strictly.

Refused input never reaches a handler, and every refusal names what is wrong with it.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.refusal import Refusal, Why
from app.strict_json import BadInput, dumped, parse_object

MOST_BYTES = 256 * 1024
LONGEST_S = 15.0  # for a whole body to arrive
M = TypeVar("M", bound=BaseModel)


def json_response(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a JSON answer."""
    return Response(dumped(body), status, dict(headers or {}), "application/json")


async def read_body(
    request: Request, longest_s: float = LONGEST_S, most_bytes: int = MOST_BYTES
) -> bytes:
    """Return the body, refusing one that is over the limit, or too slow, as its bytes arrive."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:12]) > most_bytes:
        raise _too_large(most_bytes)
    chunks, size = [], 0
    try:
        async with asyncio.timeout(longest_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > most_bytes:
                    raise _too_large(most_bytes)
                chunks.append(chunk)
    except TimeoutError as slow:
        sentence = "The body did not arrive in time. Send the request again."
        raise Refusal(Why.TOO_SLOW, sentence) from slow
    except ClientDisconnect as gone:
        raise BadInput("The request broke off before its end. Send it again.") from gone
    return b"".join(chunks)


def _too_large(most_bytes: int) -> Refusal:
    return Refusal(
        Why.TOO_LARGE, f"The body is larger than {most_bytes // 1024} KiB. Send a shorter one."
    )


def parse(body: bytes, shape: type[M]) -> M:
    """Return a JSON object as the shape it must have, or raise BadInput with one sentence."""
    values = parse_object(body)
    try:
        return shape.model_validate(values)
    except ValidationError as error:
        raise BadInput(_sentence(error, shape)) from None


def _sentence(error: ValidationError, shape: type[BaseModel]) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "body"
    match first["type"]:
        case "missing":
            return f"The field {where!r} is missing. Add it."
        case "extra_forbidden":
            names = ", ".join(field.alias or name for name, field in shape.model_fields.items())
            return f"The field {where[:40]!r} is not known here. Known fields: {names}."
        case "value_error":
            return str(first["ctx"]["error"])
        case "string_unicode":
            return "The body holds a surrogate (\\uD800 to \\uDFFF) without its pair. Take it out."
        case _:
            _, _, rule = str(first["msg"]).partition(" should ")
            return f"The field {where!r} must {rule or 'be something else: ' + first['msg']}."
