"""A tool's form, drawn from its JSON Schema, and what was filled in, read by the same schema."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.strict_json import BadInput
from app.trade.catalogue import Offering, Surface
from app.trade.inputs import Schema, widget_of, with_defaults
from app.web.troubles import WrongField, at

SAMPLE = {"string": "x", "array": ["x", "x"]}  # for a price, where nothing was filled in yet


@dataclass(frozen=True, slots=True)
class Field:
    """One field as the page draws it."""

    name: str
    label: str
    says: str
    widget: str
    value: str
    choices: tuple[tuple[str, str], ...]  # each with what it is called
    rule: Mapping[str, Any]
    required: bool
    step: str


def fields_of(offering: Offering, given: Mapping[str, str]) -> list[Field]:
    """Return the fields of a tool's form in their order, with what was filled in."""
    schema = offering.inputs[Surface.TOOLS]
    rules = sorted(schema["properties"].items(), key=lambda each: each[1]["x-order"])
    return [_field(name, rule, given, name in schema["required"]) for name, rule in rules]


def _field(name: str, rule: Schema, given: Mapping[str, str], required: bool) -> Field:
    default = rule.get("default", "")
    value = given.get(name, "" if default is False else str(default))
    hint = rule.get("x-ui", {})
    choices = tuple((str(choice), str(choice)) for choice in rule.get("enum", ()))
    if "labels" in hint:
        choices = tuple((str(each), label) for each, label in enumerate(hint["labels"], 1))
    step = str(hint.get("step", 1))
    of = widget_of(rule), value, choices, rule, required, step
    says = rule["description"].partition(":")[0] + "." if "labels" in hint else rule["description"]
    return Field(name, rule["title"], says, *of)


def inputs_in(offering: Offering, given: Mapping[str, str], *, sample: bool) -> dict[str, Any]:
    """Return the inputs that a form holds, or raise WrongField.

    `sample`: what is needed and isn't there yet is something, for a price.
    """
    schema, inputs = offering.inputs[Surface.TOOLS], dict[str, Any]()
    for name, rule in schema["properties"].items():
        text, required = given.get(name, ""), name in schema["required"]
        with at(name):
            if text:
                inputs[name] = _read(name, rule, text)
            elif required and sample:
                inputs[name] = SAMPLE[rule["type"]]
            elif required:
                raise WrongField(name, "Fill in this field.")
            one = {"properties": {name: rule}, "required": [name] if required else []}
            inputs |= with_defaults(one, {name: inputs[name]} if name in inputs else {})
    return inputs


def _read(name: str, rule: Schema, text: str) -> Any:
    """Return a field's text as its rule has it."""
    match rule["type"]:
        case "integer" | "number" as kind:
            try:
                return int(text) if kind == "integer" else float(text)
            except ValueError:
                raise BadInput(f"The field '{name}' must be a number.") from None
        case "boolean":
            return text == "yes"
        case "array":
            return text.split()
        case _:
            return text
