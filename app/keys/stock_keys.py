"""Keys of workers that speak another network's dialect: 22 characters, as its programs insist on.

They are 131 bits of chance and have no prefix and no checksum: there is no room for any. Of a key
only its sha256 is kept. In a cell the first two characters are the cell's: 119 bits are left.
"""

import hashlib
import re
import secrets
import string
from typing import Final

from statemachine.cell import ALONE, Cell

LENGTH: Final = 22
_DIGITS: Final = string.digits + string.ascii_letters
_SHAPE: Final = re.compile(r"[0-9A-Za-z]{22}")


def new_key(cell: Cell = ALONE) -> str:
    """Return a new key."""
    return cell.mark("".join(secrets.choice(_DIGITS) for _ in range(LENGTH)))


def kept_of(text: str) -> str | None:
    """Return the sha256 of a key, as hex; None for a text that can't be one of ours."""
    return hashlib.sha256(text.encode()).hexdigest() if _SHAPE.fullmatch(text) else None


def shown(key: str) -> str:
    """Return as much of a key as tells its holder which one it is."""
    return f"{key[:2]}…{key[-2:]}"
