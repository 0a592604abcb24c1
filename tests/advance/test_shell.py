"""The shell is functions over an Act: what money and states are changed by, told from the code."""

import ast
from pathlib import Path

import pytest

from app import advance
from app.advance.shell import name_of

ROOT = Path(__file__).parents[2]
NOUNS = [
    path
    for path in sorted((ROOT / "app" / "advance").glob("*.py"))
    if path.stem not in ("__init__", "act", "outcome", "shell")
]


@pytest.mark.parametrize("path", NOUNS, ids=lambda path: path.stem)
def test_what_happens_is_a_function_over_an_act(path: Path) -> None:
    """Who changes money or a state is given the transaction and its moment as one Act, and inherits
    nothing: no class holds either, and no function is told a moment beside it."""
    tree = ast.parse(path.read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert not [
        base for node in classes for base in node.bases if "Generic" not in ast.unparse(base)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            takes = [arg.arg for arg in node.args.args]
            assert "tx" not in takes, f"{node.name} takes a transaction without its moment"
            assert not {"act", "now"} <= set(takes), f"{node.name} is told a second moment"


def test_a_commit_is_named_after_its_function() -> None:
    """By its file and its own name: `payouts.settle` is another place than `invoices.settle`."""
    assert name_of(advance.invoices.settle) == "invoices.settle"
    assert name_of(advance.payouts.settle) == "payouts.settle"
