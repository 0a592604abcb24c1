"""A spell's document: read from JSON or YAML, and held to its form. Nothing here asks anybody.

Whatever is wrong is said with a JSON pointer to it. What its references and its tools' inputs are
worth is judged in app/trade/spell_checks.py, when it is published and again when it is cast.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from app.plain_text import odd_in
from app.strict_json import BadInput, parse_object
from statemachine.cast import MOST_AUTHOR_PCT, MOST_STEPS

MOST_BYTES: Final = 64 * 1024
MOST_DEPTH: Final = 12
MOST_PARAMETERS: Final = 20
MOST_TAGS: Final = 8
MOST_WHOLE: Final = 2**53
RESERVED: Final = frozenset(("cast", "casts", "marketplace", "quote", "new", "mine"))
SLUG: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TAG: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
}  # fmt: skip
WIDGETS: Final = ("text", "textarea", "number", "range", "select", "checkbox", "image")
_RULES: Final = frozenset(
    ("type", "title", "description", "default", "enum", "minimum", "maximum", "minLength",
     "maxLength", "x-ui", "x-order")
)  # fmt: skip


class BadSpell(BadInput):
    """What is wrong with a spell's document, and where."""

    def __init__(self, pointer: str, sentence: str) -> None:
        super().__init__(f"At {pointer or '/'}: {sentence}")
        self.pointer, self.sentence = pointer, sentence


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a tool, and what it is asked, with references where those are."""

    id: int
    tool: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """A spell, as its author wrote it."""

    slug: str
    name: str
    description: str
    tags: tuple[str, ...]
    author_share_pct: int
    parameters: Mapping[str, Mapping[str, Any]]  # a JSON Schema of each
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as they are kept; `read` makes the same of them."""
        return {
            "slug": self.slug,
            "name": self.name,
            "description": self.description,
            "tags": list(self.tags),
            "author_share_pct": self.author_share_pct,
            "parameters": {name: dict(rule) for name, rule in self.parameters.items()},
            "steps": [
                {"id": step.id, "tool": step.tool, "inputs": dict(step.inputs)}
                for step in self.steps
            ],
        }


def pointer(*parts: str | int) -> str:
    """Return a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


class _Loader(yaml.SafeLoader):
    """YAML that says what JSON can say: no anchors, no tags, no key twice, no dates."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise BadSpell("", "YAML aliases aren't read here. Write the value out.")
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:
            raise BadSpell("", "YAML anchors aren't read here. Write each value out.")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for each, _ in node.value:
            key = self.construct_object(each, deep=True)
            if not isinstance(key, str):
                raise BadSpell("", f"The key {str(key)[:40]!r} must be a text: put it in quotes.")
            if key in seen:
                raise BadSpell("", f"The key {key[:40]!r} is there twice.")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, rule)
        for tag, rule in rules
        if tag.rpartition(":")[2] not in ("timestamp", "bool", "merge", "value", "int", "float")
    ]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile("^-?(?:0|[1-9][0-9]{0,15})$"), list("-0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^-?[0-9]{1,15}\.[0-9]{1,15}$"), list("-0123456789")
)


def parse(text: bytes, *, is_yaml: bool) -> Document:
    """Return the document in these bytes. Raises BadSpell, or BadInput where it is no JSON."""
    if len(text) > MOST_BYTES:
        raise BadSpell("", f"A spell has at most {MOST_BYTES:,} bytes.")
    return read(_of_yaml(text) if is_yaml else parse_object(text))


