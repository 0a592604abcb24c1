"""What strangers read outside the pages is plain English: errors, the command, contract, README."""

import re
from pathlib import Path

import pytest

from tests.world.banned_words import banned_in, strings_of

ROOT = Path(__file__).parents[2]
SPEAK = ("app", "payments", "pricing", "statemachine")
FILES = sorted(
    path
    for folder in SPEAK
    for path in (ROOT / folder).rglob("*.py")
    if "web" not in path.relative_to(ROOT).parts  # the pages have a test of their own
)
GUIDES = sorted(f"app/guides/{path.name}" for path in (ROOT / "app" / "guides").iterdir())
DOCUMENTS = ("README.md", "openapi.yaml", "docs/operating.md", *GUIDES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_sentence_of_a_program_holds_a_banned_phrase(path: Path) -> None:
    """Whatever a part of the program may say to somebody is said in the trade's words."""
    assert [found for text in strings_of(path) if " " in text for found in banned_in(text)] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_document_holds_a_banned_phrase(name: str) -> None:
    """The contract, the README, the guides and the operator's book are read by the same ear."""
    assert banned_in((ROOT / name).read_text()) == []


@pytest.mark.parametrize("name", (*DOCUMENTS, "CHANGELOG.md", "pyproject.toml"))
def test_two_sides_of_a_change_were_put_together(name: str) -> None:
    """No document shows both, with the marks between them that a merge leaves."""
    marks = re.compile("^(<{7}|={7}|>{7}|[|]{7})( |$)", re.MULTILINE)
    assert marks.findall((ROOT / name).read_text()) == []


def test_the_code_knows_its_api_by_its_own_name() -> None:
    """It is the agent jobs API: no number or origin of a document stands for it."""
    odd = re.compile(r"\b00[0-9] surface\b|\bthe seed'?s?\b")
    wrong = [str(path) for path in FILES if odd.search(path.read_text())]
    assert wrong == []
