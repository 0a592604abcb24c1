"""LNURL-auth (LUD-04): a wallet proves a key of its own, made for one domain, by signing a nonce.

The signature is over the 32 bytes of `k1` themselves: no message, and no hash of one.
"""

import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

_K1 = re.compile("[0-9a-f]{64}")
_KEY = re.compile("0[23][0-9a-f]{64}")  # compressed
_SIGNATURE = re.compile("(?:[0-9a-f]{2}){8,72}")  # DER


def is_signed(k1: str, key: str, signature: str) -> bool:
    """Say whether this is the signature of a nonce by a key; all three are lower-case hex."""
    if not (_K1.fullmatch(k1) and _KEY.fullmatch(key) and _SIGNATURE.fullmatch(signature)):
        return False
    try:
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), bytes.fromhex(key))
        public.verify(bytes.fromhex(signature), bytes.fromhex(k1), ec.ECDSA(Prehashed(SHA256())))
    except (ValueError, InvalidSignature):
        return False
    return True
