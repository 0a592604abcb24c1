"""What may be asked of an offering, read by its own JSON Schema, and what an executor gets of it.

The schema that strangers read is the one that judges: a limit stands in one place. Only the words
of JSON Schema that offerings use are known here; a test holds each offering to them.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from app.plain_text import odd_in
from app.ports import Wanted
from app.strict_json import BadInput

Schema = Mapping[str, Any]

KNOWN: Final = frozenset(
    ("type", "title", "description", "default", "enum", "minimum", "maximum", "minLength",
     "maxLength", "items", "minItems", "maxItems", "properties", "required",
     "additionalProperties", "x-order", "x-ui")
)  # fmt: skip
WIDGETS: Final = ("text", "textarea", "number", "range", "select", "checkbox", "color", "seed",
                  "image", "images")  # how a form may draw a field: `x-ui` names one  # fmt: skip
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_SIDES: Final = {"480p": 480, "720p": 720, "1k": 1_024, "2k": 2_048}
_SHAPES: Final = {"landscape": "16:9", "portrait": "9:16", "square": "1:1"}
LEAST_SIDE: Final = 256
RATIOS: Final = ("16:9", "4:3", "3:2", "1:1", "2:3", "3:4", "9:16")


def with_defaults(
    schema: Schema, asked: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return one item's inputs: its own fields, those of its batch, and those of the offering.

    Raises BadInput with a sentence that names the field.
    """
    given = {**(defaults or {}), **asked}
    fields: Mapping[str, Schema] = schema["properties"]
    if not schema.get("additionalProperties", True):
        for name in given:
            if name not in fields:
                known = ", ".join(fields)
                raise BadInput(f"The field '{name[:40]}' isn't known here. Known are: {known}.")
    out: dict[str, Any] = {}
    for name, rule in fields.items():
        if name in given:
            out[name] = _judged(name, rule, given[name])
        elif name in schema.get("required", ()):
            raise BadInput(f"The field '{name}' is missing.")
        elif "default" in rule:
            out[name] = rule["default"]
    return out


def _judged(name: str, rule: Schema, value: Any) -> Any:
    """Return a value that keeps its rule. True is no number, and 1.0 no whole one."""
    kind = rule["type"]
    if type(value) not in _TYPES[kind] or (isinstance(value, float) and not isfinite(value)):
        article = "an" if kind in ("integer", "object", "array") else "a"
        raise BadInput(f"The field '{name}' must be {article} {kind}.")
    if "enum" in rule and value not in rule["enum"]:
        choices = ", ".join(str(choice) for choice in rule["enum"])
        raise BadInput(f"The field '{name}' must be one of: {choices}.")
    counts = kind in ("integer", "number")
    if counts and not rule.get("minimum", value) <= value <= rule.get("maximum", value):
        raise BadInput(f"The field '{name}' must be {rule['minimum']} to {rule['maximum']}.")
    if isinstance(value, str):
        if len(value.strip()) < rule.get("minLength", 0):
            raise BadInput(f"The field '{name}' is empty.")
        odd = odd_in(value)
        if odd:
            raise BadInput(
                f"The field '{name}' holds the character {odd}, which is not text. Take it out."
            )
        if len(value) > rule.get("maxLength", len(value)):
            raise BadInput(f"The field '{name}' is longer than {rule['maxLength']} characters.")
    if isinstance(value, list):
        return _list(name, rule, value)
    if isinstance(value, dict):
        return with_defaults({"properties": {}, **rule}, value)
    return value


def _list(name: str, rule: Schema, given: list[Any]) -> list[Any]:
    least, most = rule["minItems"], rule["maxItems"]
    if not least <= len(given) <= most:
        raise BadInput(f"The field '{name}' must have {least} to {most} items.")
    return [_judged(f"{name}[{place}]", rule["items"], each) for place, each in enumerate(given)]


def pictures_in(schema: Schema) -> list[str]:
    """Return the names of the fields that hold pictures."""
    fields: Mapping[str, Schema] = schema["properties"]
    return [name for name, rule in fields.items() if widget_of(rule) in ("image", "images")]


def widget_of(rule: Schema) -> str:
    """Return how a field is drawn."""
    return str(rule.get("x-ui", {}).get("widget", "text"))


def wanted(model: str, inputs: Mapping[str, Any], seed: int) -> Wanted:
    """Return what an executor is asked for an item whose inputs were judged.

    `seed` is used where the buyer has given none.
    """
    params = inputs.get("params", {})
    width, height = _size(inputs)
    return Wanted(
        model,
        inputs["prompt"],
        width,
        height,
        negative_prompt=inputs.get("negative_prompt", params.get("negative_prompt", "")),
        steps=inputs.get("steps", params.get("steps", 0)),
        seed=inputs.get("seed", params.get("seed", seed)),
        duration_ms=inputs.get("duration", 0) * 1_000,
    )


def film_of(width: int, height: int) -> tuple[str | None, str | None]:
    """Return the resolution and the shape that a film of this size was asked for by."""
    return _FILMS.get((width, height), (None, None))


def _size(inputs: Mapping[str, Any]) -> tuple[int, int]:
    """Return width and height: as they are given, or by a resolution and a shape."""
    if "width" in inputs:
        return inputs["width"], inputs["height"]
    named = inputs["resolution"]
    shape = _SHAPES.get(inputs["aspect_ratio"], inputs["aspect_ratio"])
    across, down = (int(part) for part in shape.split(":"))
    side = _SIDES[named]
    if named.endswith("p"):  # the shorter side, as of films
        long = side * max(across, down) // min(across, down)
        sides = (long, side) if across >= down else (side, long)
    else:  # the longer one
        short = max(LEAST_SIDE, side * min(across, down) // max(across, down))
        sides = (side, short) if across >= down else (short, side)
    return sides[0] - sides[0] % 2, sides[1] - sides[1] % 2


_FILMS: Final = {
    _size({"resolution": resolution, "aspect_ratio": ratio}): (resolution, ratio)
    for resolution in ("480p", "720p")
    for ratio in RATIOS
}
