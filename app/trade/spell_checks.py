"""What a spell's references mean: each to a parameter, or to an output of an earlier step.

A whole value is `{"$from": "#/steps/1/outputs/0"}` or, the same, a text that is nothing but
`{{steps.1.outputs.0}}`. Inside a text `{{…}}` is put in once. There are no expressions.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.strict_json import BadInput
from app.trade.inputs import Schema, with_defaults
from app.trade.spell_document import BadSpell, Document, Step, check_value, pointer
from statemachine import filling

_FROM: Final = re.compile(
    r"#/(?:parameters/(?P<name>[a-z][a-z0-9_]{0,39})"
    r"|steps/(?P<step>[1-9][0-9]?)/outputs/(?P<output>0|[1-9]))"
)
_BRACES: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_INNER: Final = re.compile(
    r"\s*(?:parameters\.(?P<name>[a-z][a-z0-9_]{0,39})"
    r"|steps\.(?P<step>[1-9][0-9]?)\.outputs\.(?P<output>0|[1-9]))\s*"
)
_NAMED: Final = re.compile(r"#/steps/([0-9]+)/|\{\{\s*steps\.([0-9]+)\.")
NO_REFERENCE: Final = (
    "Between {{ and }} only steps.N.outputs.M or parameters.NAME can stand; nothing is computed."
)
UNSET: Final = object()  # a parameter that whoever casts must give


@dataclass(frozen=True, slots=True)
class Tool:
    """What a spell has to know of a tool."""

    inputs: Schema
    outputs: tuple[str, ...]  # the kind of each
    version: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """A step as it is ordered: its inputs are a template of app/statemachine's filling."""

    id: int
    tool: str
    inputs: dict[str, Any]

    @property
    def needs(self) -> set[int]:
        """The steps that must be made before it."""
        return filling.needs(self.inputs)


@dataclass(frozen=True, slots=True)
class _Param:
    name: str


@dataclass(frozen=True, slots=True)
class _Output:
    step: int
    output: int


_Ref = _Param | _Output
_PENDING: Final = object()  # nobody knows yet what stands here


def kind_of(rule: Schema) -> str:
    """Return what an input takes, or a parameter gives: a kind of file, or text, or its type."""
    hint = rule.get("x-ui")
    widget = hint.get("widget") if isinstance(hint, Mapping) else None
    if widget in ("image", "images", "mask"):
        return "image"
    return "text" if rule.get("type") == "string" else str(rule.get("type", "text"))


def check(document: Document, tools: Mapping[str, Tool]) -> dict[str, str]:
    """Hold a document to its tools; return the version of each, which is pinned.

    A value that only a caster gives is held to its type here, and to all else when it is cast.
    Raises BadSpell.
    """
    values = {name: rule.get("default", UNSET) for name, rule in document.parameters.items()}
    _compile(document, tools, values)
    return {step.tool: tools[step.tool].version for step in document.steps}


def compiled(
    document: Document, tools: Mapping[str, Tool], given: Mapping[str, Any]
) -> tuple[list[Compiled], dict[str, Any]]:
    """Return the steps of a cast, with what its caster has given put in; and all parameters.

    Raises BadSpell: of a parameter with the pointer `/context/parameterOverrides/<name>`.
    """
    at = ("context", "parameterOverrides")
    for name in given:
        if name not in document.parameters:
            known = ", ".join(document.parameters) or "none"
            raise BadSpell(pointer(*at, name[:60]), f"The spell has no such parameter: {known}.")
    values: dict[str, Any] = {}
    for name, rule in document.parameters.items():
        value = given.get(name, rule.get("default", UNSET))
        if value is UNSET:
            raise BadSpell(pointer(*at, name), "This parameter has no default: give it.")
        check_value(rule, value, pointer(*at, name))
        values[name] = value
    return _compile(document, tools, values), values


def _compile(
    document: Document, tools: Mapping[str, Tool], values: Mapping[str, Any]
) -> list[Compiled]:
    return [_Compiling(document, tools, values, step).step() for step in document.steps]


