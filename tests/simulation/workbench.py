"""What is offered in a world: pictures that anybody makes, tools that makers have here, and spells
of those: what a step costs, and what it is made from.
"""

from math import ceil
from random import Random
from typing import Any

from app.trade.catalogue import PAINTER, Catalogue, Kind, Offering, Surface
from app.trade.spell_document import Document, read
from pricing.money import MicroUsd

MAKER = "workbench"
# In which lanes items wait that workers of the network make too, and what part of it they are paid.
PAYS_PCT = {"scene-1/standard": 70, "scene-1/fast": 55, "film-1/standard": 33}
COSTS_MICROUSD = {"sketch": 4_000, "tint": 700, "frame": 39_999}
PCTS = (0, 10, 30, 30)
_PICTURE = {"type": "string", "x-ui": {"widget": "image"}}
_PROMPT = {"type": "string", "maxLength": 200}
# By step: its tool, and the step that it is made from.
SHAPES: tuple[tuple[tuple[str, int | None], ...], ...] = (
    (("sketch", None),),
    (("sketch", None), ("tint", 1), ("frame", 2)),
    (("sketch", None), ("sketch", None), ("frame", 1), ("tint", 2), ("tint", 3)),
)


def _tool(name: str) -> Offering:
    of_picture = {} if name == "sketch" else {"image": _PICTURE}
    schema = {
        "type": "object",
        "properties": {"prompt": _PROMPT, **of_picture},
        "required": ["prompt", *of_picture],
        "additionalProperties": False,
    }
    return Offering(
        name,
        name,
        Kind.TOOL,
        f"{name}.",
        {Surface.TOOLS: schema},
        item_microusd=MicroUsd(COSTS_MICROUSD[name]),
        makers=(MAKER,),
        outputs=("image",),
    )


def _picture(name: str) -> Offering:
    # By its kind a film: of a picture the house would compose a canary where nobody has asked for
    # any of late, and of a size that the press of a world makes none of.
    pct = PAYS_PCT[name]
    return Offering(name, name, Kind.VIDEO, f"{name}.", {}, makers=(PAINTER,), worker_share_pct=pct)


def catalogue() -> Catalogue:
    """Return what is offered here."""
    known = [_tool(name) for name in COSTS_MICROUSD] + [_picture(name) for name in PAYS_PCT]
    return Catalogue((MAKER, PAINTER), development=False, known=known)


def spell(slug: str, dice: Random) -> Document:
    """Return what an author publishes."""
    steps: list[dict[str, Any]] = []
    for number, (tool, needs) in enumerate(dice.choice(SHAPES), start=1):
        inputs: dict[str, Any] = {"prompt": f"{{{{parameters.tag}}}} {number}"}
        if needs is not None:
            inputs["image"] = {"$from": f"#/steps/{needs}/outputs/0"}
        steps.append({"id": number, "tool": tool, "inputs": inputs})
    return read(
        {
            "slug": slug,
            "name": slug,
            "author_share_pct": dice.choice(PCTS),
            "parameters": {"tag": {"type": "string", "maxLength": 60}},
            "steps": steps,
        }
    )


def costs(document: dict[str, Any], has_author: bool) -> tuple[int, ...]:
    """Return what each step of a cast costs, its author's share with it, in micro-USD."""
    pct = document["author_share_pct"] if has_author else 0
    return tuple(
        ceil(COSTS_MICROUSD[step["tool"]] * (100 + pct) / 100) for step in document["steps"]
    )


def words(asked: dict[str, Any]) -> str:
    """Return the words of an item, whichever surface it was ordered on."""
    return str(asked["inputs"]["prompt"] if "inputs" in asked else asked["prompt"])
