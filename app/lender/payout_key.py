"""The key of a worker that signs where its pay goes (Ed25519). It is made here, and kept beside the
worker's token: the server knows its public half alone, and redirects no pay for who has the token.
"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # as joserfc has it


def make() -> str:
    """Return a new private key, 64 hex digits."""
    return Ed25519PrivateKey.generate().private_bytes_raw().hex()


def public_half(private: str) -> str:
    """Return what the server is told of a private key, 64 hex digits."""
    return _read(private).public_key().public_bytes_raw().hex()


def sign(private: str, worker_id: str, signed: int, pay_to: str) -> str:
    """Return the signature, 128 hex digits, under a change of where a worker's pay in bitcoin goes.

    `signed`: how many changes it has signed before. The last of the five lines, an address for USDC
    that stays as it is, is empty.
    """
    lines = "boltwork worker pay", worker_id, str(signed), pay_to, ""
    return _read(private).sign("\n".join(lines).encode()).hex()


def _read(private: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private))
