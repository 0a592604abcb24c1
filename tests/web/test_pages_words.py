"""The pages' sentences are plain English, in the words of wallets and shops."""

import re
from pathlib import Path

import pytest

from tests.world.banned_words import banned_in, strings_of

WEB = Path(__file__).parents[2] / "app" / "web"


def said_by(path: Path) -> str:
    """Return what a file of the pages says to people."""
    if path.suffix == ".py":
        return "\n".join(strings_of(path))
    text = path.read_text()
    if path.suffix == ".js":
        return re.sub(r"(?m)(?<!:)//.*$", "", text)
    return re.sub(r"(?s)\{#.*?#\}", "", text)


def test_the_list_finds_what_is_banned() -> None:
    """Whole words only, whatever their case and the spaces between them."""
    assert banned_in("This session IS\n over.") and banned_in("try it for nothing")
    assert not banned_in("This overall atoldx is fine.")


@pytest.mark.parametrize(
    "path",
    sorted([*WEB.glob("*.py"), *WEB.glob("templates/*.html"), *WEB.glob("static/*.js")]),
    ids=lambda path: path.name,
)
def test_no_page_holds_a_banned_phrase(path: Path) -> None:
    """Neither a template, nor a string of the code behind it, nor one of its script."""
    assert banned_in(said_by(path)) == []
