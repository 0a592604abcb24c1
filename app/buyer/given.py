"""What somebody types for a tool or a spell: NAME=VALUE, each read as the rule of its field says.

NAME=@FILE is what a file of one's own holds: it is read because its name was typed, whatever a
server says. NAME:=JSON is a value as JSON has it. The server judges all of it once more.
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.plain_text import one_line

MOST_PICTURE_BYTES = 4 * 1024 * 1024
MOST_TEXT_BYTES = 262_144
PICTURES = {"png": (0, b"\x89PNG\r\n\x1a\n"), "jpeg": (0, b"\xff\xd8\xff"), "webp": (8, b"WEBP")}
_YES_OR_NO = {"true": True, "yes": True, "false": False, "no": False}


class BadGiven(ValueError):
    """What was typed can't be used. The message names the field."""


def given(words: Sequence[str], rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs that were typed. Raises BadGiven."""
    inputs: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        is_json, name = name.endswith(":"), name.removesuffix(":")
        if not equals:
            raise BadGiven(f"{one_line(word, 60)!r} is not NAME=VALUE.")
        if name not in rules:
            known = ", ".join(one_line(each, 60) for each in rules) or "none"
            raise BadGiven(f"There is no input {one_line(name, 60)!r}. There are: {known}.")
        rule = rules[name]
        if is_json:
            read = _json(name, value)
        elif rule.get("type") == "array":
            item = rule.get("items")
            one = item if isinstance(item, Mapping) else {}
            inputs.setdefault(name, []).append(_one(name, one, value, _is_picture(rule)))
            continue
        else:
            read = _one(name, rule, value, _is_picture(rule))
        if name in inputs:
            raise BadGiven(f"The input {name!r} is given twice.")
        inputs[name] = read
    return inputs


def _one(name: str, rule: Mapping[str, Any], value: str, is_picture: bool) -> Any:
    """Return one value, of the type that its rule names."""
    if value.startswith("@"):
        return _file(name, Path(value[1:]), is_picture)
    try:
        match rule.get("type"):
            case "integer":
                return int(value)
            case "number":
                return _finite(float(value))
            case "boolean":
                return _YES_OR_NO[value.lower()]
            case "object":
                return _json(name, value)
    except (ValueError, KeyError) as wrong:
        if isinstance(wrong, BadGiven):
            raise
        kinds = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}
        raise BadGiven(f"The input {name!r} must be {kinds[rule['type']]}.") from wrong
    return value


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _json(name: str, value: str) -> Any:
    try:
        return json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError) as wrong:
        raise BadGiven(f"The input {name!r} is no JSON.") from wrong


def _file(name: str, path: Path, is_picture: bool) -> str:
    """Return what a file holds: a picture as a `data:` URI, anything else as text."""
    most = MOST_PICTURE_BYTES if is_picture else MOST_TEXT_BYTES
    try:
        with path.open("rb") as file:
            held = file.read(most + 1)
    except OSError as error:
        raise BadGiven(f"{path} can't be read: {error.strerror}.") from error
    if len(held) > most:
        raise BadGiven(f"{path} is longer than {most >> 10} KiB.")
    if not is_picture:
        try:
            return held.decode()
        except UnicodeDecodeError as wrong:
            raise BadGiven(f"{path} is no text in UTF-8.") from wrong
    for kind, (at, begins) in PICTURES.items():
        if held[at:].startswith(begins):
            return f"data:image/{kind};base64,{base64.b64encode(held).decode()}"
    raise BadGiven(f"{path} is no PNG, JPEG or WebP picture.")


def _is_picture(rule: Mapping[str, Any]) -> bool:
    hint = rule.get("x-ui")
    return isinstance(hint, Mapping) and hint.get("widget") in ("image", "images")
