"""Every place where the code commits or calls the outside, found in the code itself.

A place has a name; what commits or calls without one is told by `nameless`.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from statemachine.job import Event
from statemachine.promises import KINDS

ROOT = Path(__file__).parents[1]
ROOMS = ("app", "db", "payments", "pricing", "statemachine")
CODE = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
PROBES = ROOT / "app" / "probes.py"
MAIN = ROOT / "app" / "main.py"

BEFORE_AND_AFTER = ("before", "after")
# The seams: Protocol or class of what calls the outside, and what stands before it in probes.py.
SEAMS = {
    "Rail": (ROOT / "payments" / "rail.py", "ProbedRail"),
    "Wallets": (ROOT / "payments" / "rail.py", "ProbedWallets"),
    "Agent": (ROOT / "app" / "agents" / "agent.py", "ProbedAgent"),
    "Chat": (ROOT / "app" / "agents" / "chat.py", "ProbedChat"),
    "Destinations": (ROOT / "app" / "parts.py", "ProbedDestinations"),
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
    for call in _runs(tree):
        if not list(_names_of(call, tree)):
            yield f"{where}:{call.lineno} commits under a name that can't be found"


# ------------------------------------------------------------------------- how names are found


def _committed(path: Path, tree: ast.Module) -> Iterator[str]:
    if path == ROOT / "db" / "engine.py":
        return
    for call in _runs(tree):
        yield from _names_of(call, tree)


def _names_of(call: ast.Call, tree: ast.Module) -> Iterator[str]:
    """Yield the names of one commit: a constant, or those of all events that the file makes."""
    first = call.args[0] if call.args else None
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        yield first.value
    elif first is not None and ast.unparse(first) == "event.kind.value":
        kinds = {event.__name__: event.kind.value for event in Event.__args__}
        for made in _calls(tree):
            house, _, event = ast.unparse(made.func).rpartition(".")
            if house == "law" and event in kinds and not _is_told_by_name(made, tree):
                yield kinds[event]


def _is_told_by_name(made: ast.Call, tree: ast.Module) -> bool:
    """Say whether an event is handed to `advance` itself, under a name of its own."""
    return any(made in ast.walk(call) for call in _calls(tree) if _callee(call) == "advance")


def _told(call: ast.Call) -> Iterator[str]:
    """Yield the places that a probe is told of directly."""
    place = call.args[0]
    if isinstance(place, ast.Constant):
        yield str(place.value)
    elif isinstance(place, ast.JoinedStr) and "{kind.__name__}" in ast.unparse(place):
        for kind in KINDS:
            yield _constant(place.values[0]) + kind.__name__ + _constant(place.values[2])


def _runs(tree: ast.Module) -> Iterator[ast.Call]:
    for call in _calls(tree):
        func = call.func
        if isinstance(func, ast.Attribute) and func.attr == "run" and _is_database(func.value):
            yield call


def _is_database(node: ast.expr) -> bool:
    return ast.unparse(node).rpartition(".")[2] in ("db", "_db", "database")


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _callee(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _constant(node: ast.expr) -> str:
    assert isinstance(node, ast.Constant) and isinstance(node.value, str), ast.unparse(node)
    return node.value


# --------------------------------------------------------------------- what escapes the naming


def _misused(where: str, path: Path, node: ast.Attribute, tree: ast.Module) -> Iterator[str]:
    engine = path == ROOT / "db" / "engine.py"
    at = f"{where}:{node.lineno}"
    if node.attr == "transaction" and not engine:
        yield f"{at} opens a transaction beside Database.run"
    if node.attr == "reads" and path.parent != ROOT / "db":
        yield f"{at} takes a connection of its own"
    passed_on = all(call.func is not node for call in _calls(tree))
    if node.attr == "run" and _is_database(node.value) and passed_on:
        yield f"{at} passes Database.run on, and its name is lost"


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
