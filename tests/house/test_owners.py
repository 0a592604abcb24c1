"""What belongs to somebody is known by its kind (`db/owners.py`), never by the type of its row."""

import ast
from pathlib import Path

import pytest

from tests.world.each_file import of_each

APP = Path(__file__).parents[2] / "app"


def rows_told_apart(tree: ast.Module) -> list[str]:
    """Return the types of rows that code asks about, by isinstance() or by a case."""
    asked: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            asked += node.args[1:]
        if isinstance(node, ast.MatchClass):
            asked.append(node.cls)
    names = [ast.unparse(name).split(".")[-1] for part in asked for name in _names(part)]
    return [name for name in names if name.endswith("Row")]


def _names(part: ast.expr) -> list[ast.expr]:
    """Return each type that one argument names: several stand in a tuple, or with | between."""
    if isinstance(part, ast.Tuple):
        return [name for each in part.elts for name in _names(each)]
    if isinstance(part, ast.BinOp):
        return [*_names(part.left), *_names(part.right)]
    return [part]


@of_each(sorted(APP.rglob("*.py")))
def test_no_row_is_told_apart_by_its_type(path: Path) -> None:
    """A kind of owner that comes is a line of a registry, and no branch anywhere is forgotten."""
    assert not rows_told_apart(ast.parse(path.read_text()))


@pytest.mark.parametrize(
    "line",
    [
        "isinstance(row, JobRow)",
        "isinstance(row, batches.BatchRow | None)",
        "isinstance(row, (SessionRow, JobRow))",
        "match row:\n    case jobs.JobRow(id=known):\n        pass",
    ],
)
def test_a_row_that_is_told_apart_is_seen(line: str) -> None:
    """In whatever way it is asked."""
    assert rows_told_apart(ast.parse(line))
