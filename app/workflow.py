"""A workflow of ComfyUI, as its operator exports it for the API, with places for what is wanted.

`%prompt%`, `%negative_prompt%`, `%width%`, `%height%`, `%seed%`, `%steps%` and `%seconds%` stand in
inputs of its nodes; `%steps:20%` is 20 where nothing else was asked for. A text that is one place
and no more becomes a number where it is one; nothing that a stranger writes can be anything but
text, or read as a place itself.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

NODES: Final = 500  # at most
MOST_BYTES: Final = 1024 * 1024
_PLACE: Final = re.compile(
    r"%(prompt|negative_prompt|width|height|seed|steps|seconds)(?::([0-9]{1,9}))?%"
)

Workflow = Mapping[str, Any]


def read_workflow(text: bytes) -> Workflow:
    """Return a workflow. ValueError says what is wrong with it."""
    try:
        nodes = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ValueError("is not JSON") from None
    whole = isinstance(nodes, dict) and 0 < len(nodes) <= NODES
    if not whole or not all(_is_node(node) for node in nodes.values()):
        raise ValueError("is no workflow for the API: export it with 'Export (API)'")
    if not any(place == "prompt" for place in _places(nodes)):
        raise ValueError("has no place %prompt% in any input")
    return dict(nodes)


def read_workflow_file(file: Path) -> Workflow:
    """Return the workflow in a file. ValueError says what is wrong with it."""
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ValueError("is too large")
        return read_workflow(file.read_bytes())
    except OSError as error:
        raise ValueError(f"can't be read: {error.strerror}") from None


def read_workflows(folder: Path, names: Mapping[str, str]) -> dict[str, Workflow]:
    """Return the workflow of each model, by its file's name. ValueError says which is wrong."""
    workflows = {}
    for model, name in names.items():
        file = folder / f"{name}.json"
        try:
            if file.name != f"{name}.json":
                raise ValueError("is no file of that folder")
            workflows[model] = read_workflow_file(file)
        except ValueError as wrong:
            raise ValueError(f"the workflow of {model} {wrong}") from None
    return workflows


def makes_films(workflow: Workflow) -> bool:
    """Say whether a workflow has a place for how long a film is to be."""
    return any(place == "seconds" for place in _places(workflow))


def filled(workflow: Workflow, values: Mapping[str, str | int]) -> dict[str, Any]:
    """Return a workflow with its places filled."""
    return {
        name: {**node, "inputs": _filled(node["inputs"], values)} for name, node in workflow.items()
    }


def _is_node(node: object) -> bool:
    return (
        isinstance(node, dict)
        and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs"), dict)
    )


def _places(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield from (found[1] for found in _PLACE.finditer(value))
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _places(each)


def _filled(value: Any, values: Mapping[str, str | int]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(each, values) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, values) for each in value]
    if not isinstance(value, str):
        return value
    whole = _PLACE.fullmatch(value)
    if whole is not None:
        return _value(whole, values)
    return _PLACE.sub(lambda found: str(_value(found, values)), value)


def _value(found: re.Match[str], values: Mapping[str, str | int]) -> str | int:
    value = values[found[1]]
    return int(found[2]) if found[2] and not value else value
