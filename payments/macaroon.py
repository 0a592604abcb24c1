"""Macaroons (version 2, binary): read strictly, checked over every caveat in order, narrowed.

Whatever can't be read, or does not hold, is a value: `Invalid`, and never an exception.
"""

import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import pymacaroons
from pymacaroons.serializers import BinarySerializer

MOST_TEXT: Final = 4096
MOST_CAVEATS: Final = 32

_VERSION: Final = 2
_END, _LOCATION, _IDENTIFIER, _SIGNATURE = 0, 1, 2, 6
_GENERATOR: Final = b"macaroons-key-generator"  # how every library makes a key of a root key
_TO_STANDARD: Final = str.maketrans("-_", "+/")


@dataclass(frozen=True, slots=True)
class Invalid:
    """A credential that is not taken, and why, for whoever sent it.

    `missing_key` is the number of the root key it names, when that one is not on the ring.
    """

    reason: str
    missing_key: int | None = None


@dataclass(frozen=True, slots=True)
class Macaroon:
    """What a macaroon says. Nothing of it is true until its signature has been checked."""

    location: bytes
    identifier: bytes
    caveats: tuple[bytes, ...]
    signature: bytes = field(repr=False)


NO_MACAROON: Final = Invalid("It can't be read as a macaroon.")
TOO_LONG: Final = Invalid(f"A macaroon of ours is never longer than {MOST_TEXT} characters.")
TOO_MANY: Final = Invalid(f"It has more than {MOST_CAVEATS} caveats.")
NOT_SIGNED: Final = Invalid("Its signature does not hold.")


def read(text: str) -> Macaroon | Invalid:
    """Return what a text says as a macaroon: base64 of either alphabet, padded or not.

    There is one reading of a text and, but for alphabet and padding, one text of a reading.
    """
    if len(text) > MOST_TEXT:
        return TOO_LONG
    try:
        return _parse(_bytes_of(text))
    except (ValueError, IndexError):
        return NO_MACAROON


def _bytes_of(text: str) -> bytes:
    bare = text.rstrip("=")
    padding = -len(bare) % 4
    if len(text) - len(bare) not in (0, padding):
        raise ValueError("padding")
    standard = bare.translate(_TO_STANDARD)
    raw = binascii.a2b_base64(standard + "=" * padding, strict_mode=True)
    if binascii.b2a_base64(raw, newline=False).decode() != standard + "=" * padding:
        raise ValueError("spare bits")
    return raw


def _parse(raw: bytes) -> Macaroon | Invalid:
    if raw[0] != _VERSION:
        raise ValueError("version")
    location, at = _field(raw, 1, _LOCATION)
    identifier, at = _field(raw, at, _IDENTIFIER)
    at = _end(raw, at)
    caveats = []
    # A third party's caveat begins with a location or has more fields: there is no place for it.
    while raw[at] != _END:
        caveat, at = _field(raw, at, _IDENTIFIER)
        at = _end(raw, at)
        caveats.append(caveat)
        if len(caveats) > MOST_CAVEATS:
            return TOO_MANY
    signature, at = _field(raw, _end(raw, at), _SIGNATURE)
    if at != len(raw) or len(signature) != 32:
        raise ValueError("signature")
    return Macaroon(location, identifier, tuple(caveats), signature)


def _field(raw: bytes, at: int, kind: int) -> tuple[bytes, int]:
    """Return the data of the field that must begin here, and where it ends."""
    if raw[at] != kind:
        raise ValueError("field")
    size, begin = raw[at + 1], at + 2
    if size >= 0x80:
        high, begin = raw[begin], begin + 1
        if not 0 < high < 0x80:  # longer than it can be, or written longer than need be
            raise ValueError("size")
        size = size & 0x7F | high << 7
    if begin + size > len(raw):
        raise ValueError("size")
    return raw[begin : begin + size], begin + size


def _end(raw: bytes, at: int) -> int:
    if raw[at] != _END:
        raise ValueError("end")
    return at + 1


def chain(key: bytes, identifier: bytes, caveats: Sequence[bytes]) -> list[bytes]:
    """Return the signatures after no caveat, after the first, and so on to the last."""
    signature = hmac.digest(hmac.digest(_GENERATOR, key, "sha256"), identifier, "sha256")
    signatures = [signature]
    for caveat in caveats:
        signature = hmac.digest(signature, caveat, "sha256")
        signatures.append(signature)
    return signatures


def checked(key: bytes, macaroon: Macaroon) -> list[bytes] | Invalid:
    """Return the chain of a macaroon's signatures when it ends in the one that it shows."""
    signatures = chain(key, macaroon.identifier, macaroon.caveats)
    if hmac.compare_digest(signatures[-1], macaroon.signature):
        return signatures
    return NOT_SIGNED


def mint(location: str, identifier: bytes, key: bytes, caveats: Sequence[str] = ()) -> bytes:
    """Return a new macaroon in its binary form."""
    made = pymacaroons.Macaroon(
        location=location, identifier=identifier, key=key, version=pymacaroons.MACAROON_V2
    )
    return _with(made, caveats)


def narrow(text: str, caveats: Sequence[str]) -> str | Invalid:
    """Return the macaroon with more caveats, as its holder can add them without us."""
    macaroon = read(text)
    if isinstance(macaroon, Invalid):
        return macaroon
    raw = _with(BinarySerializer().deserialize_raw(_bytes_of(text)), caveats)
    narrowed = urlsafe(raw)
    again = read(narrowed)  # it may have become too long
    return again if isinstance(again, Invalid) else narrowed


def _with(macaroon: pymacaroons.Macaroon, caveats: Sequence[str]) -> bytes:
    for caveat in caveats:
        macaroon.add_first_party_caveat(caveat)
    raw: bytes = BinarySerializer().serialize_raw(macaroon)
    return raw


def urlsafe(raw: bytes) -> str:
    """Return the text form of session macaroons: urlsafe base64 without padding."""
    text = binascii.b2a_base64(raw, newline=False).decode().rstrip("=")
    return text.translate(str.maketrans("+/", "-_"))


def standard(raw: bytes) -> str:
    """Return the text form of L402 macaroons: standard base64 with its padding."""
    return binascii.b2a_base64(raw, newline=False).decode()
