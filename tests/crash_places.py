"""Every place where the code commits or calls the outside, found in the code itself.

A place has a name; what commits or calls without one is told by `nameless`.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from statemachine.promises import KINDS

ROOT = Path(__file__).parents[1]
ROOMS = ("app", "db", "payments", "pricing", "statemachine")
CODE = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
PROBES = ROOT / "app" / "telemetry" / "probes.py"
MAIN = ROOT / "app" / "main.py"

# What gives a commit its name, and opens the transaction.
OPENERS = (ROOT / "db" / "engine.py", ROOT / "app" / "advance" / "shell.py")

BEFORE_AND_AFTER = ("before", "after")
# The seams: Protocol or class of what calls the outside, and what stands before it in probes.py.
SEAMS = {
    "Rail": (ROOT / "payments" / "rail.py", "ProbedRail"),
    "Wallets": (ROOT / "payments" / "rail.py", "ProbedWallets"),
    "Agent": (ROOT / "app" / "agents" / "agent.py", "ProbedAgent"),
    "Chat": (ROOT / "app" / "agents" / "chat.py", "ProbedChat"),
    "Destinations": (ROOT / "app" / "ports.py", "ProbedDestinations"),
    "Oracle": (ROOT / "pricing" / "oracle.py", "ProbedOracle"),
}
CALLS_NOBODY = {"close", "status"}


def names() -> dict[str, tuple[str, ...]]:
    """Return every name, with the moments at which a process can be ended there."""
    found: dict[str, tuple[str, ...]] = {}
    for path in CODE:
        tree = ast.parse(path.read_text())
        for name in _committed(path, tree):
            found[f"commit {name}"] = BEFORE_AND_AFTER
        for call in _calls(tree):
            if _callee(call) == "_named" and path == PROBES:
                found[_constant(call.args[1])] = BEFORE_AND_AFTER
            elif _callee(call) in ("passing", "_passing") and path.parent.name != "tests":
                for place in _told(call):
                    name, _, moment = place.partition(": ")
                    found[name] = tuple(dict.fromkeys((*found.get(name, ()), moment)))
    return dict(sorted((name, at) for name, at in found.items() if name))


def places() -> list[str]:
    """Return every place, as BOLTWORK_CRASH_AT names it."""
    return [f"{name}: {moment}" for name, moments in names().items() for moment in moments]


def nameless() -> list[str]:
    """Return what commits or calls the outside and has no name, as sentences."""
    return [*(one for path in CODE for one in nameless_in(path, path.read_text())), *_unprobed()]


def nameless_in(path: Path, source: str) -> Iterator[str]:
    """Yield what commits without a name in one file."""
    where, tree = str(path.relative_to(ROOT)), ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield from _misused(where, path, node, tree)
        if isinstance(node, ast.Call) and _callee(node) in ("read_all", "read_one"):
            yield from _writes_by_reading(where, node)
    for call in _commits(tree):
        if path not in OPENERS and _name_of(call, path, tree) is None:
            yield f"{where}:{call.lineno} commits under a name that can't be found"


# ------------------------------------------------------------------------- how names are found


def _committed(path: Path, tree: ast.Module) -> Iterator[str]:
    if path not in OPENERS:
        yield from (name for call in _commits(tree) if (name := _name_of(call, path, tree)))


def _name_of(call: ast.Call, path: Path, tree: ast.Module) -> str | None:
    """Return the name of one commit: a constant of Database.run, or the function of Shell.do."""
    first = call.args[0] if call.args else None
    if _is_run(call):
        return _constant(first) if isinstance(first, ast.Constant) else None
    if isinstance(first, ast.Attribute):  # advance.<file>.<function>
        house, _, name = ast.unparse(first).partition(".")
        file, _, function = name.partition(".")
        known = house == "advance" and function in _functions(ROOT / "app" / house / f"{file}.py")
        return name if known else None
    if isinstance(first, ast.Name):
        made_here = (node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef))
        if any(node.name == first.id for node in made_here):
            return f"{path.stem}.{first.id}"
    return None


def _functions(path: Path) -> set[str]:
    body = ast.parse(path.read_text()).body if path.exists() else []
    return {node.name for node in body if isinstance(node, ast.AsyncFunctionDef)}


def _told(call: ast.Call) -> Iterator[str]:
    """Yield the places that a probe is told of directly."""
    place = call.args[0]
    if isinstance(place, ast.Constant):
        yield str(place.value)
    elif isinstance(place, ast.JoinedStr) and "{kind.__name__}" in ast.unparse(place):
        for kind in KINDS:
            yield _constant(place.values[0]) + kind.__name__ + _constant(place.values[2])


def _commits(tree: ast.Module) -> Iterator[ast.Call]:
    return (call for call in _calls(tree) if _opens(call.func))


def _is_run(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "run"


def _opens(node: ast.AST) -> bool:
    """Say whether this is what opens a transaction: Database.run, or Shell.do."""
    if not isinstance(node, ast.Attribute):
        return False
    of = ast.unparse(node.value).rpartition(".")[2]
    return (node.attr == "run" and of in ("db", "_db", "database")) or (
        node.attr == "do" and of in ("shell", "_shell")
    )


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _callee(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _constant(node: ast.expr) -> str:
    assert isinstance(node, ast.Constant) and isinstance(node.value, str), ast.unparse(node)
    return node.value


# --------------------------------------------------------------------- what escapes the naming


def _misused(where: str, path: Path, node: ast.Attribute, tree: ast.Module) -> Iterator[str]:
    at = f"{where}:{node.lineno}"
    if node.attr == "transaction" and path != OPENERS[0]:
        yield f"{at} opens a transaction beside Database.run"
    if node.attr == "reads" and path.parent != ROOT / "db":
        yield f"{at} takes a connection of its own"
    passed_on = all(call.func is not node for call in _calls(tree))
    if _opens(node) and passed_on:
        what = {"run": "Database.run", "do": "Shell.do"}[node.attr]
        yield f"{at} passes {what} on, and its name is lost"


def _writes_by_reading(where: str, call: ast.Call) -> Iterator[str]:
    query = call.args[0] if call.args else None
    if isinstance(query, ast.Constant) and not str(query.value).lstrip().startswith("SELECT"):
        yield f"{where}:{call.lineno} reads by something that is no SELECT"


def _unprobed() -> Iterator[str]:
    probes = ast.parse(PROBES.read_text())
    stands = {node.name: node for node in probes.body if isinstance(node, ast.ClassDef)}
    main = MAIN.read_text()
    for seam, (path, probe) in SEAMS.items():
        if probe not in stands or f"{probe}(" not in main:
            yield f"nothing in app/telemetry/probes.py names the calls of a {seam}"
            continue
        told = {
            method.name
            for method in _methods(stands[probe])
            if any(_callee(call) in ("_named", "_passing") for call in _calls(method))
        }
        for method in _methods(_class(path, seam)):
            outward = isinstance(method, ast.AsyncFunctionDef) or method.name in (
                "pushes",
                "answer",
            )
            if method.name.startswith("_") or method.name in told | CALLS_NOBODY:
                continue
            if outward:
                yield f"{probe}.{method.name} calls the outside and has no name"


def _class(path: Path, name: str) -> ast.ClassDef:
    body = ast.parse(path.read_text()).body
    return next(node for node in body if isinstance(node, ast.ClassDef) and node.name == name)


def _methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
