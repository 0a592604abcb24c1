"""What a server answers of tools and their runs, checked strictly before it is used."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Required, TypedDict, cast

from app.buyer import answer_fields as fields
from app.buyer.answer_fields import Unreadable, is_id

MOST_OUTPUTS = 16  # of one run
_ARTIFACT = re.compile("artifact:([0-9a-f]{32})")
_MANY = {"image": "images", "video": "videos"}


class Tool(TypedDict, total=False):
    """A tool, with what a run of it costs at most."""

    toolId: Required[str]
    name: Required[str]
    description: Required[str]
    mostUsd: Required[float]
    mostSats: int  # absent where there is no bitcoin price just now
    outputs: Required[list[str]]
    madeBy: Required[str]
    standsIn: Required[bool]
    open: Required[bool]
    typicalRuntimeMs: Required[int]
    inputs: dict[str, Any]  # the rule of each, where the tool was asked for alone
    required: list[str]


class Output(TypedDict, total=False):
    """One thing that a run has made: a file, a text, or values."""

    type: Required[str]
    artifact: str
    mediaType: str
    sha256: str
    text: str
    values: Any


class Run(TypedDict, total=False):
    """A run as it stands; `outputs` once it is completed, `error` where it failed."""

    generationId: Required[str]
    status: Required[str]
    outputs: Required[list[Output]]
    error: str


def tool(parsed: Any) -> Tool:
    """Return a tool."""
    fields.read("the tool", parsed, _TOOL, {"inputSchema": fields.mapping})
    costing, about = parsed["costingModel"], parsed["metadata"]
    fields.read("the price", costing, {"mostUsd": fields.dollars}, {"mostSats": fields.whole})
    fields.read("the tool", about, _ABOUT)
    told = {
        "toolId": parsed["toolId"],
        "name": parsed["displayName"],
        "description": parsed["description"],
        **{name: costing[name] for name in ("mostUsd", "mostSats") if name in costing},
        **{name: about[name] for name in _ABOUT},
    }
    if "inputSchema" in parsed:
        told |= rules("the inputs", parsed["inputSchema"])
    return cast(Tool, told)


def rules(what: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rule of each field of a JSON Schema, in their order, and which are required."""
    fields.read(what, schema, {"properties": fields.mapping}, {"required": fields.texts})
    for rule in schema["properties"].values():
        fields.read(what, rule, {}, {"type": fields.word})
    ordered = sorted(schema["properties"].items(), key=lambda each: _place(each[1]))
    return {"inputs": dict(ordered), "required": list(schema.get("required", ()))}


def _place(rule: Mapping[str, Any]) -> int:
    place = rule.get("x-order")
    return place if type(place) is int else 0


def tools(parsed: Sequence[Any]) -> list[Tool]:
    """Return all tools that are listed."""
    return [tool(each) for each in parsed]


def accepted(parsed: Mapping[str, Any]) -> str:
    """Return the id of a run that was paid for."""
    fields.read("the run", parsed, {"generationId": fields.id_})
    return str(parsed["generationId"])


def runs(parsed: Mapping[str, Any], asked: Sequence[str]) -> list[Run]:
    """Return runs as they stand, which are those that were asked for, in this order."""
    fields.read("the answer", parsed, {"generations": fields.list_})
    told = [_run(each) for each in parsed["generations"]]
    if [each["generationId"] for each in told] != list(asked):
        raise Unreadable("it answers with other runs than those it was asked for")
    return told


def _run(parsed: Any) -> Run:
    fields.read("the run", parsed, {"generationId": fields.id_, "status": fields.word}, _RUN_MAY)
    told: dict[str, Any] = {name: parsed[name] for name in ("generationId", "status")}
    if "error" in parsed:
        fields.read("the error", parsed["error"], {"message": fields.text})
        told["error"] = parsed["error"]["message"]
    outputs = [one for each in parsed.get("outputs", ()) for one in _outputs(each)]
    if len(outputs) > MOST_OUTPUTS:
        raise Unreadable("a run has made more than a run can")
    return cast(Run, {**told, "outputs": outputs})


def _outputs(parsed: Any) -> list[Output]:
    """Return what an output holds; its files by their names, whatever address stands beside."""
    fields.read("the output", parsed, {"type": fields.word, "data": fields.mapping})
    kind, data = parsed["type"], parsed["data"]
    if kind == "text":
        fields.read("the output", data, {"text": fields.texts})
        return [Output(type=kind, text=each) for each in data["text"]]
    if kind == "values":
        return [Output(type=kind, values=data.get("values"))]
    many = _MANY.get(kind)
    if many is None:
        raise Unreadable("a run has made something of a kind that is not known here")
    fields.read("the output", data, {many: fields.list_})
    return [_file(kind, each) for each in data[many]]


def _file(kind: str, parsed: Any) -> Output:
    fields.read("the file", parsed, dict.fromkeys(("artifact", "mediaType", "sha256"), fields.text))
    named = _ARTIFACT.fullmatch(parsed["artifact"])
    if named is None or not is_id(named[1]):
        raise Unreadable("a file has no name that is one")
    about = {"mediaType": parsed["mediaType"], "sha256": parsed["sha256"]}
    return cast(Output, {"type": kind, "artifact": named[1], **about})


_TOOL: dict[str, fields.Check] = {
    "toolId": fields.text,
    "displayName": fields.text,
    "description": fields.text,
    "costingModel": fields.mapping,
    "metadata": fields.mapping,
}
_ABOUT: dict[str, fields.Check] = {
    "outputs": fields.texts,
    "madeBy": fields.text,
    "standsIn": fields.yes_or_no,
    "open": fields.yes_or_no,
    "typicalRuntimeMs": fields.whole,
}
_RUN_MAY: dict[str, fields.Check] = {"outputs": fields.list_, "error": fields.mapping}
