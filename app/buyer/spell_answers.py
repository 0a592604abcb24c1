"""What a server answers of spells and casts, checked strictly before it is used."""

from collections.abc import Mapping, Sequence
from typing import Any, Required, TypedDict, cast

from app.buyer import answer_fields as fields
from app.buyer.answer_fields import Unreadable
from app.buyer.tool_answers import rules

MOST_STEPS = 20  # of a spell
MOST_PARTS = 1_000  # of a cast: itself, and how often it was resumed


class Card(TypedDict):
    """A spell as the marketplace lists it."""

    slug: str
    name: str
    description: str
    author: str
    uses: int
    tags: list[str]


class Spell(TypedDict, total=False):
    """A spell, step by step; `inputs` are its parameters, each with its rule."""

    slug: Required[str]
    name: Required[str]
    description: Required[str]
    version: Required[int]
    authorSharePct: Required[int]
    castable: Required[bool]
    broken: str
    steps: Required[list[dict[str, Any]]]
    inputs: Required[dict[str, Any]]


class Quote(TypedDict):
    """What a cast costs: each step, the author's share, and their sum, in sats."""

    totalSats: int
    totalRuntimeMs: int
    totalCostUsd: float
    authorSats: int
    steps: list[dict[str, Any]]  # stepId, toolId, sats, runtimeMs


class Step(TypedDict, total=False):
    """One step of a cast, as it was ordered last."""

    stepId: Required[int]
    toolId: Required[str]
    generationId: Required[str]
    status: Required[str]
    error: str


class CastShown(TypedDict, total=False):
    """A cast as it stands."""

    castId: Required[str]
    slug: Required[str]
    status: Required[str]
    steps: Required[list[Step]]
    batchIds: Required[list[str]]  # the parts of it that were ordered, the oldest first
    resumable: Required[bool]
    parameters: Required[dict[str, Any]]
    chargedSats: int


def cards(parsed: Sequence[Any]) -> list[Card]:
    """Return the spells that are listed."""
    for each in parsed:
        fields.read("the spell", each, _CARD)
    return [cast(Card, {name: each[name] for name in _CARD}) for each in parsed]


def spell(parsed: Mapping[str, Any]) -> Spell:
    """Return a spell."""
    fields.read("the spell", parsed, _SPELL, {"broken": fields.text})
    for step in parsed["steps"]:
        fields.read("the step", step, {"stepId": fields.whole, "toolId": fields.text})
    told = {name: parsed[name] for name in (*_SPELL, "broken") if name in parsed}
    told |= rules("the parameters", {"properties": told.pop("parameters")})
    told["steps"] = [
        {"stepId": step["stepId"], "toolId": step["toolId"]} for step in parsed["steps"]
    ]
    return cast(Spell, told)


def quote(parsed: Mapping[str, Any]) -> Quote:
    """Return what a cast costs. The total is the sum of its parts."""
    fields.read("the quote", parsed, _QUOTE)
    for step in parsed["stepBreakdown"]:
        fields.read("the quote", step, _QUOTED)
    total, author = parsed["totalCostPts"], parsed["authorSharePts"]
    if total != author + sum(step["estimatedCostPts"] for step in parsed["stepBreakdown"]):
        raise Unreadable("its quote does not add up")
    return {
        "totalSats": total,
        "totalRuntimeMs": parsed["totalRuntimeMs"],
        "totalCostUsd": parsed["totalCostUsd"],
        "authorSats": author,
        "steps": [
            {
                "stepId": step["stepId"],
                "toolId": step["toolId"],
                "sats": step["estimatedCostPts"],
                "runtimeMs": step["estimatedRuntimeMs"],
            }
            for step in parsed["stepBreakdown"]
        ],
    }


def begun(parsed: Mapping[str, Any]) -> str:
    """Return the id of a cast that was paid for."""
    fields.read("the cast", parsed, {"castId": fields.id_, "status": fields.word})
    return str(parsed["castId"])


def cast_(parsed: Mapping[str, Any], cast_id: str) -> CastShown:
    """Return a cast as it stands, which is the one that was asked for."""
    fields.read("the cast", parsed, _CAST, {"chargedSats": fields.whole})
    if parsed["castId"] != cast_id:
        raise Unreadable("it answers with another cast than the one it was asked for")
    for step in parsed["steps"]:
        fields.read("the step", step, _STEP, {"error": fields.text})
    numbers = [step["stepId"] for step in parsed["steps"]]
    if not 1 <= len(numbers) <= MOST_STEPS or len({*numbers}) < len(numbers):
        raise Unreadable("a cast has no steps, too many, or one of them twice")
    if not 0 < max(numbers) <= MOST_STEPS:
        raise Unreadable("a step of a cast has no number that a step can have")
    parts = parsed["batchIds"]
    if not 1 <= len(parts) <= MOST_PARTS:
        raise Unreadable("it does not say of which parts a cast is")
    for part in parts:
        fields.id_("batchIds", part)
    names = (*_CAST, "chargedSats")
    return cast(CastShown, {name: parsed[name] for name in names if name in parsed})


_CARD: dict[str, fields.Check] = {
    "slug": fields.text,
    "name": fields.text,
    "description": fields.text,
    "author": fields.text,
    "uses": fields.whole,
    "tags": fields.texts,
}
_SPELL: dict[str, fields.Check] = {
    "slug": fields.text,
    "name": fields.text,
    "description": fields.text,
    "version": fields.whole,
    "authorSharePct": fields.whole,
    "castable": fields.yes_or_no,
    "steps": fields.list_,
    "parameters": fields.mapping,
}
_QUOTE: dict[str, fields.Check] = {
    "totalCostPts": fields.whole,
    "totalRuntimeMs": fields.whole,
    "totalCostUsd": fields.dollars,
    "authorSharePts": fields.whole,
    "stepBreakdown": fields.list_,
}
_QUOTED: dict[str, fields.Check] = {
    "stepId": fields.whole,
    "toolId": fields.text,
    "estimatedCostPts": fields.whole,
    "estimatedRuntimeMs": fields.whole,
}
_CAST: dict[str, fields.Check] = {
    "castId": fields.id_,
    "slug": fields.text,
    "status": fields.word,
    "steps": fields.list_,
    "batchIds": fields.list_,
    "resumable": fields.yes_or_no,
    "parameters": fields.mapping,
}
_STEP: dict[str, fields.Check] = {
    "stepId": fields.whole,
    "toolId": fields.text,
    "generationId": fields.id_,
    "status": fields.word,
}
