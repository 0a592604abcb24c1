"""Accounts of an EVM chain: the last twenty bytes of the Keccak hash of a public key.

An address is written with the capitals of EIP-55, which are its checksum. Small letters alone hold
none, and are taken; capitals that are wrong are a slip, and are not.
"""

import re
from typing import Final, NewType

import sha3
from coincurve import PrivateKey, PublicKey

Address = NewType("Address", str)  # 0x and 40 hex digits, capitals as EIP-55 has them

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")


def keccak(data: bytes) -> bytes:
    """Return the Keccak-256 hash that Ethereum uses; SHA3-256 is another one."""
    return bytes(sha3.keccak_256(data).digest())


def read_address(text: str) -> Address | None:
    """Return the address that a text is; None for any other text, or a checksum that is wrong."""
    if _ADDRESS.fullmatch(text) is None:
        return None
    written = _with_capitals(bytes.fromhex(text[2:]))
    return written if text in (written, written.lower()) else None


def address_of(key: PublicKey) -> Address:
    """Return the address of a public key."""
    return _with_capitals(keccak(key.format(compressed=False)[1:])[12:])


def address_of_key(private_key: bytes) -> Address:
    """Return the address that a private key signs for."""
    return address_of(PrivateKey(private_key).public_key)


def address_of_bytes(raw: bytes) -> Address:
    """Return the address that twenty bytes are."""
    if len(raw) != 20:
        raise ValueError("an address has twenty bytes")
    return _with_capitals(raw)


def _with_capitals(raw: bytes) -> Address:
    small = raw.hex()
    checked = keccak(small.encode()).hex()
    capitals = (c.upper() if int(k, 16) > 7 else c for c, k in zip(small, checked, strict=False))
    return Address("0x" + "".join(capitals))