def _of_yaml(text: bytes) -> Any:
    try:
        loaded = yaml.load(text.decode(), _Loader)
    except BadSpell:
        raise
    except UnicodeDecodeError:
        raise BadSpell("", "The document must be UTF-8.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}" if mark else ""
        raise BadSpell("", f"This is no YAML that can be read{where}.") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise BadSpell("", "This is no YAML that can be read.") from None
    return loaded


def read(value: Any) -> Document:
    """Return plain values as a document. Raises BadSpell."""
    _check_plain(value, (), 0)
    if not isinstance(value, dict):
        raise BadSpell("", "A spell must be an object.")
    known = ("slug", "name", "description", "tags", "author_share_pct", "parameters", "steps")
    _only(value, known, ())
    slug = _text(value, "slug", 3, 64)
    if not SLUG.fullmatch(slug) or slug in RESERVED:
        raise BadSpell("/slug", "Use lower case letters, digits and single hyphens; no path here.")
    pct = value.get("author_share_pct", 0)
    if type(pct) is not int or not 0 <= pct <= MOST_AUTHOR_PCT:
        raise BadSpell("/author_share_pct", f"It must be a whole number, 0 to {MOST_AUTHOR_PCT}.")
    return Document(
        slug,
        _text(value, "name", 1, 80),
        _text(value, "description", 0, 1_000),
        _tags(value.get("tags", [])),
        pct,
        _parameters(value.get("parameters", {})),
        _steps(value.get("steps")),
    )


def _check_plain(value: Any, at: tuple[str | int, ...], depth: int) -> None:
    """Refuse what JSON doesn't say, or says too deep."""
    if depth > MOST_DEPTH:
        raise BadSpell(pointer(*at), f"It is nested deeper than {MOST_DEPTH}.")
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in parts:
            if isinstance(key, str) and odd_in(key):
                raise BadSpell(pointer(*at), "A name in it holds what is not text.")
            _check_plain(each, (*at, key), depth + 1)
        return
    against = _against(value)
    if against is not None:
        raise BadSpell(pointer(*at), against)


def _against(value: Any) -> str | None:
    """Return what is wrong with a plain value, None where nothing is."""
    if isinstance(value, str):
        odd = odd_in(value)
        return None if odd is None else f"It holds the character {odd}, which is not text."
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return "This number is too large to be exact." if abs(value) > MOST_WHOLE else None
    if isinstance(value, float):
        return None if math.isfinite(value) else "This is no number."
    return "Only texts, numbers, true, false and null are read."


def _only(value: Mapping[str, Any], known: tuple[str, ...], at: tuple[str | int, ...]) -> None:
    for name in value:
        if name not in known:
            raise BadSpell(
                pointer(*at, name[:60]), f"This isn't known here. Known are: {', '.join(known)}."
            )


def _text(value: Mapping[str, Any], name: str, least: int, most: int) -> str:
    given = value.get(name, None if least else "")
    if given is None:
        raise BadSpell(pointer(name), "It is missing.")
    if not isinstance(given, str):
        raise BadSpell(pointer(name), "It must be a text.")
    given = given.strip()
    if not least <= len(given) <= most:
        raise BadSpell(pointer(name), f"It must have {least} to {most} characters.")
    return given


def _tags(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MOST_TAGS:
        raise BadSpell("/tags", f"It must be a list of at most {MOST_TAGS} tags.")
    for place, tag in enumerate(value):
        if not isinstance(tag, str) or len(tag) > 32 or not _TAG.fullmatch(tag):
            raise BadSpell(
                pointer("tags", place),
                "A tag is lower case letters, digits and hyphens, 32 characters at most.",
            )
    return tuple(dict.fromkeys(value))


def _parameters(value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or len(value) > MOST_PARAMETERS:
        raise BadSpell("/parameters", f"It must be an object of at most {MOST_PARAMETERS} names.")
    for name, rule in value.items():
        at = ("parameters", name)
        if not _NAME.fullmatch(name):
            raise BadSpell(
                pointer(*at), "A name is lower case letters, digits and _, 40 characters at most."
            )
        if not isinstance(rule, dict):
            raise BadSpell(pointer(*at), "It must be a JSON Schema.")
        _only(rule, tuple(sorted(_RULES)), at)
        _rule(rule, at)
    return value


def _rule(rule: Mapping[str, Any], at: tuple[str, ...]) -> None:
    """Hold a parameter's schema to what is read here: one plain type, with limits of its own."""
    if rule.get("type") not in TYPES:
        raise BadSpell(pointer(*at, "type"), f"It must be one of: {', '.join(TYPES)}.")
    types = TYPES[rule["type"]]
    _limits(rule, at)
    choices = rule.get("enum", [None])
    if not isinstance(choices, list) or not choices:
        raise BadSpell(pointer(*at, "enum"), "It must be a list, and not empty.")
    if "enum" in rule and not all(_is_of(choice, types) for choice in choices):
        raise BadSpell(pointer(*at, "enum"), "Its values must be of this type.")
    if "default" in rule:
        check_value(rule, rule["default"], pointer(*at, "default"))


def _limits(rule: Mapping[str, Any], at: tuple[str, ...]) -> None:
    for name in ("minimum", "maximum"):
        if name in rule and not _is_of(rule[name], (int, float)):
            raise BadSpell(pointer(*at, name), "It must be a number.")
    for name in ("minLength", "maxLength"):
        if name in rule and (not _is_of(rule[name], (int,)) or rule[name] < 0):
            raise BadSpell(pointer(*at, name), "It must be a whole number, and not negative.")
    for name in ("title", "description"):
        if name in rule and not isinstance(rule[name], str):
            raise BadSpell(pointer(*at, name), "It must be a text.")
    hint = rule.get("x-ui")
    if hint is not None and hint not in [{"widget": widget} for widget in WIDGETS]:
        raise BadSpell(pointer(*at, "x-ui"), f"It names a widget: {', '.join(WIDGETS)}.")


def _is_of(value: Any, types: tuple[type, ...]) -> bool:
    return type(value) in types  # True is no number


def check_value(rule: Mapping[str, Any], value: Any, at: str) -> None:
    """Refuse a value that a parameter's schema doesn't allow."""
    kind = rule["type"]
    if not _is_of(value, TYPES[kind]):
        raise BadSpell(at, f"It must be {'an' if kind == 'integer' else 'a'} {kind}.")
    if "enum" in rule and value not in rule["enum"]:
        choices = ", ".join(str(choice) for choice in rule["enum"])
        raise BadSpell(at, f"It must be one of: {choices}.")
    if isinstance(value, str):
        least, most = rule.get("minLength", 0), rule.get("maxLength", 20_000)
        if not least <= len(value) <= most:
            raise BadSpell(at, f"It must have {least} to {most} characters.")
    elif not isinstance(value, bool):
        least, most = rule.get("minimum", value), rule.get("maximum", value)
        if not least <= value <= most:
            raise BadSpell(at, f"It must be {least} to {most}.")


def _steps(value: Any) -> tuple[Step, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_STEPS:
        raise BadSpell("/steps", f"It must be a list of 1 to {MOST_STEPS} steps.")
    return tuple(_step(step, place) for place, step in enumerate(value))


def _step(value: Any, place: int) -> Step:
    at = ("steps", place)
    if not isinstance(value, dict):
        raise BadSpell(pointer(*at), "A step must be an object.")
    _only(value, ("id", "tool", "inputs"), at)
    if type(value.get("id")) is not int or value["id"] != place + 1:
        raise BadSpell(pointer(*at, "id"), f"Steps are numbered in order: this is {place + 1}.")
    tool, inputs = value.get("tool"), value.get("inputs", {})
    if not isinstance(tool, str) or not 1 <= len(tool) <= 64:
        raise BadSpell(pointer(*at, "tool"), "It must be the toolId of a tool.")
    if not isinstance(inputs, dict):
        raise BadSpell(pointer(*at, "inputs"), "It must be an object.")
    return Step(place + 1, tool, inputs)
