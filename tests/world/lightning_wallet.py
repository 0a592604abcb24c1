"""A Lightning wallet that signs codes (LUD-04)."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from payments.lnurl import decode
from tests.world.house_fixtures import Instance


def key_of(wallet: ec.EllipticCurvePrivateKey) -> str:
    """Return a wallet's key, compressed."""
    return wallet.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint).hex()


def signature(k1: str, wallet: ec.EllipticCurvePrivateKey) -> str:
    """Return a wallet's signature of a nonce."""
    return wallet.sign(bytes.fromhex(k1), ec.ECDSA(Prehashed(SHA256()))).hex()


async def scan_of(
    at: Instance, link: str, wallet: ec.EllipticCurvePrivateKey, **other: str
) -> dict[str, Any]:
    """Have a wallet scan a code and sign it; return what it is answered."""
    url = decode(link)
    assert url is not None
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert query["tag"] == "login"
    query |= {"sig": signature(query["k1"], wallet), "key": key_of(wallet), **other}
    answer = await at.http.get(urlsplit(url).path, params=query)
    assert answer.status_code == 200
    return dict(answer.json())
