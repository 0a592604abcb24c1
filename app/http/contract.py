"""The contract of this server, as its own doors read it: `openapi.yaml`.

It lies at the root of the project; `app/openapi.yaml` is a link to it, and in an installed package
the file itself. What is sold by the call is what it marks with `x-sells`.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Final

import yaml

CONTRACT: Final = Path(__file__).parents[1] / "openapi.yaml"
SELLS: Final = "x-sells"  # what of the price list is sold by an operation

Node = dict[str, Any]
_READING = Lock()


def document() -> Node:
    """Return the contract, read once."""
    with _READING:  # by the first who ask for it at once, once
        return _document()


@lru_cache(maxsize=1)
def _document() -> Node:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    read: Node = yaml.load(CONTRACT.read_bytes(), loader)
    return read


@dataclass(frozen=True, slots=True)
class Sale:
    """An operation that is paid for by the call."""

    method: str
    path: str
    sells: str
    summary: str
    capability: str  # what its L402 macaroon allows


@lru_cache(maxsize=1)
def sales() -> tuple[Sale, ...]:
    """Return what is sold by the call, in the contract's order."""
    return tuple(
        Sale(
            method.upper(),
            path,
            operation[SELLS],
            operation["summary"],
            operation["x-l402-capability"],
        )
        for path, item in document()["paths"].items()
        for method, operation in item.items()
        if SELLS in operation
    )


def resolved(node: Node) -> Node:
    """Return what a node refers to, or else itself."""
    while "$ref" in node:
        found: Node = document()
        for step in node["$ref"].removeprefix("#/").split("/"):
            found = found[step.replace("~1", "/").replace("~0", "~")]
        node = found
    return node


@lru_cache(maxsize=64)
def schema_of(name: str) -> Node:
    """Return the fields of a body by its name in the contract, each of them whole."""
    fields: Node = _whole(document()["components"]["schemas"][name])["properties"]
    return fields


def _whole(node: Any) -> Any:
    """Return a node in which nothing refers to another place."""
    if isinstance(node, list):
        return [_whole(each) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        beside = {name: each for name, each in node.items() if name != "$ref"}
        return _whole({**resolved({"$ref": node["$ref"]}), **beside})
    return {name: _whole(each) for name, each in node.items()}
