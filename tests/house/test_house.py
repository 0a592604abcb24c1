"""The house rules that no linter holds: sizes, names, laws, doors, words."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.world.each_file import name, of_each
from tests.world.own_patience import of_its_own

ROOT = Path(__file__).parents[2]
ROOMS = ("app", "db", "payments", "pricing", "statemachine")
CODE = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
SCRIPTS = sorted((ROOT / "scripts").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
EMPTY_NAMES = {
    "utils", "util", "helpers", "helper", "common", "misc", "manager",
    "service", "base", "core", "handler", "handlers",
}  # fmt: skip


@cache
def read(path: Path) -> str:
    """Return a file of the house, read once for all its rules."""
    return path.read_text()


@cache
def parsed(path: Path) -> ast.Module:
    """Return what Python reads in a file, whose tree no rule changes."""
    return ast.parse(read(path))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return all that is in a file."""
    return tuple(ast.walk(parsed(path)))


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    """What was read is let go afterwards: a million small objects would slow what comes next."""
    yield
    for kept in (read, parsed, nodes):
        kept.cache_clear()


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return every function in a file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in nodes(path) if isinstance(node, kinds)]


@of_each(CODE + SCRIPTS + TESTS)
def test_a_file_is_short_and_says_its_law(path: Path) -> None:
    """At most 400 lines, 70 a function, 100 characters a line, and a law in the first lines."""
    text = read(path)
    lines = text.splitlines()
    assert len(lines) <= 400
    assert all(len(line) <= 100 for line in lines)
    assert path.stem not in EMPTY_NAMES
    assert ast.get_docstring(parsed(path))
    for function in functions(path):
        drawn = path.parent.name == "versions"  # a migration is a list of tables, as it came
        assert drawn or (function.end_lineno or 0) - function.lineno < 70, function.name


@of_each(CODE)
def test_public_things_say_what_they_do(path: Path) -> None:
    """Every public class and function has a docstring."""
    reached: list[ast.stmt] = list(parsed(path).body)
    for node in reached:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("_"):
                continue
            assert ast.get_docstring(node), node.name
            if isinstance(node, ast.ClassDef):
                reached.extend(node.body)


@of_each(TESTS)
def test_a_test_is_a_sentence_of_the_specification(path: Path) -> None:
    """Every test says, in its docstring, which fact it holds."""
    for function in functions(path):
        if function.name.startswith("test_"):
            assert ast.get_docstring(function), function.name


@of_each(TESTS)
def test_no_file_takes_from_a_test(path: Path) -> None:
    """What two files of tests need stands in a file of its own, which is no file of tests."""
    for node in nodes(path):
        taken = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.Import | ast.ImportFrom):
            taken += [alias.name for alias in node.names]
        assert not any(each.split(".")[-1].startswith("test_") for each in taken), taken


@of_each(CODE)
def test_no_float_touches_money(path: Path) -> None:
    """No float literal and no float() meets a name that ends in a money unit."""
    money = re.compile(r"_(msat|microusd|sats?)$")
    for node in nodes(path):
        if isinstance(node, ast.BinOp):
            names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            names |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
            if any(money.search(n) for n in names):
                for part in ast.walk(node):
                    assert not (isinstance(part, ast.Constant) and isinstance(part.value, float))
                    divides = isinstance(part, ast.BinOp) and isinstance(part.op, ast.Div)
                    at_the_wire = path.name == "money.py"  # usd_number, for JSON only
                    assert at_the_wire or not divides, f"line {node.lineno} divides money"


MONEY_WORD = re.compile(r"(^|_)(msat|microusd|microusdc|sats?|usdc?)$", re.IGNORECASE)
RATES = {"MSAT_PER_SAT", "SAT_PER_BTC", "MICROUSD_PER_USD"}
ROUNDING_CALLS = {"divmod", "round", "ceil", "floor", "trunc", "quantize"}


def speaks_of_money(node: ast.AST) -> bool:
    """Whether a name in an expression, or the key of a row, ends in a money unit."""
    for part in ast.walk(node):
        word = part.id if isinstance(part, ast.Name) else ""
        word = part.attr if isinstance(part, ast.Attribute) else word
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            word = part.value
        if MONEY_WORD.search(word) or word in RATES:
            return True
    return False


def rounds_money(node: ast.AST) -> bool:
    """Whether this is a division of money that may lose something."""
    match node:
        case ast.BinOp(left=ast.Constant(value=str() | bytes()), op=ast.Mod()):
            return False  # a text
        case ast.BinOp(op=ast.FloorDiv() | ast.Mod() | ast.Div()):
            return speaks_of_money(node)
        case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called)):
            if called in ROUNDING_CALLS:
                return any(speaks_of_money(given) for given in node.args)
            return called == "int" and any(
                isinstance(given, ast.BinOp)
                and isinstance(given.op, ast.Mult | ast.Div)
                and speaks_of_money(given)
                for given in node.args
            )
    return False


