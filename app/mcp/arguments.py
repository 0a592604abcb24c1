"""The arguments of a tool call, judged before anything is asked: their names and their kinds.

What their values may be is judged by the address that is asked, as everybody's are.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from app.mcp.tools import Tool
from app.strict_json import BadInput

KINDS: Final[Mapping[str, tuple[type, str]]] = {
    "string": (str, "a text"),
    "integer": (int, "a whole number"),
    "object": (dict, "an object"),
    "array": (list, "a list"),
}
_KEY: Final = re.compile(r"[\x20-\x7e]{16,255}")


def judge(tool: Tool, given: Mapping[str, Any]) -> None:
    """Raise BadInput, with a sentence for whoever calls, unless a tool can be called so."""
    schema = tool.input_schema
    takes = schema["properties"]
    for name in given:
        if name not in takes:
            known = ", ".join(takes) or "none"
            raise BadInput(
                f"The tool '{tool.name}' has no argument {name[:40]!r}. It has: {known}."
            )
    for name in schema["required"]:
        if name not in given:
            raise BadInput(f"The argument '{name}' is missing. Add it.")
    for name, value in given.items():
        _judge_kind(name, value, takes[name])
    if not _KEY.fullmatch(given.get("purchaseKey", "-" * 16)):
        raise BadInput(
            "The argument 'purchaseKey' must have 16 to 255 printable ASCII characters, that nobody"
            " else would choose. Use 32 random hex digits, and the same on each retry."
        )


def _judge_kind(name: str, value: Any, rule: Mapping[str, Any]) -> None:
    kind, said = KINDS[rule["type"]]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadInput(f"The argument '{name}' must be {said}.")
    if "maximum" in rule and not rule["minimum"] <= value <= rule["maximum"]:
        raise BadInput(
            f"The argument '{name}' must be from {rule['minimum']} to {rule['maximum']}."
        )
