"""L402: a macaroon that commits to a payment hash, good together with the preimage of that hash.

The header is in the one shape that every client reads; what clients send is read as widely as the
specification allows. A caveat of others is skipped, as it demands; each of ours must hold.
"""

import hashlib
import hmac
import re
import secrets
import struct
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final

from payments.challenge import BadProof, Offer, Proof, shown_in
from payments.key_ring import KeyRing
from payments.macaroon import Invalid, Macaroon, checked, mint, read, standard

LOCATION: Final = "lsat"
VERSION: Final = 0
SERVICE: Final = "boltwork:0"  # and its tier
_IDENTIFIER: Final = struct.Struct(">H32s32s")  # version, payment hash, token id
_NUMBER: Final = struct.Struct(">I")  # of the root key: the first bytes of the token id
MOST_TOKENS: Final = 4

SCHEMES: Final = ("l402", "lsat")
_CREDENTIAL = re.compile(r"([^\s:]+):([0-9A-Fa-f]{64})")
_NOISE = str.maketrans("", "", " \t\"'")  # it stands in no macaroon and in no preimage
_TO_URLSAFE = str.maketrans("+/", "-_")
_HEX = re.compile(r"0[12](?:[0-9A-Fa-f]{2})+")  # no base64 of a macaroon begins like this
_RESOURCE = re.compile(r"[A-Za-z0-9._:/-]{1,200}")
_TIME = re.compile(r"[0-9]{1,15}")
_CAPABILITIES = "boltwork_capabilities"
_LISTS = ("services", _CAPABILITIES)
_EXPIRY = ("boltwork_valid_until", "expires_at")
# What a session's macaroon may be narrowed by, and a single purchase can't be.
_OF_SESSIONS = frozenset({"max_sats", "budget_sats", "tools", "endpoints"})


