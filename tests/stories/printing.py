"""A story as a reader of the specification sees it: one line a fact."""

from dataclasses import fields, is_dataclass
from typing import Any

from pricing.quote import Charge, Quote
from pricing.rates import Usage
from tests.stories.telling import Step, Story


def printed(story: Story) -> str:
    """Return a story as it stands in the specification, in Markdown."""
    lines = [f"is {story.first.state}{_given(story.first)}"] if story.first is not None else []
    for step in story.steps:
        lines += _step(step)
    return "\n".join([f"### {story.title}", "", "```text", *lines, "```"])


def _step(step: Step) -> list[str]:
    said = step.said if step.event is None else f"hears {_value(step.event)}"
    if step.error is not None:
        return [f"{said}: refused, {step.error.__name__}"]
    way = "".join(f" → {state}, {event}" for state, event in step.passes)
    lines = [f"{said}{way}" + (f" → {step.state}" if step.state != step.source or way else "")]
    lines += [f"    has       {name} {_value(value)}" for name, value in step.facts]
    lines += [
        f"    moves     {m.amount:,} {m.asset}: {m.source} → {m.target} ({m.under})"
        for m in step.moves
    ]
    lines += [f"    wants     {i}: {msat:,} msat, {purpose}" for i, purpose, msat in step.wants]
    lines += [f"    owes      {i}: {n:,} {asset}, {reason}" for i, reason, n, asset in step.owes]
    lines += [f"    drops     {invoice_id}" for invoice_id in step.drops]
    lines += [f"    promises  {_value(promise)}" for promise in step.promises]
    return lines if len(lines) > 1 or step.state != step.source else [f"{lines[0]}: no more"]


def _given(facts: Any) -> str:
    told = [
        f"{field.name} {_value(getattr(facts, field.name))}"
        for field in fields(facts)
        if field.name not in ("id", "state") and getattr(facts, field.name) != field.default
    ]
    return f": {', '.join(told)}" if told else ""


def _value(value: object) -> str:
    match value:
        case Quote():
            return f"{value.total_msat:,} msat"
        case Charge():
            return f"{value.total_msat:,} msat, {value.surplus_msat:,} back"
        case Usage():
            return f"{value.input_tokens:,} + {value.output_tokens:,} tokens"
        case bool() | None:
            return str(value).lower()
        case int():
            return f"{value:,}"
        case str():
            return f'"{value}"' if type(value) is str else str(value)
    name = getattr(value, "name", None)
    if is_dataclass(value):
        if isinstance(name, str) and len(fields(value)) == 2:  # a ledger account
            return name
        inside = ", ".join(
            f"{field.name}={_value(getattr(value, field.name))}" for field in fields(value)
        )
        return f"{type(value).__name__}({inside})"
    return str(value)
