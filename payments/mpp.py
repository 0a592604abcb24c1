"""MPP: the `Payment` scheme with a Lightning charge. The challenge names an invoice, and what
proves that it was paid is the whole challenge again, together with the preimage.

Nothing is stored for it. The id of a challenge is a MAC over all that matters in it, the name of
what it buys included, with a key that is derived from a root key: who has not been offered it can't
make one. A preimage alone proves nothing, for a payment's hash is no secret.
"""

import hashlib
import hmac
import re
import struct
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from payments.challenge import OWN_HEADER, BadProof, Offer, Problem, Proof, Shown, shown_in
from payments.key_ring import KeyRing
from pricing.money import msat_to_sats

SCHEME: Final = "payment"
METHOD: Final = "lightning"
INTENT: Final = "charge"
MOST_CHARS: Final = 16_384  # of a credential: the draft wants at least 4 KB of room

_KEY: Final = b"ids of payment challenges"  # it is no identifier of any macaroon
_NUMBER: Final = struct.Struct(">I")  # of the root key: the id begins with it
_ID_BYTES: Final = _NUMBER.size + 32
_BASE64 = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_ID = re.compile(r"[A-Za-z0-9_-]{48}")
_HEX = re.compile(r"[0-9a-f]{64}")  # a preimage or a hash; in small letters, says the draft
_REALM = re.compile(r"[A-Za-z0-9.:\[\]-]{1,253}")
_QUOTABLE = re.compile(r"[ !#-\[\]-~]*")  # printable ASCII that needs no escape within quotes
_RANGE = re.compile(
    r"(?P<method>[a-z]+|\*)/(?P<intent>[A-Za-z0-9-]+|\*)"
    r"(?:[ \t]*;[ \t]*q=(?P<q>0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?",
)
_NETWORKS: Final = {"lnbcrt": "regtest", "lntbs": "signet", "lntb": "testnet", "lnbc": "mainnet"}
_ECHOED: Final = ("id", "realm", "method", "intent", "request", "expires", "digest", "opaque")

OTHER_HEADER = (
    "Its challenge says in which header it is sent: in Payment-Authorization where it names that"
    " one, else in Authorization."
)


@dataclass(frozen=True, slots=True)
class _Echo:
    """A challenge as a credential gives it back. What it had not is an empty text."""

    id: str
    realm: str
    method: str
    intent: str
    request: str
    expires: str
    digest: str
    opaque: str
    header: str

    @property
    def bound(self) -> bytes:
        """What the id is the MAC of: the slots of the draft, in its order."""
        slots = [self.realm, self.method, self.intent, self.request]
        slots += [self.expires, self.digest, self.opaque, *filter(None, [self.header])]
        return "|".join(slots).encode()


