"""Root keys by number, in memory. They never leave the ring: only what is derived from one does."""

import hmac
from collections.abc import Mapping


class KeyRing:
    """Every root key that is known, and which one makes new credentials. It shows none of them."""

    __slots__ = ("_active", "_keys")

    def __init__(self) -> None:
        self._keys: dict[int, bytes] = {}
        self._active: int | None = None

    def __repr__(self) -> str:
        return f"KeyRing({len(self._keys)} keys, active {self._active})"

    @property
    def active(self) -> int | None:
        """The number of the key for new credentials; None while there is no key."""
        return self._active

    @property
    def numbers(self) -> frozenset[int]:
        """The numbers of the keys on the ring."""
        return frozenset(self._keys)

    def hold(self, keys: Mapping[int, bytes], active: int | None, keep: frozenset[int]) -> None:
        """Add keys, let go of all whose number is not to be kept, and name the active one."""
        together = self._keys | dict(keys)
        self._keys = {number: key for number, key in together.items() if number in keep}
        self._active = active if active in self._keys else None

    def derive(self, number: int, name: bytes) -> bytes | None:
        """Return the 32 bytes that a root key has for a name; None when it is not on the ring."""
        key = self._keys.get(number)
        return None if key is None else hmac.digest(key, name, "sha256")
