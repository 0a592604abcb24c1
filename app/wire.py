"""JSON in and out. What comes in is read strictly: bounded, UTF-8, no duplicate keys, no NaN.

Refused input never reaches a handler, and every refusal names what is wrong with it.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

MOST_BYTES = 256 * 1024
LONGEST_S = 15.0  # for a whole body to arrive
MOST_DEPTH = 32
MOST_INTEGER = 2**53  # beyond it, JSON numbers differ between languages

# Never gives a character back, and takes a string without an end for one: else 256 KiB of `\"`
# would be read again from each of its quotes, for minutes.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")

M = TypeVar("M", bound=BaseModel)


class BadInput(ValueError):
    """A body that is not read; the message is for its sender."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


def json_response(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a JSON answer."""
    return Response(orjson.dumps(body), status, dict(headers or {}), "application/json")


async def read_body(request: Request, longest_s: float = LONGEST_S) -> bytes:
    """Return the body, refusing one that is over the limit, or too slow, as its bytes arrive."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:12]) > MOST_BYTES:
        raise _too_large()
    chunks, size = [], 0
    try:
        async with asyncio.timeout(longest_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > MOST_BYTES:
                    raise _too_large()
                chunks.append(chunk)
    except TimeoutError as slow:
        raise BadInput("The body did not arrive in time. Send the request again.", 408) from slow
    except ClientDisconnect as gone:
        raise BadInput("The request broke off before its end. Send it again.") from gone
    return b"".join(chunks)


def _too_large() -> BadInput:
    return BadInput(f"The body is over {MOST_BYTES // 1024} KiB. Send a shorter one.", 413)


def parse(body: bytes, shape: type[M]) -> M:
    """Return a JSON object as the shape it must have, or raise BadInput with one sentence."""
    values = parse_object(body)
    try:
        return shape.model_validate(values)
    except ValidationError as error:
        raise BadInput(_sentence(error, shape)) from None


def parse_object(body: bytes) -> dict[str, Any]:
    """Return a JSON object, or raise BadInput."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"The body is not valid UTF-8 (byte {error.start}). Encode it as UTF-8."
        ) from None
    if not text.strip():
        raise BadInput("The body is empty. Send a JSON object.")
    if _depth(text) > MOST_DEPTH:
        raise BadInput(f"The JSON is nested deeper than {MOST_DEPTH} levels. Send it flatter.")
    try:
        values = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer
        )
    except json.JSONDecodeError as error:
        raise BadInput(
            f"The body is not valid JSON (line {error.lineno}, column {error.colno})."
            " Send one JSON object, in braces."
        ) from None
    if not isinstance(values, dict):
        raise BadInput("The body is JSON, but no object. Send one JSON object, in braces.")
    return values


def _depth(text: str) -> int:
    """Return how deep brackets nest at most. Nothing recurses; text in strings does not count."""
    if text.count("[") + text.count("{") <= MOST_DEPTH:
        return 0  # nearly every body: there are not enough brackets to nest too deep
    deepest = depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise BadInput(f"The field {key[:40]!r} is given twice. Give it once.")
        values[key] = value
    return values


def _constant(name: str) -> Any:
    raise BadInput(f"The body holds {name}, which is no JSON number. Send a finite one.")


def _integer(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > MOST_INTEGER:
        raise BadInput("A number in the body is larger than 2^53. Send a smaller one.")
    return int(digits)


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
