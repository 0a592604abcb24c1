"""The payloads that every reader of JSON writes back as it read them, byte for byte.

Receivers check a signature by parsing the body and writing it again: JavaScript's JSON.stringify,
Python's json.dumps with separators (",", ":"). Both must come to the bytes that were signed. They
differ in text that is not ASCII, in DEL, in large and small numbers, and in keys that look like
places of an array: JavaScript puts those first. And what can be written in two ways (a control
character, or more digits than a number has) would let a changed byte pass. So none of these is
ever sent.
"""

import json
import re
from decimal import Decimal
from typing import Any, Final

MOST_BYTES: Final = 64_000  # of a body; a common limit of receivers is 100 kB
MOST: Final = 2**53 - 1  # the largest integer that JavaScript keeps
ENCODING: Final = "encoding"
ESCAPED: Final = "json-escaped"
CUT: Final = "truncated"

_OTHER = re.compile(r"[^ -~\b\t\n\f\r]")  # these five have an escape of two letters
_PLACE = re.compile(r"0|[1-9][0-9]*")
_DIGITS: Final = 15  # of a number that has a fraction: another last digit is another number
_LEAST: Final = 1e-4  # below it Python writes 1e-05, and JavaScript 0.00001
_SHORT: Final = 200  # characters of a text that is never cut


def sendable(payload: dict[str, Any]) -> dict[str, Any]:
    """Return a payload as it can be sent: the same where it can be, and no larger than a body may.

    Where a text holds more than printable ASCII and line ends, all texts are written as JSON
    itself escapes them, and `encoding` says so: `json.loads('"' + text + '"')` brings them back.
    Where it was too much, texts and lists are cut at their ends, and `truncated` says so.
    """
    safe = _encoded(payload)
    while len(written(safe)) > MOST_BYTES:
        payload = {**_cut(payload), CUT: True}
        safe = _encoded(payload)
    return safe


def written(payload: dict[str, Any]) -> bytes:
    """Return the bytes of a payload, as both kinds of receivers write it."""
    return json.dumps(payload, separators=(",", ":")).encode("ascii")


def is_sendable(payload: Any) -> bool:
    """Say whether this is its own sendable form, but for its size."""
    return written({"_": _safe(payload, False)}) == written({"_": payload})


def _encoded(payload: dict[str, Any]) -> dict[str, Any]:
    escapes = _has_other_text(payload)
    safe: dict[str, Any] = _safe(payload, escapes)
    return {**safe, ENCODING: ESCAPED} if escapes else safe


def _has_other_text(value: Any) -> bool:
    match value:
        case dict():
            return any(_is_other(str(key)) or _has_other_text(v) for key, v in value.items())
        case list() | tuple():
            return any(map(_has_other_text, value))
        case str():
            return _is_other(value)
        case _:
            return False


def _is_other(text: str) -> bool:
    return _OTHER.search(text) is not None


def _safe(value: Any, escapes: bool) -> Any:
    match value:
        case dict():
            return _safe_fields(value, escapes)
        case list() | tuple():
            return [_safe(each, escapes) for each in value]
        case str():
            return _text(value) if escapes else value
        case bool() | None:
            return value
        case int():
            return value if abs(value) <= MOST else str(value)
        case float():
            return _number(value)
        case _:
            raise TypeError(f"a {type(value).__name__} can't be sent to a receiver")


def _safe_fields(fields: dict[str, Any], escapes: bool) -> dict[str, Any]:
    safe: dict[str, Any] = {}
    for name, each in fields.items():
        key = _text(str(name)) if escapes else str(name)
        while _PLACE.fullmatch(key) or key in safe or (key != name and key in fields):
            key = f"_{key}"
        safe[key] = _safe(each, escapes)
    return safe


def _text(text: str) -> str:
    """Return a text in ASCII, as JSON itself escapes it."""
    return json.dumps(text)[1:-1].replace("\x7f", "\\u007f")


def _number(number: float) -> Any:
    if number != number or number in (float("inf"), float("-inf")):
        return None
    if number == int(number):
        return _safe(int(number), False)  # 1.0 is 1 in JavaScript, and 1e16 too large
    number = float(f"{number:.{_DIGITS}g}")
    if number == int(number):
        return int(number)
    return number if abs(number) >= _LEAST else format(Decimal(repr(number)), "f")


def _cut(payload: dict[str, Any]) -> dict[str, Any]:
    """Return a payload whose longest text is half as long; with none, its longest list."""
    longest = max(_texts(payload), key=len, default="")
    if len(longest) > _SHORT:
        cut: dict[str, Any] = _replaced(payload, longest, longest[: len(longest) // 2])
        return cut
    largest: list[Any] = max(_lists(payload), key=len, default=[])
    if len(largest) < 2:
        return {**payload, max(payload, key=lambda key: len(written({key: payload[key]}))): None}
    shorter: dict[str, Any] = _replaced(payload, largest, largest[: len(largest) // 2])
    return shorter


def _texts(value: Any) -> list[str]:
    match value:
        case dict():
            return [text for each in value.values() for text in _texts(each)]
        case list() | tuple():
            return [text for each in value for text in _texts(each)]
        case str():
            return [value]
        case _:
            return []


def _lists(value: Any) -> list[Any]:
    match value:
        case dict():
            return [found for each in value.values() for found in _lists(each)]
        case list() | tuple():
            return [value, *(found for each in value for found in _lists(each))]
        case _:
            return []


def _replaced(value: Any, old: Any, new: Any) -> Any:
    if type(value) is type(old) and value == old:
        return new
    match value:
        case dict():
            return {key: _replaced(each, old, new) for key, each in value.items()}
        case list() | tuple():
            return [_replaced(each, old, new) for each in value]
        case _:
            return value
