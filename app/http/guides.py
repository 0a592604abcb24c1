"""The guides: how to buy here, sell, lend and operate, for people and for models.

Each is a file of app/guides: Markdown with a title, and a paragraph that says what it is for. Their
code holds HERE, in whose place a server puts its own address; what concerns some servers only
stands between `<!-- if FACT -->` (or `<!-- if not FACT -->`) and `<!-- end -->`.
"""

import re
from collections.abc import Set
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "guides"
HERE: Final = "http://127.0.0.1:8402"
NAMES: Final = ("wallet", "l402", "session", "x402", "spell", "lend", "operate")
_ONLY: Final = re.compile(r"<!-- if (not )?([a-z]+) -->\n(.*?)<!-- end -->\n\n?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Guide:
    """One guide. Its text is whole: what concerns other servers is in it."""

    name: str
    title: str
    lead: str  # what it is for, in a paragraph of plain words
    text: str  # Markdown, with the title

    @property
    def path(self) -> str:
        """Where it is read; as Markdown with `.md` behind it."""
        return f"/docs/{self.name}"

    def on(self, base: str, facts: Set[str]) -> str:
        """Return the Markdown of it that is for a server at this address, of these facts."""

        def kept(part: re.Match[str]) -> str:
            wanted, fact, text = part[1] is None, part[2], part[3]
            return text if (fact in facts) is wanted else ""

        return _ONLY.sub(kept, self.text).replace(HERE, base)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a guide: prose where it has no language, else code, or the output of it."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """What stands below one heading of a guide."""

    title: str
    pieces: tuple[Piece, ...]

    @property
    def id(self) -> str:
        """The name of its place on the page."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@lru_cache(maxsize=1)
def guides() -> dict[str, Guide]:
    """Return all guides by their names, read once."""
    return {name: _read(name) for name in NAMES}


def _read(name: str) -> Guide:
    text = (FOLDER / f"{name}.md").read_text()
    title, lead, _ = text.split("\n\n", 2)
    return Guide(name, title.removeprefix("# "), " ".join(lead.split()), text)


def sections(markdown: str) -> list[Section]:
    """Return a guide's parts below its title and its lead: each heading's prose and code."""
    _, _, body = markdown.split("\n\n", 2)
    found: list[tuple[str, list[Piece]]] = []
    # A fence, and whatever stands before it: headings are looked for in prose alone.
    parts = re.split(r"(?ms)^```([a-z]+)\n(.*?)^```$", body)
    for number, part in enumerate(parts):
        match number % 3:
            case 0:
                _add_prose(part, found)
            case 2:
                found[-1][1].append(Piece(part, parts[number - 1]))
    return [Section(title, tuple(pieces)) for title, pieces in found]


def _add_prose(text: str, found: list[tuple[str, list[Piece]]]) -> None:
    first, *rest = re.split(r"(?m)^## ", text)
    if first.strip():
        found[-1][1].append(Piece(first.strip()))
    for each in rest:
        title, _, prose = each.partition("\n")
        found.append((title, [Piece(prose.strip())] if prose.strip() else []))
