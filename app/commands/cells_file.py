"""Which cells there are, as their operator writes it down: a small TOML, read strictly.

Each refusal is a sentence that says what is wrong, and where.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from statemachine.cell import Cell

MOST: Final = 64  # cells behind one router: a configuration that can still be read
BIND: Final = "127.0.0.1:8402"
_NAMES: Final = ("cells", "home", "closed", "bind", "certificate")
_PLACE: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9a-fA-F:.]{2,45}\]|\*)?:(\d{1,5})"
)
_FILE: Final = re.compile(r"/[A-Za-z0-9._/+-]{1,300}")


class BadCells(ValueError):
    """What is written there names no cells that a router could be made of."""


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells behind one router: the hosts of each, by the cell's digits."""

    hosts: Mapping[str, Sequence[str]]
    home: str  # where people sign in, and where spells are published
    closed: frozenset[str]  # which sell nothing new
    bind: str
    certificate: str | None

    @property
    def selling(self) -> list[str]:
        """Return the digits of the cells that new purchases go to."""
        return [digits for digits in self.hosts if digits not in self.closed]


def read(file: Path) -> Cells:
    """Return the cells that a file names. Raises BadCells."""
    try:
        written = tomllib.loads(file.read_text())
    except OSError as error:
        raise BadCells(f"{file} can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadCells(f"{file} is no TOML: {error}") from None
    return cells_of(written)


def cells_of(written: Mapping[str, Any]) -> Cells:
    """Return the cells that were written down so. Raises BadCells."""
    for name in written:
        if name not in _NAMES:
            raise BadCells(f"there is no `{name}` here: it is one of {', '.join(_NAMES)}")
    hosts = _hosts(written.get("cells"))
    home = written.get("home")
    if home not in hosts:
        raise BadCells("`home` must be the digits of one of the cells")
    closed = written.get("closed", [])
    if not isinstance(closed, list) or any(digits not in hosts for digits in closed):
        raise BadCells("`closed` must be a list of digits, each of one of the cells")
    if set(closed) >= set(hosts):
        raise BadCells("`closed` names every cell: then nothing could be bought")
    bind = written.get("bind", BIND)
    if not _is_place(bind):
        raise BadCells(f"`bind` must be an address and a port, like {BIND}")
    certificate = written.get("certificate")
    if certificate is not None and not (
        isinstance(certificate, str) and _FILE.fullmatch(certificate)
    ):
        raise BadCells("`certificate` must be the absolute path of a file, without spaces")
    return Cells(hosts, home, frozenset(closed), bind, certificate)


def _hosts(written: object) -> dict[str, list[str]]:
    """Return the hosts of each cell, in the order of their digits."""
    if not isinstance(written, dict) or not written:
        raise BadCells('`cells` must name them: 0a = ["10.0.0.11:8402"] below [cells]')
    if len(written) > MOST:
        raise BadCells(f"one router has {MOST} cells at most")
    known: dict[str, str] = {}
    for digits, places in written.items():
        try:
            Cell(digits)
        except ValueError as error:
            raise BadCells(f"`{digits}` is none: {error}") from None
        if digits == "":
            raise BadCells("a cell is named by two digits, and one has none")
        if not isinstance(places, list) or not places:
            raise BadCells(f"the cell {digits} needs a list of its hosts")
        for place in places:
            if not _is_place(place) or place.startswith((":", "*")):
                raise BadCells(
                    f"the cell {digits} has a host that is no address like 10.0.0.11:8402"
                )
            if place in known:
                raise BadCells(
                    f"{place} is named twice: in the cell {known[place]} and in {digits}"
                )
            known[place] = digits
    return {digits: list(written[digits]) for digits in sorted(written)}


def _is_place(text: object) -> bool:
    found = _PLACE.fullmatch(text) if isinstance(text, str) else None
    return found is not None and 0 < int(found[1]) < 65_536
