"""A receipt in the hands of whoever was shown it: checked against public keys, and read out.

Nothing here asks the server's database, or needs anything of it but the public keys.
Only one algorithm and one type of document is ever accepted, whatever a header claims.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from app.strict_json import BadInput, parse_object
from statemachine.owner import OwnerKind
from statemachine.public_id import public_id

ALGORITHM: Final = "Ed25519"
TYPE: Final = "boltwork-receipt+jws"


class NotGenuine(Exception):
    """The document does not say what was signed, or nobody we know signed it."""


class Named(Protocol):
    """The public half of a key pair, and its name; whoever keeps one may keep more."""

    @property
    def kid(self) -> str:
        """Its thumbprint."""

    @property
    def public_key(self) -> str:
        """The half that checks, base64url."""


class ReceiptKey(NamedTuple):
    """A key as a JWK Set showed it."""

    kid: str
    public_key: str


def keys_in(jwks: dict[str, Any]) -> list[ReceiptKey]:
    """Return the keys of a JWK Set that can check a receipt; others are passed over."""
    entries = jwks.get("keys")
    return [
        ReceiptKey(entry["kid"], entry["x"])
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
        and (entry.get("kty"), entry.get("crv")) == ("OKP", "Ed25519")
        and isinstance(entry.get("kid"), str)
        and isinstance(entry.get("x"), str)
    ]


def verify(compact: str, keys: Sequence[Named]) -> dict[str, Any]:
    """Return the payload of a compact JWS that one of these keys signed, or raise NotGenuine."""
    try:
        header = jws.extract_compact(compact.encode("ascii")).headers()
        if (header.get("alg"), header.get("typ")) != (ALGORITHM, TYPE):
            raise NotGenuine("It is not a receipt that was signed with Ed25519.")
        known = next((key for key in keys if key.kid == header.get("kid")), None)
        if known is None:
            raise NotGenuine("It was signed with a key that is not among those given.")
        signed = jws.deserialize_compact(compact, okp(known), algorithms=[ALGORITHM])
        payload = json.loads(signed.payload)
    except (JoseError, ValueError, RecursionError) as broken:
        raise NotGenuine("Its signature does not hold.") from broken
    if not isinstance(payload, dict):
        raise NotGenuine("It holds no JSON object.")
    return payload


def okp(key: Named, private_key: str | None = None) -> OKPKey:
    """Return a key as the library of signatures has it, with its private half if that is given."""
    halves: dict[str, str | list[str]] = {"kty": "OKP", "crv": "Ed25519", "x": key.public_key}
    if private_key is not None:
        halves["d"] = private_key
    return OKPKey.import_key(halves)


def check(document: bytes, keys: Sequence[Named]) -> dict[str, Any]:
    """Return what a receipt says: a JSON file as it was served, or the compact text alone.

    Raises NotGenuine unless one of these keys signed just that. What stands beside the signed
    text in a file must say the same, to the last field.
    """
    document = document.strip(b" \t\r\n")
    if not document.startswith(b"{"):
        return verify(_ascii(document), keys)
    try:
        served = parse_object(document)
    except BadInput as bad:
        raise NotGenuine(f"The file can't be read: {bad}") from bad
    if set(served) != {"receipt", "payload"} or not isinstance(served["receipt"], str):
        raise NotGenuine("The file is not a receipt: it must hold 'receipt' and 'payload'.")
    signed = verify(served["receipt"], keys)
    if not _same(signed, served["payload"]):
        raise NotGenuine("What the file shows as 'payload' is not what was signed.")
    return signed


def _ascii(document: bytes) -> str:
    try:
        return document.decode("ascii")
    except UnicodeDecodeError as odd:
        raise NotGenuine("The file is not a receipt.") from odd


def _same(one: Any, other: Any) -> bool:
    """Say whether two JSON values are the same, and not only equal: 1 is neither 1.0 nor true."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def lines(said: dict[str, Any]) -> list[str]:
    """Return what a receipt says, in plain lines."""
    if said.get("kind") == OwnerKind.BATCH:
        return _batch_lines(said)
    name = said["publicId"] if "publicId" in said else public_id(said["jobId"])
    told = [
        f"job {name}: {said['state']} at {said['completedAt']}",
        f"issued at {said['issuedAt']}",
        f"request sha256 {said['requestSha256']}",
    ]
    if "resultSha256" in said:
        told.append(f"result sha256 {said['resultSha256']}")
    if "quote" in said:
        told += _quote_lines(said["quote"])
    if "usage" in said:
        usage, charge = said["usage"], said["charge"]
        told.append(f"used {usage['inputTokens']} tokens in, {usage['outputTokens']} out")
        told.append(
            f"charge {charge['totalMsat']} msat ({charge['chargeMicrousd']} micro-USD), surplus"
            f" {charge['surplusMsat']} msat"
        )
    told += [*map(_payment_line, said["payments"]), *map(_refund_line, said["refunds"])]
    if "authorization" in said:
        told.append(f"paid by the authorization {said['authorization']}")
    unit = "microusdc" if "authorization" in said else "msat"
    of = unit.title()
    told.append(
        f"in all: paid {said[f'paid{of}']} {unit}, kept {said[f'charged{of}']} {unit}, owed or sent"
        f" back {said[f'refunded{of}']} {unit}"
    )
    return told


