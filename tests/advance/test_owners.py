"""Who may own money is one registry: nobody else asks what an owner is, or reads a name."""

import ast
import re
from pathlib import Path

import pytest

from app.advance.owners import OWNERS
from app.web import words
from db.owners import COLUMNS
from db.tables import Invoice, Payout
from statemachine.owner import ACCOUNTS, Owner, OwnerKind, Purpose, Reason, named

ROOT = Path(__file__).parents[2]
CODE = [
    path
    for room in ("app", "db", "statemachine")
    for path in sorted((ROOT / room).rglob("*.py"))
    if not path.is_relative_to(ROOT / "app" / "buyer")  # a buyer has words of his own
    and not path.is_relative_to(ROOT / "db" / "migrations")  # history does not change
]
REGISTRY = ROOT / "statemachine" / "owner.py"
ROWS = {"Job", "Session"}  # of owners, in db/tables.py
BARE = {word.value for words_ in (Purpose, Reason) for word in words_}
# Where such a word is another: a command, what a macaroon allows, a part of what an agent does,
# a name of a value in SQL.
OTHERS = {
    "app/commands/books.py": {"batch"},
    "app/commands/cli.py": {"ask"},
    "app/api/accounts/balances.py": {"deposit"},
    "app/api/discovery/price_list.py": {"ask", "credit"},
    "app/api/jobs/ask.py": {"ask"},
    "app/api/jobs/sessions.py": {"topup"},
    "app/agents/anthropic.py": {"work"},
    "app/web/operator.py": {"ask"},
    "app/web/session.py": {"ask"},
    "db/audit.py": {"eval", "work"},
}


def name(path: Path) -> str:
    """Return a path as it is told."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", CODE, ids=name)
def test_nobody_asks_what_kind_of_row_an_owner_is(path: Path) -> None:
    """No isinstance on rows of owners: what a kind means stands in app/advance/owners.py."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
            asked = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
            assert not asked & ROWS, f"line {node.lineno}"


@pytest.mark.parametrize("path", CODE, ids=name)
def test_purposes_and_reasons_are_not_bare_words(path: Path) -> None:
    """Outside SQL, what an invoice is for and why something is owed are members of their enums."""
    if path.parent == ROOT / "statemachine":
        return  # names are made there, of the same words
    allowed = OTHERS.get(name(path), set())
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert node.value not in BARE - allowed, f"line {node.lineno}"


@pytest.mark.parametrize("path", CODE, ids=name)
def test_names_are_read_in_one_place(path: Path) -> None:
    """Whose an invoice, a payout or a promise is, is asked of statemachine/owner.py: no name is cut
    at its colon beside it."""
    if path == REGISTRY:
        return
    # (That of a conversation's owner is another: nobody pays by it.)
    cut = re.compile(
        r"(?:\bid\"?\]?|_id|\.key|(?<!owner\.)\bname)\.r?(?:partition|split)\(['\"]:['\"]"
    )
    assert not cut.findall(path.read_text())


def test_every_kind_of_owner_has_all_that_an_owner_needs() -> None:
    """A lock, an account, a column of invoices and payouts, and what its money means to it."""
    for registry in (OWNERS, ACCOUNTS, COLUMNS):
        assert set(registry) == set(OwnerKind)
    for column in COLUMNS.values():
        assert column in Invoice.model_fields and column in Payout.model_fields


@pytest.mark.parametrize("purpose", Purpose)
def test_every_purpose_has_its_owner_memo_and_sentence(purpose: Purpose) -> None:
    """And an invoice that is named by it is that owner's."""
    assert purpose.memo and purpose.lapsed.endswith(".")
    assert named(f"0123:{purpose}").owner == Owner(purpose.kind, "0123")


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_sentence(reason: Reason) -> None:
    """A page tells it in those words."""
    assert words.reason(reason.value) == reason.sentence