class _Compiling:
    """One step on its way to a template."""

    def __init__(
        self,
        document: Document,
        tools: Mapping[str, Tool],
        values: Mapping[str, Any],
        step: Step,
    ) -> None:
        self._document, self._tools, self._values = document, tools, values
        self._step, self._at = step, ("steps", step.id - 1)

    def step(self) -> Compiled:
        """Return it. Raises BadSpell."""
        tool = self._tools.get(self._step.tool)
        if tool is None:
            raise BadSpell(
                pointer(*self._at, "tool"),
                f"There is no tool {self._step.tool[:60]!r} here. GET /api/v1/tools lists them.",
            )
        rules: Mapping[str, Schema] = tool.inputs["properties"]
        for name in self._step.inputs:
            if name not in rules:
                raise BadSpell(
                    pointer(*self._at, "inputs", name[:60]),
                    f"The tool has no such input. It has: {', '.join(rules)}.",
                )
        told = {
            name: self._value(value, rules[name], (*self._at, "inputs", name))
            for name, value in self._step.inputs.items()
        }
        later = {name for name, value in told.items() if _is_later(value)}
        judged = self._judged(tool.inputs, told, later)
        kept = {name: told[name] for name in later if told[name] is not _PENDING}
        return Compiled(self._step.id, self._step.tool, judged | kept)

    def _judged(self, schema: Schema, told: Mapping[str, Any], later: set[str]) -> dict[str, Any]:
        """Return what is known of its inputs as its tool's own schema takes them."""
        known = {name: value for name, value in told.items() if name not in later}
        rules = {name: rule for name, rule in schema["properties"].items() if name not in later}
        needed = [name for name in schema.get("required", ()) if name not in later]
        narrowed = {**schema, "properties": rules, "required": needed}
        try:
            return with_defaults(narrowed, known)
        except BadInput as bad:
            raise BadSpell(pointer(*self._at, "inputs"), str(bad)) from None

    def _value(self, value: Any, rule: Schema, at: tuple[str | int, ...]) -> Any:
        if isinstance(value, dict):
            return self._object(value, rule, at)
        if isinstance(value, list):
            items = {**rule.get("items", {}), "x-ui": rule.get("x-ui")}
            found = [self._value(each, items, (*at, place)) for place, each in enumerate(value)]
            return _PENDING if any(each is _PENDING for each in found) else found
        if isinstance(value, str):
            return self._text(value, rule, at)
        return value

    def _object(self, value: dict[str, Any], rule: Schema, at: tuple[str | int, ...]) -> Any:
        if "$from" in value:
            found = _FROM.fullmatch(value["$from"]) if isinstance(value["$from"], str) else None
            if len(value) > 1 or found is None:
                raise BadSpell(
                    pointer(*at, "$from"),
                    "A reference is #/steps/N/outputs/M or #/parameters/NAME, and stands alone.",
                )
            return self._whole(_ref(found), rule, at)
        rules = rule.get("properties", {})
        out: dict[str, Any] = {}
        for name, each in value.items():
            if name.startswith("$"):
                raise BadSpell(pointer(*at, name[:60]), "No name of an input begins with $.")
            out[name] = self._value(each, rules.get(name, {}), (*at, name))
        return _PENDING if any(each is _PENDING for each in out.values()) else out

    def _text(self, value: str, rule: Schema, at: tuple[str | int, ...]) -> Any:
        pieces = self._pieces(value, at)
        if len(pieces) == 1 and not isinstance(pieces[0], str):
            return self._whole(pieces[0], rule, at)
        if all(isinstance(piece, str) for piece in pieces):
            return value
        if kind_of(rule) != "text" or "enum" in rule:
            raise BadSpell(pointer(*at), "Only a text can have {{…}} inside of it.")
        told: list[Any] = []
        for piece in pieces:
            put = piece if isinstance(piece, str) else self._inside(piece, at)
            if put is _PENDING:
                return _PENDING
            if isinstance(put, str) and told and isinstance(told[-1], str):
                told[-1] += put
            else:
                told.append(put)
        if len(told) == 1 and isinstance(told[0], str):
            return told[0]
        return filling.text(told, rule.get("maxLength"))

    def _pieces(self, value: str, at: tuple[str | int, ...]) -> list[str | _Ref]:
        """Return a text in pieces, in one pass: what is put in is never looked through again."""
        pieces: list[str | _Ref] = []
        for place, piece in enumerate(_BRACES.split(value)):
            if place % 2 == 0:
                if "{{" in piece or "}}" in piece:
                    raise BadSpell(pointer(*at), NO_REFERENCE)
                pieces += [piece] if piece else []
                continue
            found = _INNER.fullmatch(piece)
            if found is None:
                raise BadSpell(pointer(*at), NO_REFERENCE)
            pieces.append(_ref(found))
        return pieces

    def _inside(self, ref: _Ref, at: tuple[str | int, ...]) -> Any:
        """Return what a reference inside a text is there."""
        if isinstance(ref, _Output):
            if self._kind(ref, at) != "text":
                raise BadSpell(pointer(*at), f"Output {ref.output} of step {ref.step} is no text.")
            return (ref.step, ref.output)
        value = self._given(ref, at)
        if value is UNSET:
            return _PENDING
        return ("true" if value else "false") if isinstance(value, bool) else str(value)

    def _whole(self, ref: _Ref, rule: Schema, at: tuple[str | int, ...]) -> Any:
        """Return what a reference is that is all of a value."""
        is_list = rule.get("type") == "array"
        kind = kind_of(rule) if not is_list else "a list"
        found = self._kind(ref, at)
        if isinstance(ref, _Output):
            if found != kind or "enum" in rule:
                raise BadSpell(
                    pointer(*at),
                    f"Output {ref.output} of step {ref.step} is of kind {found}, and {kind} is"
                    " taken here.",
                )
            most = rule.get("maxLength") if kind == "text" else None
            return filling.reference(ref.step, ref.output, most)
        if found != kind and (found, kind) != ("integer", "number"):
            raise BadSpell(
                pointer(*at), f"The parameter {ref.name} is of kind {found}, and {kind} is taken."
            )
        value = self._given(ref, at)
        return _PENDING if value is UNSET else value

    def _given(self, ref: _Param, at: tuple[str | int, ...]) -> Any:
        if ref.name not in self._document.parameters:
            raise BadSpell(pointer(*at), f"The spell has no parameter {ref.name}.")
        return self._values[ref.name]

    def _kind(self, ref: _Ref, at: tuple[str | int, ...]) -> str:
        if isinstance(ref, _Param):
            self._given(ref, at)
            return kind_of(self._document.parameters[ref.name])
        if ref.step >= self._step.id:
            raise BadSpell(
                pointer(*at),
                f"Step {self._step.id} can refer to steps before it, and step {ref.step} is none.",
            )
        made = self._tools[self._document.steps[ref.step - 1].tool].outputs
        if ref.output >= len(made):
            raise BadSpell(
                pointer(*at), f"Step {ref.step} makes {len(made)} outputs, counted from 0."
            )
        return made[ref.output]


def _ref(found: "re.Match[str]") -> _Ref:
    if found["name"] is not None:
        return _Param(found["name"])
    return _Output(int(found["step"]), int(found["output"]))


def _is_later(value: Any) -> bool:
    return value is _PENDING or bool(filling.needs(value))


def levels(document: Document) -> list[int]:
    """Return how many stages must be made before each step; those of one stage need none of it."""
    found: dict[int, int] = {}
    for step in document.steps:
        said = json.dumps(step.inputs)
        before = {int(each[1] or each[2]) for each in _NAMED.finditer(said)}
        found[step.id] = max((found[other] + 1 for other in before if other in found), default=0)
    return [found[step.id] for step in document.steps]