class Mpp:
    """The challenge of MPP, over the root keys of a ring."""

    name = "Payment"

    def __init__(self, ring: KeyRing, clock: Callable[[], datetime]) -> None:
        self._ring, self._clock = ring, clock

    def offer(self, offer: Offer) -> list[tuple[str, str]]:
        """See Challenge. The id is made with the active root key of the ring."""
        number = self._ring.active
        if number is None:
            raise LookupError("there is no root key to make a challenge with")
        if not _REALM.fullmatch(offer.realm) or not _QUOTABLE.fullmatch(offer.description):
            raise ValueError("a realm is a host's name, and a description is plain text")
        expires = offer.expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        header = OWN_HEADER if offer.in_own_header else ""
        request, digest = _encoded(_request_of(offer)), offer.digest or ""
        echo = _Echo("", offer.realm, METHOD, INTENT, request, expires, digest, "", header)
        mac = self._mac(number, echo)
        assert mac is not None, "the active key is on the ring"
        told = {
            "id": _unpadded(_NUMBER.pack(number) + mac),
            "realm": echo.realm,
            "method": METHOD,
            "intent": INTENT,
            "request": request,
            "description": offer.description,
            "digest": digest,
            "expires": expires,
            "header": header,
        }
        line = ", ".join(f'{name}="{value}"' for name, value in told.items() if value)
        return [("WWW-Authenticate", f"{self.name} {line}")]

    def accept(self, headers: Mapping[str, str]) -> Proof | BadProof | None:
        """See Challenge. That a credential stands there twice is no harm."""
        sent = [shown for shown in shown_in(headers.items()) if shown.scheme == SCHEME]
        if not sent:
            return None
        if len(sent) > 1:
            return _malformed("There are two Payment credentials, and they differ. Send one.")
        read = _read(sent[0])
        return read if isinstance(read, BadProof) else self._accept(*read)

    def receipt(self, proof: Proof, settled_at: datetime) -> list[tuple[str, str]]:
        """See Challenge. It names the payment's hash, and never the preimage."""
        told = {
            "challengeId": proof.challenge_id,
            "method": METHOD,
            "reference": proof.payment_hash,
            "status": "success",
            "timestamp": settled_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return [("Payment-Receipt", _encoded(told)), ("Cache-Control", "private, no-store")]

    def _accept(self, echo: _Echo, preimage: str, came_in: str) -> Proof | BadProof:
        if (echo.method, echo.intent) != (METHOD, INTENT):
            return BadProof(
                f"Here one pays by {METHOD}/{INTENT}.", problem=Problem.METHOD_UNSUPPORTED
            )
        made = urlsafe_b64decode(echo.id)
        number = _NUMBER.unpack_from(made)[0]
        mac = self._mac(number, echo)
        if mac is None:
            reason = "It was made with a key that is not in use."
            return BadProof(reason, number, Problem.INVALID_CHALLENGE)
        if not hmac.compare_digest(mac, made[_NUMBER.size :]):
            reason = "Its challenge is none of ours, or was changed."
            return BadProof(reason, problem=Problem.INVALID_CHALLENGE)
        meant = self._meant(echo)
        if came_in != (echo.header or "Authorization").lower():
            return BadProof(OTHER_HEADER, problem=Problem.MALFORMED_CREDENTIAL, meant=meant)
        hashed = hashlib.sha256(bytes.fromhex(preimage)).hexdigest()
        if not hmac.compare_digest(hashed, meant.payment_hash):
            reason = "The preimage is not that of the challenge's payment."
            return BadProof(reason, problem=Problem.VERIFICATION_FAILED, meant=meant)
        return meant

    def _meant(self, echo: _Echo) -> Proof:
        """Return what a challenge of ours proves together with its preimage."""
        request = orjson.loads(_decoded(echo.request) or b"")
        return Proof(
            self.name,
            request["methodDetails"]["paymentHash"],
            reference=request["externalId"],
            digest=echo.digest or None,
            challenge_id=echo.id,
            is_over=datetime.fromisoformat(echo.expires) <= self._clock(),
        )

    def _mac(self, number: int, echo: _Echo) -> bytes | None:
        key = self._ring.derive(number, _KEY)
        return None if key is None else hmac.digest(key, echo.bound, "sha256")


def is_preferred(accept_payment: str) -> bool:
    """Say whether an Accept-Payment header names what we offer. One that can't be read does not.

    The most specific range counts, and `q=0` means that it is not wanted.
    """
    found: dict[int, float] = {}
    for text in accept_payment.split(","):
        read = _RANGE.fullmatch(text.strip(" \t"))
        if read is None:
            if text.strip(" \t"):
                return False
            continue
        if read["method"] in (METHOD, "*") and read["intent"] in (INTENT, "*"):
            specific = 2 * (read["method"] != "*") + (read["intent"] != "*")
            found[specific] = max(found.get(specific, 0.0), float(read["q"] or 1))
    return bool(found) and found[max(found)] > 0


def content_digest(body: bytes) -> str:
    """Return the digest of a body, as RFC 9530 writes it."""
    return f"sha-256=:{b64encode(hashlib.sha256(body).digest()).decode()}:"


def _request_of(offer: Offer) -> dict[str, Any]:
    """Return what the draft calls the request: how much is asked for, and by which invoice."""
    start = offer.bolt11[: offer.bolt11.rfind("1")].rstrip("0123456789munp")
    network = next((said for prefix, said in _NETWORKS.items() if start == prefix), None)
    details = {"invoice": offer.bolt11, "paymentHash": offer.payment_hash, "network": network}
    return {
        "amount": str(msat_to_sats(offer.amount_msat)),
        "currency": "sat",
        "externalId": offer.reference,
        "methodDetails": {name: value for name, value in details.items() if value},
    }


def _read(shown: Shown) -> tuple[_Echo, str, str] | BadProof:
    """Return the challenge and the preimage that a credential holds, and the header it came in."""
    raw = _decoded(shown.credential) if len(shown.credential) <= MOST_CHARS else None
    try:
        told = orjson.loads(raw or b"")
    except orjson.JSONDecodeError:
        return _malformed("A Payment credential is a JSON object in base64url.")
    challenge = told.get("challenge") if isinstance(told, dict) else None
    payload = told.get("payload") if isinstance(told, dict) else None
    if not isinstance(challenge, dict) or not isinstance(payload, dict):
        return _malformed("It needs the objects `challenge` and `payload`.")
    texts = {name: challenge.get(name, "") for name in (*_ECHOED, "header")}
    if not all(isinstance(text, str) and "|" not in text for text in texts.values()):
        return _malformed("Its `challenge` gives back what the 402 said, text for text.")
    if not all(texts[name] for name in _ECHOED[:5]):
        return _malformed("Its `challenge` needs id, realm, method, intent and request.")
    preimage = payload.get("preimage")
    if texts["method"] == METHOD and (
        not isinstance(preimage, str) or not _HEX.fullmatch(preimage)
    ):
        return _malformed("Its `payload` needs the preimage, as 64 hex digits in small letters.")
    if texts["method"] == METHOD and not _ID.fullmatch(texts["id"]):
        return BadProof("Its challenge is none of ours.", problem=Problem.INVALID_CHALLENGE)
    return _Echo(**texts), str(preimage), shown.header


def _malformed(reason: str) -> BadProof:
    return BadProof(reason, problem=Problem.MALFORMED_CREDENTIAL)


def _encoded(told: dict[str, Any]) -> str:
    """Return JSON in its canonical form (RFC 8785: the names are ASCII), in base64url."""
    return _unpadded(orjson.dumps(told, option=orjson.OPT_SORT_KEYS))


def _unpadded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes | None:
    """Return what base64url holds, padded or not; None for what no encoder has written."""
    bare = text.rstrip("=")
    if not _BASE64.fullmatch(text) or len(bare) % 4 == 1:
        return None
    data = urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    return data if _unpadded(data) == bare else None