class L402:
    """The challenge of L402, over the root keys of a ring."""

    name = "L402"

    def __init__(
        self,
        ring: KeyRing,
        clock: Callable[[], datetime],
        chance: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._ring, self._clock, self._chance = ring, clock, chance

    def offer(self, offer: Offer) -> list[tuple[str, str]]:
        """See Challenge. The macaroon is made with the active root key of the ring."""
        number = self._ring.active
        if number is None:
            raise LookupError("there is no root key to make a macaroon with")
        if not _RESOURCE.fullmatch(offer.resource):
            raise ValueError("a resource needs a plain name")
        token_id = _NUMBER.pack(number) + self._chance(28)
        identifier = _IDENTIFIER.pack(VERSION, bytes.fromhex(offer.payment_hash), token_id)
        key = self._ring.derive(number, identifier)
        assert key is not None, "the active key is on the ring"
        caveats = [f"services={SERVICE}", f"{_CAPABILITIES}={offer.resource}"]
        token = standard(mint(LOCATION, identifier, key, caveats))
        # In this order: clients look for `macaroon` right after the scheme, and `invoice` next.
        line = f'L402 macaroon="{token}", invoice="{offer.bolt11}", version="0", token="{token}"'
        return [("WWW-Authenticate", line)]

    def accept(self, headers: Mapping[str, str]) -> Proof | BadProof | None:
        """See Challenge. Of several tokens, the first that is ours and holds is taken.

        One credential may stand there twice: clients send it under both names of the scheme.
        """
        sent = [shown.credential for shown in shown_in(headers.items()) if shown.scheme in SCHEMES]
        if not sent:
            return None
        read_as = {_read(credential) for credential in sent}
        if len(read_as) > 1:
            return BadProof("There are two L402 credentials, and they differ. Send one.")
        [credential] = read_as
        if credential is None:
            return BadProof("An L402 credential is a macaroon, a colon and 64 hex digits.")
        tokens, preimage = credential
        if len(tokens) > MOST_TOKENS:
            return BadProof(f"There are more than {MOST_TOKENS} tokens before the colon.")
        bad = None
        for token in tokens:
            found = self._accept(token, preimage)
            if isinstance(found, Proof):
                return found
            bad = bad or found
        return bad

    def receipt(self, proof: Proof, settled_at: datetime) -> list[tuple[str, str]]:
        """See Challenge. L402 has none."""
        return []

    def _accept(self, token: str, preimage: bytes) -> Proof | BadProof:
        macaroon = read(token)
        if isinstance(macaroon, Invalid):
            return BadProof(macaroon.reason)
        named = named_by(macaroon)
        if isinstance(named, Invalid):
            return BadProof(named.reason)
        number, payment_hash = named
        key = self._ring.derive(number, macaroon.identifier)
        if key is None:
            return BadProof("It was made with a key that is not in use.", number)
        signatures = checked(key, macaroon)
        if isinstance(signatures, Invalid):
            return BadProof(signatures.reason)
        if not hmac.compare_digest(hashlib.sha256(preimage).digest(), payment_hash):
            return BadProof("The preimage is not that of the macaroon's payment.")
        resources = _resources(macaroon.caveats, preimage, self._clock())
        if isinstance(resources, BadProof):
            return resources
        return Proof(self.name, payment_hash.hex(), resources)


def named_by(macaroon: Macaroon) -> tuple[int, bytes] | Invalid:
    """Return the root key and the payment hash that an L402 macaroon names. Nothing is checked."""
    if macaroon.location != LOCATION.encode() or len(macaroon.identifier) != _IDENTIFIER.size:
        return Invalid("It is not an L402 macaroon of ours.")
    version, payment_hash, token_id = _IDENTIFIER.unpack(macaroon.identifier)
    if version != VERSION:
        return Invalid("It is of an L402 version that is not known here.")
    return _NUMBER.unpack_from(token_id)[0], payment_hash


def _read(credential: str) -> tuple[tuple[str, ...], bytes] | None:
    """Return the tokens and the preimage of a credential, however they are written.

    Quotes and spaces are passed over, and a macaroon may be in hex, as other software writes it.
    """
    found = _CREDENTIAL.fullmatch(credential.translate(_NOISE))
    if found is None:
        return None
    return tuple(_plain(token) for token in found[1].split(",")), bytes.fromhex(found[2])


def _plain(token: str) -> str:
    """Return one writing of a token for all that mean the same."""
    if _HEX.fullmatch(token):
        return urlsafe_b64encode(bytes.fromhex(token)).decode().rstrip("=")
    return token.translate(_TO_URLSAFE)


def _resources(
    caveats: Sequence[bytes], preimage: bytes, now: datetime
) -> frozenset[str] | BadProof | None:
    """Return what the caveats leave of the resources, or which of them does not hold."""
    told: dict[str, list[str]] = {}
    for caveat in caveats:
        key, _, value = caveat.decode("utf-8", "replace").partition("=")
        told.setdefault(key, []).append(value)
    lists = {key: [frozenset(value.split(",")) for value in told.get(key, [])] for key in _LISTS}
    holds = {
        **{key: _narrows(lists[key]) for key in _LISTS},
        **{key: _lies_ahead(told.get(key, []), now) for key in _EXPIRY},
        "preimage": all(_is(value, preimage) for value in told.get("preimage", [])),
        **{key: key not in told for key in _OF_SESSIONS},
    }
    holds["services"] &= SERVICE in next(reversed(lists["services"]), {SERVICE})
    for key, well in holds.items():
        if not well:
            return BadProof(f"Its caveat {key} does not hold.")
    return lists[_CAPABILITIES][-1] if lists[_CAPABILITIES] else None


def _narrows(lists: Sequence[frozenset[str]]) -> bool:
    """Say whether each list has nothing that the one before it has not."""
    return all(later <= earlier for earlier, later in pairwise(lists))


def _lies_ahead(values: Sequence[str], now: datetime) -> bool:
    """Say whether all are times to come, none of them later than the one before it."""
    if not all(_TIME.fullmatch(value) for value in values):
        return False
    times = [int(value) for value in values]
    return times == sorted(times, reverse=True) and all(now.timestamp() < each for each in times)


def _is(value: str, preimage: bytes) -> bool:
    return hmac.compare_digest(value.lower().encode(), preimage.hex().encode())
