"""JSON read strictly: UTF-8, one object, bounded in depth, no duplicate keys, no NaN; and written.

Refused input never reaches a handler, and every refusal names what is wrong with it.
"""

import json
import re
from datetime import UTC, datetime
from typing import Any

import orjson

MOST_DEPTH = 32
MOST_INTEGER = 2**53  # beyond it, JSON numbers differ between languages

# Never gives a character back, and takes a string without an end for one: else 256 KiB of `\"`
# would be read again from each of its quotes, for minutes.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_ESCAPED = {end.encode(): b"\\u%04x" % ord(end) for end in "\u2028\u2029\x85"}
_LINE_ENDS = re.compile(b"|".join(_ESCAPED))


class BadInput(ValueError):
    """What can't be read as what it should be; the message is for its sender."""


def parse_object(body: bytes) -> dict[str, Any]:
    """Return a JSON object, or raise BadInput."""
    values = _parsed(body)
    if not isinstance(values, dict):
        raise BadInput("The body is JSON, but no object. Send one JSON object, in braces.")
    return values


def parse_list(body: bytes) -> list[Any]:
    """Return a JSON list, or raise BadInput."""
    values = _parsed(body)
    if not isinstance(values, list):
        raise BadInput("The body is JSON, but no list. Send one JSON list, in brackets.")
    return values


def _parsed(body: bytes) -> Any:
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
        return json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer
        )
    except json.JSONDecodeError as error:
        raise BadInput(
            f"The body is not valid JSON (line {error.lineno}, column {error.colno})."
            " Send one JSON object, in braces."
        ) from None


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


def dumped(body: Any) -> bytes:
    """Return JSON in which no reader of lines finds an end of one.

    U+2028, U+2029 and U+0085 end no line of an event stream, but many a library takes them to.
    """
    return _LINE_ENDS.sub(lambda found: _ESCAPED[found[0]], orjson.dumps(body))


def moment(at: datetime) -> str:
    """Return a time as the wire writes it (RFC 3339, UTC, milliseconds)."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