@of_each(CODE)
def test_no_money_is_rounded_outside_the_file_of_money(path: Path) -> None:
    """What rounds money has a name that says which way, and stands in pricing/money.py."""
    if path != ROOT / "pricing" / "money.py":
        for node in nodes(path):
            assert not rounds_money(node), f"{name(path)}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    "line",
    [
        "amount_msat // MSAT_PER_SAT",
        "-(-self._left_msat // each)",
        "row['balance_msat'] % 1000",
        "divmod(self.price_microusd, 100)",
        "math.ceil(cost_sats * 1.2)",
        "int(found * MICROUSD_PER_USD)",
        "total_msat / 2",
    ],
)
def test_a_rounding_of_money_is_seen(line: str) -> None:
    """By its operator or its call, and by a name or a key that ends in a money unit."""
    assert any(rounds_money(node) for node in ast.walk(ast.parse(line)))


@of_each(CODE)
def test_a_state_column_changes_through_one_door(path: Path) -> None:
    """Only app/advance calls what writes a state."""
    if path.parent.name == "advance":
        return
    text = read(path)
    assert not re.search(r"\b(jobs|invoices|payouts|sessions|holds)\.(move|insert)\(", text)
    if path.parent.name != "db":  # its nouns have rows, too, that are no noun of their own
        assert not re.search(r"\.(move|(insert|move)_attempt|\w+_transfer)\(", text)
    if path.parent.name != "db":
        assert ".state =" not in text


def keyed_reads(tree: ast.AST) -> list[str]:
    """Return what in a file names a keyed row, or asks Postgres for some."""
    asks = {"read_all", "read_one"}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("db.", "psycopg")):
            found += [alias.name for alias in node.names if alias.name in ("Row", "DictRow")]
        if isinstance(node, ast.Attribute):
            of_tx = isinstance(node.value, ast.Name | ast.Attribute) and (
                ast.unparse(node.value).split(".")[-1] == "tx"
            )
            if node.attr in asks or (of_tx and node.attr in ("all", "one")):
                found.append(node.attr)
    return found


@of_each([path for path in CODE if path.parts[-2] != "db"])
def test_no_keyed_row_leaves_the_database(path: Path) -> None:
    """Beyond db/ a row is a NamedTuple of its statement: a column that is not there is seen by the
    type checker, and not by a buyer."""
    assert not keyed_reads(ast.parse(path.read_text()))


@of_each(sorted((ROOT / "db").glob("*.py")))
def test_no_noun_of_the_database_returns_keyed_rows(path: Path) -> None:
    """What db/ gives to others has fields; only the readers of its engine return keys."""
    for function in functions(path):
        readers = ("engine", "connection", "statements")
        is_ours = function.name.startswith("_") or path.stem in readers
        told = ast.unparse(function.returns) if function.returns else ""
        assert is_ours or not re.search(r"\b(Row|DictRow)\b", told), function.name


@pytest.mark.parametrize(
    "line",
    [
        "from db.engine import Database, Row",
        "from psycopg.rows import DictRow",
        "rows = await self.db.read_all('SELECT 1')",
        "ask = db.read_one",
        "row = await act.tx.one('SELECT 1')",
        "rows = await tx.all('SELECT 1')",
    ],
)
def test_a_keyed_row_is_seen(line: str) -> None:
    """By the name of its type, or by the call that asks for it."""
    assert keyed_reads(ast.parse(line))


@of_each(CODE)
def test_nothing_commits_outside_the_engine(path: Path) -> None:
    """A transaction ends where it began, in db/engine.py (migrations have their own)."""
    if name(path) not in ("db/engine.py", "db/migrate.py"):
        text = read(path)
        assert ".commit()" not in text and ".begin()" not in text


@of_each(CODE)
def test_the_core_knows_no_clock_and_no_dice(path: Path) -> None:
    """The law and the scale import no time, chance, environment or event loop."""
    pure = path.parent.name == "statemachine" or name(path) in (
        "pricing/money.py", "pricing/rates.py", "pricing/quote.py",
    )  # fmt: skip
    if not pure:
        return
    for node in nodes(path):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        for module in modules:
            assert module.split(".")[0] not in {"time", "random", "os", "asyncio", "secrets"}
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"now", "utcnow", "today"}


@of_each(CODE + SCRIPTS + TESTS)
def test_nothing_is_left_for_later(path: Path) -> None:
    """No note of things undone, no skipped test, no monkeypatch."""
    if path == Path(__file__):
        return
    text = read(path)
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)
    assert "monkeypatch" not in text
    assert not re.search(r"pytest\.(mark\.)?(skip|xfail)", text)


@of_each(TESTS)
def test_every_test_is_in_a_room(path: Path) -> None:
    """The rooms of tests/ are those of the product; what they stand on holds none."""
    room = path.relative_to(ROOT / "tests").parts[0]
    assert room not in ("world", "runs", path.name) or not path.name.startswith("test_")
    assert room != path.name or room in ("__init__.py", "conftest.py")


