"""Signed documents: Ed25519 in JWS's compact form (RFC 7515, 9864), with keys as a JWK Set.

Only one algorithm and one type of document is ever accepted, whatever a header claims.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from app.parts import Parts
from db import signing_keys
from db.signing_keys import Key, PublicKey
from payments.seal import Seal

ALGORITHM: Final = "Ed25519"
TYPE: Final = "boltwork-receipt+jws"
CLOSED: Final = "closed:"  # how a private key begins that the operator's secret opens


class NotGenuine(Exception):
    """The document does not say what was signed, or nobody we know signed it."""


class _Named(Protocol):
    @property
    def kid(self) -> str: ...
    @property
    def public_key(self) -> str: ...


def make_key() -> Key:
    """Return a new key pair, named by its thumbprint (RFC 7638)."""
    made = OKPKey.generate_key("Ed25519", auto_kid=False)
    halves = made.as_dict(private=True)
    return Key(made.thumbprint(), ALGORITHM, str(halves["x"]), str(halves["d"]))


async def active_key(parts: Parts) -> Key:
    """Return the key that signs now. The first who needs one makes it."""
    seal = parts.credentials.seal
    found = await signing_keys.active(parts.db, ALGORITHM)
    if found is not None:
        return opened(found, seal)
    made, now = closed(make_key(), seal), parts.clock()
    await parts.db.run("signing_key", lambda tx: signing_keys.offer(tx, made, now))
    found = await signing_keys.active(parts.db, ALGORITHM)
    assert found is not None, "one was there, or was made just now"
    return opened(found, seal)


def closed(key: Key, seal: Seal) -> Key:
    """Return a key as it is kept."""
    sealed = seal.close(f"signing key {key.kid}", key.private_key.encode())
    return replace(key, private_key=CLOSED + sealed)


def opened(key: Key, seal: Seal) -> Key:
    """Return a key that was kept. The first ones were kept as they are. Raises BadSecret."""
    if not key.private_key.startswith(CLOSED):
        return key
    private = seal.open(f"signing key {key.kid}", key.private_key.removeprefix(CLOSED))
    return replace(key, private_key=private.decode())


def sign(payload: dict[str, Any], key: Key) -> str:
    """Return the compact JWS of a payload: the same payload and key give the same text."""
    header = {"alg": ALGORITHM, "kid": key.kid, "typ": TYPE}
    body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return jws.serialize_compact(
        header, body.encode(), _okp(key, key.private_key), algorithms=[ALGORITHM]
    )


def jwk_set(keys: Sequence[PublicKey]) -> dict[str, Any]:
    """Return public keys as they are shown."""
    return {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": key.public_key,
                "kid": key.kid,
                "alg": key.algorithm,
                "use": "sig",
            }
            for key in keys
        ]
    }


def keys_in(jwks: dict[str, Any]) -> list[PublicKey]:
    """Return the keys of a JWK Set that can check a receipt; others are passed over."""
    entries = jwks.get("keys")
    return [
        PublicKey(entry["kid"], ALGORITHM, entry["x"])
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
        and (entry.get("kty"), entry.get("crv")) == ("OKP", "Ed25519")
        and isinstance(entry.get("kid"), str)
        and isinstance(entry.get("x"), str)
    ]


def verify(compact: str, keys: Sequence[PublicKey]) -> dict[str, Any]:
    """Return the payload of a compact JWS that one of these keys signed, or raise NotGenuine."""
    try:
        header = jws.extract_compact(compact.encode("ascii")).headers()
        if (header.get("alg"), header.get("typ")) != (ALGORITHM, TYPE):
            raise NotGenuine("It is not a receipt that was signed with Ed25519.")
        known = next((key for key in keys if key.kid == header.get("kid")), None)
        if known is None:
            raise NotGenuine("It was signed with a key that is not among those given.")
        signed = jws.deserialize_compact(compact, _okp(known), algorithms=[ALGORITHM])
        payload = json.loads(signed.payload)
    except (JoseError, ValueError, RecursionError) as broken:
        raise NotGenuine("Its signature does not hold.") from broken
    if not isinstance(payload, dict):
        raise NotGenuine("It holds no JSON object.")
    return payload


def _okp(key: _Named, private_key: str | None = None) -> OKPKey:
    halves: dict[str, str | list[str]] = {"kty": "OKP", "crv": "Ed25519", "x": key.public_key}
    if private_key is not None:
        halves["d"] = private_key
    return OKPKey.import_key(halves)
