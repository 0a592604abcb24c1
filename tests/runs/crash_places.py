"""Every place where the code commits or calls the outside, found in the code itself.

A place has a name; what commits or calls without one is told by `nameless`.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from app import main, plant
from app.agents.agent import Agent
from app.agents.chat import Chat
from app.ports import Destinations, Executor, Prices, Recoder, Store
from app.telemetry.observer import places_of
from payments.rail import Rail, Wallets
from payments.usdc.outcome import Facilitator, Ledger
from statemachine.promises import KINDS

ROOT = Path(__file__).parents[2]
ROOMS = ("app", "db", "payments", "pricing", "statemachine")
CODE = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
OBSERVER = ROOT / "app" / "telemetry" / "observer.py"
BUILDERS = {ROOT / "app" / f"{each.__name__.partition('.')[2]}.py": each for each in (main, plant)}

# What gives a commit its name, and opens the transaction.
OPENERS = (
    ROOT / "db" / "engine.py",
    ROOT / "app" / "advance" / "shell.py",
    ROOT / "app" / "trade" / "once.py",
)

NAMING = (".run(", ".do(", "Beginning(", "passing(")  # one of them is where anything has a name

BEFORE_AND_AFTER = ("before", "after")
# The ports: what calls the outside is a part that keeps one of them, and is observed in app.main.
PORTS: tuple[type, ...] = (
    Rail,
    Wallets,
    Agent,
    Chat,
    Destinations,
    Prices,
    Recoder,
    Store,
    Executor,
    Facilitator,
    Ledger,
)


@cache  # the code stays as it is while it runs
def names() -> dict[str, tuple[str, ...]]:
    """Return every name, with the moments at which a process can be ended there."""
    found: dict[str, tuple[str, ...]] = {}
    for path in CODE:
        text = path.read_text()
        if not any(word in text for word in NAMING):
            continue  # to walk through all of it takes longest
        tree = ast.parse(text)
        for name in _committed(path, tree):
            found[f"commit {name}"] = BEFORE_AND_AFTER
        for call in _calls(tree):
            if path == OBSERVER:
                continue  # its names are made of those of the parts, below
            if _callee(call) in ("passing", "_passing") and path.parent.name != "tests":
                for place in _told(call):
                    name, _, moment = place.partition(": ")
                    found[name] = tuple(dict.fromkeys((*found.get(name, ()), moment)))
    for port, name in _observed():
        found.update(places_of(port, name))
    return dict(sorted((name, at) for name, at in found.items() if name))


def places() -> list[str]:
    """Return every place, as BOLTWORK_CRASH_AT names it."""
    return [f"{name}: {moment}" for name, moments in names().items() for moment in moments]


def nameless() -> list[str]:
    """Return what commits or calls the outside and has no name, as sentences."""
    return [*(one for path in CODE for one in nameless_in(path, path.read_text())), *_unobserved()]


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
    """Return the name of one commit: a constant of Database.run, or the function of Shell.do or of
    a Beginning, which `once` commits.
    """
    first = call.args[_is_beginning(call)] if len(call.args) > _is_beginning(call) else None
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


@cache
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
    return (call for call in _calls(tree) if _opens(call.func) or _is_beginning(call))


def _is_beginning(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "Beginning"


def _is_run(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "run"


def _opens(node: ast.AST) -> bool:
    """Say whether this is what opens a transaction: Database.run, or Shell.do."""
    if not isinstance(node, ast.Attribute) or node.attr not in ("run", "do"):
        return False
    of = ast.unparse(node.value).rpartition(".")[2]
    return (node.attr == "run" and of in ("db", "_db", "database")) or (
        node.attr == "do" and of in ("shell", "_shell")
    )


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _callee(call: ast.Call) -> str:
    """Return the last name of what is called; nothing where that has none."""
    called = call.func
    if isinstance(called, ast.Attribute):
        return called.attr
    return called.id if isinstance(called, ast.Name) else ""


def _constant(node: ast.expr) -> str:
    assert isinstance(node, ast.Constant) and isinstance(node.value, str), ast.unparse(node)
    return node.value


# --------------------------------------------------------------------- what escapes the naming


def _misused(where: str, path: Path, node: ast.Attribute, tree: ast.Module) -> Iterator[str]:
    at = f"{where}:{node.lineno}"
    # (In payments/, which an import contract keeps from db/, it is a chain's.)
    of_postgres = not path.is_relative_to(ROOT / "payments")
    if node.attr == "transaction" and of_postgres and path != OPENERS[0]:
        yield f"{at} opens a transaction beside Database.run"
    # (A buyer's program, which is kept from db/ too, has headers that it reads with.)
    of_server = not path.is_relative_to(ROOT / "app" / "buyer")
    if node.attr == "reads" and of_server and path.parent != ROOT / "db":
        yield f"{at} takes a connection of its own"
    if _opens(node) and all(call.func is not node for call in _calls(tree)):
        what = {"run": "Database.run", "do": "Shell.do"}[node.attr]
        yield f"{at} passes {what} on, and its name is lost"


def _writes_by_reading(where: str, call: ast.Call) -> Iterator[str]:
    query = call.args[0] if call.args else None
    if isinstance(query, ast.Constant) and not str(query.value).lstrip().startswith("SELECT"):
        yield f"{where}:{call.lineno} reads by something that is no SELECT"


def _observed() -> Iterator[tuple[type, str]]:
    """Yield each port whose part is observed, and under which name."""
    for path, builder in BUILDERS.items():
        for call in _calls(ast.parse(path.read_text())):
            if _callee(call) == "observed":
                _, port, name, _ = call.args
                yield getattr(builder, ast.unparse(port)), _constant(name)


def _unobserved() -> Iterator[str]:
    stands = {port for port, _ in _observed()}
    for port in PORTS:
        if port not in stands:
            yield f"nothing that is put together observes the calls of a {port.__name__}"
