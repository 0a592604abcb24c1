"""API keys: 256 bits in base62 after a prefix that says whose they are, and a checksum.

So scanners for leaked secrets know them, and one that was mistyped is refused before any database
is asked. Of a key only its sha256 is kept. In a cell its first two digits after the prefix are the
cell's, and 244 bits are chance.
"""

import hashlib
import re
import secrets
import zlib
from enum import StrEnum

from statemachine.cell import ALONE, Cell

BYTES = 32
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHANCE, _SUM, _SHOWN = 43, 6, 4  # characters
_SHAPE = re.compile(r"(sk_live_bw_|uk_|wk_)[0-9A-Za-z]{49}")


class Prefix(StrEnum):
    """What a key begins with."""

    SK = "sk_live_bw_"  # `bw_`: without it, scanners take it for another company's
    UK = "uk_"
    WK = "wk_"  # a worker's token: it opens no account


def new_key(prefix: Prefix, cell: Cell = ALONE) -> str:
    """Return a new key."""
    return key_of(prefix, secrets.token_bytes(BYTES), cell)


def key_of(prefix: Prefix, chance: bytes, cell: Cell = ALONE) -> str:
    """Return the key that a cell makes of these 256 bits."""
    body = prefix + cell.mark(_base62(int.from_bytes(chance, "big"), _CHANCE))
    return body + _checksum(body)


def looks_like_one(text: str) -> bool:
    """Say whether a text is meant as a key of ours: a macaroon or a token never begins so."""
    return text.startswith(tuple(Prefix))


def prefix_of(text: str) -> Prefix:
    """Return what a key, or what is shown of one, begins with."""
    return next(prefix for prefix in Prefix if text.startswith(prefix))


def kept_of(text: str) -> str | None:
    """Return the sha256 of a key, as hex; None for a text that can't be one of ours."""
    if not _SHAPE.fullmatch(text) or _checksum(text[:-_SUM]) != text[-_SUM:]:
        return None
    return hashlib.sha256(text.encode()).hexdigest()


def shown(key: str) -> str:
    """Return as much of a key as tells its holder which one it is."""
    prefix = key[: -_CHANCE - _SUM]
    return f"{prefix}{key[len(prefix) :][:_SHOWN]}…{key[-_SHOWN:]}"


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _SUM)


def _base62(number: int, width: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, len(_DIGITS))
        text = _DIGITS[digit] + text
    return text.rjust(width, "0")
