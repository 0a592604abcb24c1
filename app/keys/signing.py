"""Signed documents: Ed25519 in JWS's compact form (RFC 7515, 9864), with keys as a JWK Set.
They are checked by whoever holds the public half (app/keys/receipt_check.py).
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from joserfc import jws
from joserfc.jwk import OKPKey

from app.keys.receipt_check import ALGORITHM, TYPE, okp
from app.ports import Clock
from db import signing_keys
from db.engine import Database
from db.signing_keys import Key, PublicKey
from payments.seal import Seal

CLOSED: Final = "closed:"  # how a private key begins that the operator's secret opens


def make_key() -> Key:
    """Return a new key pair, named by its thumbprint (RFC 7638)."""
    made = OKPKey.generate_key("Ed25519", auto_kid=False)
    halves = made.as_dict(private=True)
    return Key(made.thumbprint(), ALGORITHM, str(halves["x"]), str(halves["d"]))


async def active_key(db: Database, seal: Seal, clock: Clock) -> Key:
    """Return the key that signs now. The first who needs one makes it."""
    found = await signing_keys.active(db, ALGORITHM)
    if found is not None:
        return opened(found, seal)
    made, now = closed(make_key(), seal), clock()
    await db.run("signing_key", lambda tx: signing_keys.offer(tx, made, now))
    found = await signing_keys.active(db, ALGORITHM)
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
        header, body.encode(), okp(key, key.private_key), algorithms=[ALGORITHM]
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
