"""Signatures of those who lend machines, under a change of where their pay goes: Ed25519."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def is_signed(message: bytes, key: str, signature: str) -> bool:
    """Say whether a key has signed this; both are hex digits, 64 and 128 of them."""
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        public.verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True
