"""Root keys by number, in memory. They never leave the ring: only what is derived from one does.

Credentials name their root key in four bytes. Of several Boltworks each writes its own number (its
cell's) into the first of them, so that whoever passes requests on reads whose a credential is.
"""

import hmac
from collections.abc import Mapping
from typing import Final

_BITS: Final = 24  # of a key's own number, below the cell's
_OWN: Final = (1 << _BITS) - 1


def parted(number: int) -> tuple[int, int]:
    """Return the cell and the key that a credential's number names; the cell is 0 without cells."""
    return number >> _BITS, number & _OWN


class KeyRing:
    """Every root key that is known, and which one makes new credentials. It shows none of them."""

    __slots__ = ("_active", "_cell", "_keys")

    def __init__(self, cell: int = 0) -> None:
        self._cell = cell
        self._keys: dict[int, bytes] = {}
        self._active: int | None = None

    def __repr__(self) -> str:
        return f"KeyRing({len(self._keys)} keys, active {self._active})"

    @property
    def active(self) -> int | None:
        """The number of the key for new credentials, as they name it; None while there is none."""
        return None if self._active is None else self._cell << _BITS | self._active

    @property
    def numbers(self) -> frozenset[int]:
        """The numbers of the keys on the ring."""
        return frozenset(self._keys)

    def hold(self, keys: Mapping[int, bytes], active: int | None, keep: frozenset[int]) -> None:
        """Add keys, let go of all whose number is not to be kept, and name the active one."""
        together = self._keys | dict(keys)
        self._keys = {number: key for number, key in together.items() if number in keep}
        self._active = active if active in self._keys else None

    def own(self, number: int) -> int | None:
        """Return the number of a key of ours, as it is kept; None: it names another cell's."""
        cell, own = parted(number)
        return own if cell in (0, self._cell) else None

    def derive(self, number: int, name: bytes) -> bytes | None:
        """Return the 32 bytes that a root key has for a name; None when it is not on the ring.

        The number is as credentials name it. Those that were made before there were cells hold.
        """
        own, (cell, _) = self.own(number), parted(number)
        key = None if own is None else self._keys.get(own)
        if key is None:
            return None
        # Another cell's number in the same credential is another key: no text has two that hold.
        bound = name + bytes([cell]) if cell else name
        return hmac.digest(key, bound, "sha256")