@of_each(CODE + TESTS)
def test_what_a_library_calls_private_is_left_to_it(path: Path) -> None:
    """Its next version may have moved it. For a wait that has had its time psycopg has no other
    name; on the day that it is another, the tests of silence fail.
    """
    names = [
        part
        for node in nodes(path)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (getattr(node, "module", None) or "", *(each.name for each in node.names))
        for part in name.split(".")
    ]
    private = {name for name in names if name.startswith("_") and not name.startswith("__")}
    assert private <= {"_WaitTimeout"}


# Those are programs of their own, and long runs of scripts/.
@of_each(p for p in TESTS if not {"stock_clients", "silence.py", "fuzz.py"} & {*p.parts})
def test_there_is_one_patience(path: Path) -> None:
    """No wait of a test has a bound of its own: short ones run out on a machine that is busy."""
    assert not list(of_its_own(parsed(path)))


def test_all_that_is_python_is_typed() -> None:
    """mypy reads every file that is Python, with a suffix or without, tests and scripts too."""
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    typed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"]
    for each in tracked:
        path = ROOT / each
        started = path.parent == ROOT / "scripts" and b"python" in path.read_bytes().split(b"\n")[0]
        if path.suffix == ".py" or started:
            assert any(each == one or each.startswith(f"{one}/") for one in typed), each


DOORS = [path for path in CODE if path.is_relative_to(ROOT / "app" / "api")]
DOORS += [path for path in CODE if path.is_relative_to(ROOT / "app" / "web")]


@of_each(DOORS)
def test_a_door_reads_and_a_desk_writes(path: Path) -> None:
    """No door opens a transaction, and none reaches through the house into another's parts."""
    text = read(path)
    assert not re.search(r"\.(run|do)\(", text)
    assert not re.search(r"\bhouse\.\w+\.(shell|keeper|outbox|signals|db)\b", text)
    assert "app.state" not in text


def needs_of(path: Path) -> dict[str, list[str]]:
    """Return what each frozen dataclass of a file is made of."""
    found = {}
    for node in parsed(path).body:
        if isinstance(node, ast.ClassDef) and any(
            "frozen" in ast.unparse(d) for d in node.decorator_list
        ):
            found[node.name] = [
                str(ast.unparse(one.target)) for one in node.body if isinstance(one, ast.AnnAssign)
            ]
    return found


@of_each([p for p in CODE if p.parent.name == "trade"])
def test_a_desk_uses_each_of_its_needs(path: Path) -> None:
    """What a desk is made of, its methods ask for by name; else it needs less."""
    text = read(path)
    for desk, needs in needs_of(path).items():
        if re.search(rf"class {desk}:\n    \"\"\"The desk", text):
            assert [need for need in needs if f".{need}" not in text] == []


def test_the_house_holds_what_doors_ask_for() -> None:
    """Each field of the House is asked for by a door, or by what runs the house."""
    said = "".join(read(path) for path in [*DOORS, ROOT / "app" / "main.py"])
    fields = needs_of(ROOT / "app" / "house.py")["House"]
    assert len(fields) > 20
    asked = r"\b(house|_house|house_of\(request\))\.{}\b"
    assert [each for each in fields if not re.search(asked.format(each), said)] == []


def test_what_a_name_was_given_to_is_asked_of_one_file() -> None:
    """An Idempotency-Key is looked up and claimed in app/trade/once.py; a loop forgets old ones."""
    asks = [path for path in CODE if re.search(r"\bidempotency\.(find|claim)\(", read(path))]
    assert [name(path) for path in asks] == ["app/trade/once.py"]


def test_what_something_costs_is_asked_of_one_till() -> None:
    """Nothing in the door makes a quote by itself."""
    app = [path for path in CODE if path.is_relative_to(ROOT / "app")]
    assert [name(path) for path in app if "make_quote" in read(path)] == ["app/till.py"]


def test_the_top_of_the_house_is_as_it_was_drawn() -> None:
    """Five rooms, the contract, the tests and the scripts, and nothing else."""
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    top = {line.split("/")[0] for line in tracked}
    allowed = {*ROOMS, "pyproject.toml", "README.md", "openapi.yaml", "tests", "scripts", "docs"}
    allowed |= {"CHANGELOG.md", "Dockerfile", "compose.yaml"}
    assert top - {".ci", ".gitignore", ".dockerignore"} <= allowed


def test_every_file_of_the_door_has_a_room() -> None:
    """What lies beside the rooms is what puts them together, and what all of them stand on."""
    beside = {path.stem for path in (ROOT / "app").glob("*.py")}
    ground = {"ports", "refusal", "strict_json", "plain_text", "workflow", "confined", "confining"}
    assert beside == {"__init__", "main", "adapters", "plant", "house", "till", *ground}
