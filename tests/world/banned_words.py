"""Phrases that no sentence for a stranger holds: they cost readers time.

One list for the pages' sentences and for the API's.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

BANNED = (
    "is over",
    "not taken",
    "parted by",
    "shall be",
    "an eye",
    "told",
    "for nothing",
)  # fmt: skip
_ANY = re.compile(r"\b(?:" + "|".join(p.replace(" ", r"\s+") for p in BANNED) + r")\b", re.I)


def banned_in(text: str) -> list[str]:
    """Return the banned phrases that a text holds, each with some words around it."""
    return [text[max(0, m.start() - 30) : m.end() + 30] for m in _ANY.finditer(text)]


def strings_of(path: Path) -> Iterator[str]:
    """Yield the text constants of a module, without its docstrings."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value
