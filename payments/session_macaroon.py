"""The credential of a session: which session it is for, and what its caveats leave of it.

It says who may; how much there is, and whether it was revoked, says the session's row alone.
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from payments.grant import Grant, granted
from payments.key_ring import KeyRing
from payments.macaroon import Invalid, Macaroon, checked, mint, read, urlsafe

LOCATION: Final = "boltwork"
KIND: Final = 1  # of the identifier, and its version; an L402 identifier begins with a zero
_IDENTIFIER: Final = struct.Struct(">BI16s16s")  # kind, root key, session, nonce

NOT_OURS: Final = Invalid("It is not the macaroon of a session.")


@dataclass(frozen=True, slots=True)
class Named:
    """What an identifier names, signed or not."""

    key_number: int
    session_id: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Verified:
    """A credential that we made, or that was narrowed from one, and what it allows."""

    session_id: str
    nonce: str
    key_number: int
    grant: Grant


def make(ring: KeyRing, session_id: str, nonce: str) -> str:
    """Return the whole credential of a session, made with the active root key.

    Both arguments are 32 hex digits. The same ones and the same root key give the same text.
    """
    number = ring.active
    if number is None:
        raise LookupError("there is no root key to make a macaroon with")
    named = bytes.fromhex(session_id), bytes.fromhex(nonce)
    if [len(part) for part in named] != [16, 16]:
        raise ValueError("a session and its nonce are named by 16 bytes each")
    identifier = _IDENTIFIER.pack(KIND, number, *named)
    key = ring.derive(number, identifier)
    assert key is not None, "the active key is on the ring"
    return urlsafe(mint(LOCATION, identifier, key))


def named_by(macaroon: Macaroon) -> Named | Invalid:
    """Return what the identifier of a session's macaroon names. Its signature is not looked at."""
    if macaroon.location != LOCATION.encode() or len(macaroon.identifier) != _IDENTIFIER.size:
        return NOT_OURS
    kind, number, session_id, nonce = _IDENTIFIER.unpack(macaroon.identifier)
    return Named(number, session_id.hex(), nonce.hex()) if kind == KIND else NOT_OURS


def link_of(signature: bytes) -> str:
    """Return the public name of a credential: who knows it can name it, and do nothing else."""
    return hashlib.sha256(signature).hexdigest()


def verify(text: str, ring: KeyRing) -> Verified | Invalid:
    """Return what a text allows as the credential of a session. Its time is not looked at here."""
    macaroon = read(text)
    if isinstance(macaroon, Invalid):
        return macaroon
    named = named_by(macaroon)
    if isinstance(named, Invalid):
        return named
    key = ring.derive(named.key_number, macaroon.identifier)
    if key is None:
        return Invalid("It was made with a key that is not in use.", named.key_number)
    signatures = checked(key, macaroon)
    if isinstance(signatures, Invalid):
        return signatures
    grant = granted(macaroon.caveats, [link_of(signature) for signature in signatures])
    if isinstance(grant, Invalid):
        return grant
    return Verified(named.session_id, named.nonce, named.key_number, grant)
