"""Which waits of a test have a length of their own: on a machine that is busy they run out."""

import ast
from collections.abc import Iterator

ASKS = ("AsyncClient", "Client", "get", "post", "put", "delete", "request", "stream")
HTTP = {f"httpx2.{name}" for name in ASKS}  # who says nothing else waits five seconds
SAYS = {"timeout", "transport", None}  # `None` is what **options hold


def of_its_own(tree: ast.AST) -> Iterator[str]:
    """Yield each wait in a file whose length is that file's own.

    What is over within a second is what a test is about, and no wait for something to come.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.For) and ast.unparse(node.iter).startswith("range("):
            yield from (f"line {node.lineno}: look `patiently`" for _ in _pauses(node))
        if isinstance(node, ast.Call):
            if ast.unparse(node.func) in HTTP and not SAYS & {word.arg for word in node.keywords}:
                yield f"line {node.lineno}: it waits for 5 s, and not for PATIENCE_S"
            given = [word.value for word in node.keywords if word.arg == "timeout"]
            if ast.unparse(node.func).endswith((".timeout", ".wait_for")):
                given += node.args[-1:]
            for each in given:
                if _number(each) >= 1:
                    yield f"line {node.lineno}: {ast.unparse(each)} s are not PATIENCE_S"


def _pauses(loop: ast.AST) -> Iterator[ast.Call]:
    """Yield each pause of a loop; a loop in it that has no count is another matter."""
    for node in ast.iter_child_nodes(loop):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "asyncio.sleep":
            if _number(node.args[0]) > 0:
                yield node
        elif not isinstance(node, ast.While | ast.AsyncFor):
            yield from _pauses(node)


def _number(node: ast.expr) -> float:
    is_one = isinstance(node, ast.Constant) and isinstance(node.value, int | float)
    return node.value if is_one else 0  # type: ignore[attr-defined]
