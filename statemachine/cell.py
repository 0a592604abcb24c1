"""Which of several Boltworks, each a cell, has made an id or a secret: its first two digits say so.

A router that knows no secret reads them. Where there are no cells, nothing is marked.
"""

import re
from dataclasses import dataclass
from typing import Final

DIGITS: Final = 2  # of 16: there may be 256 cells
_CELL = re.compile("[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Cell:
    """A Boltwork among others, by its two digits; or, without digits, the only one.

    Raises ValueError for what is neither.
    """

    digits: str = ""

    def __post_init__(self) -> None:
        if self.digits and not _CELL.fullmatch(self.digits):
            raise ValueError("a cell is named by two digits of 0123456789abcdef")

    @property
    def number(self) -> int:
        """Return the cell as a byte has it; 0 where there are no cells."""
        return int(self.digits or "0", 16)

    def mark(self, chance: str) -> str:
        """Return a text of chance as this cell makes it: its first digits are the cell's."""
        return self.digits + chance[len(self.digits) :]

    def before(self, closed: str) -> str:
        """Return a text that nobody else can read with the cell before it, for the router."""
        return self.digits + closed

    def after(self, shown: str) -> str:
        """Return a text as it was before `before`. One of another cell's is returned as it is."""
        return shown.removeprefix(self.digits)


ALONE: Final = Cell()


def cell_of(name: str) -> Cell | None:
    """Return the cell whose digits an id begins with; None: no cell makes such an id."""
    begins = name[:DIGITS]
    return Cell(begins) if _CELL.fullmatch(begins) else None