def _batch_lines(said: dict[str, Any]) -> list[str]:
    """Return the same of a batch: each of its items has a line."""
    unit = str(said["asset"])
    of = unit.title()
    told = [
        f"batch {said['publicId']}: {said['state']} at {said['completedAt']}",
        f"issued at {said['issuedAt']}",
    ]
    if "quote" in said:
        quote = said["quote"]
        told.append(f"quote {quote[f'total{of}']} {unit} ({quote['totalMicrousd']} micro-USD)")
        if "btcPrice" in quote:
            told.append(_price_line(quote["btcPrice"]))
    if "cast" in said:
        cast = said["cast"]
        told.append(
            f"cast {cast['publicId']} of the spell {cast['spell']}, version {cast['version']}: of"
            f" what was charged {cast[f'author{of}']} {unit} are its author's"
        )
    for item in said["items"]:
        end = f"file sha256 {item['artifactSha256']}" if "artifactSha256" in item else "no file"
        told.append(
            f"item {item['place']} ({item['model']}): {item['state']}, charged"
            f" {item[f'charged{of}']} of {item[f'price{of}']} {unit}, prompt sha256"
            f" {item['promptSha256']}, {end}"
        )
    if "authorization" in said:
        told.append(f"paid by the authorization {said['authorization']}")
    elif "paidFrom" in said:
        told.append(f"paid from the balance of the {said['paidFrom']}")
    told += [*map(_payment_line, said["payments"]), *map(_refund_line, said["refunds"])]
    told.append(
        f"in all: paid {said[f'paid{of}']} {unit}, kept {said[f'charged{of}']} {unit}, owed or sent"
        f" back {said[f'refunded{of}']} {unit}"
    )
    return told


def _payment_line(payment: dict[str, Any]) -> str:
    return (
        f"paid {payment['receivedMsat']} msat for {payment['for']} at {payment['settledAt']},"
        f" payment hash {payment['paymentHash']}"
    )


def _refund_line(refund: dict[str, Any]) -> str:
    unit = "microusdc" if "amountMicrousdc" in refund else "msat"
    hashed = f", payment hash {refund['paymentHash']}" if "paymentHash" in refund else ""
    amount = refund[f"amount{unit.title()}"]
    return f"refund {amount} {unit} ({refund['reason']}): {refund['state']}{hashed}"


def _price_line(price: dict[str, Any]) -> str:
    note = f" ({price['note']})" if price["note"] else ""
    return (
        f"  bitcoin at {price['microusdPerBtc']} micro-USD, {', '.join(price['sources']) or 'no'}"
        f" source, {price['at']}{note}"
    )


def _quote_lines(quote: dict[str, Any]) -> list[str]:
    return [
        f"quote {quote['totalMsat']} msat: {quote['model']}, {quote['inputTokens']} tokens in at"
        f" {quote['inputMicrousdPerMillionTokens']} micro-USD a million, at most"
        f" {quote['maxOutputTokens']} out at {quote['outputMicrousdPerMillionTokens']}",
        f"  tokens {quote['tokensMicrousd']} + infrastructure {quote['infraMicrousd']} micro-USD,"
        f" margin {quote['marginPct']} %: {quote['chargeMicrousd']} micro-USD",
        _price_line(quote["btcPrice"]),
    ]
