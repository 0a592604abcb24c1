"""What may be asked of the models of pictures and films, as JSON Schema, by the surface that sells
them.
"""

from collections.abc import Collection
from typing import Any, Final

from app.trade.inputs import LEAST_SIDE, RATIOS, Schema
from app.trade.tiers import TIERED

MOST_PROMPT: Final = 4_000
MOST_SEED: Final = 2**31 - 1
MOST_SIDE: Final = 2_048
MOST_TIERED: Final = max(
    tier.most_side for tiered in TIERED.values() for tier in tiered.tiers.values()
)


def _text(description: str, most: int = MOST_PROMPT, least: int = 0, **more: Any) -> Schema:
    lengths = {"maxLength": most} | ({"minLength": least} if least else {})
    return {"type": "string", "description": description} | lengths | more


def _whole(description: str, least: int, most: int, **more: Any) -> Schema:
    bounds = {"minimum": least, "maximum": most}
    return {"type": "integer", "description": description} | bounds | more


def _one_of(description: str, choices: Collection[Any], default: Any) -> Schema:
    kind = "integer" if isinstance(default, int) else "string"
    return {"type": kind, "description": description, "enum": list(choices), "default": default}


def _object(required: Collection[str], **fields: Schema) -> Schema:
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }


_PROMPT: Final = _text("What is to be seen.", least=1)
_FINER: Final = {
    "negative_prompt": _text("What must not be seen."),
    "steps": _whole("How many passes; more are finer.", 1, 50),
    "seed": _whole("The same seed makes the same picture again.", 0, MOST_SEED),
}
BULK_IMAGE_INPUTS: Final = _object(
    ("prompt",),
    prompt=_PROMPT,
    width=_whole("Width in pixels.", 256, MOST_SIDE, default=1_024),
    height=_whole("Height in pixels.", 256, MOST_SIDE, default=1_024),
    params={
        "type": "object",
        "description": "Handed on to who makes it; these are known, others are ignored.",
        "properties": _FINER,
    },
)
BULK_VIDEO_INPUTS: Final = _object(
    ("prompt",),
    prompt=_PROMPT,
    duration=_one_of("Length in seconds.", (5, 10, 15), 5),
    resolution=_one_of("The shorter side.", ("480p", "720p"), "720p"),
    aspect_ratio=_one_of("Width to height.", RATIOS, "16:9"),
)
ONE_IMAGE_INPUTS: Final = _object(
    ("prompt",),
    prompt=_PROMPT,
    aspect_ratio=_one_of("Width to height.", RATIOS, "1:1"),
    resolution=_one_of("The longer side.", ("1k", "2k"), "1k"),
)
ONE_VIDEO_INPUTS: Final = _object(
    ("prompt", "mode"),
    prompt=_PROMPT,
    mode={"type": "string", "description": "Text to video.", "enum": ["t2v"]},
    aspect_ratio=_one_of(
        "Width to height.", ("landscape", "portrait", "square", *RATIOS), "landscape"
    ),
    resolution=_one_of("The shorter side.", ("480p", "720p"), "720p"),
    duration=_one_of("Length in seconds.", (5,), 5),
)

TIERED_INPUTS: Final = _object(
    ("prompt",),
    prompt=_PROMPT,
    negative_prompt=_text("What must not be seen."),
    width=_whole("Width in pixels.", LEAST_SIDE, MOST_TIERED, default=MOST_TIERED),
    height=_whole("Height in pixels.", LEAST_SIDE, MOST_TIERED, default=MOST_TIERED),
    steps=_whole("How many passes; more are finer.", 1, 50),
    seed=_whole("The same seed makes the same picture again.", 0, MOST_SEED),
)
