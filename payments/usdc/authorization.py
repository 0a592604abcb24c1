"""One signed order to move USDC (EIP-3009), hashed as the contract hashes it (EIP-712).

The contract lets a nonce of a payer be used once, whatever else the order says. A signature has
one form only: `s` in the lower half and `v` 27 or 28; another form of the same one is refused.
"""

import re
from dataclasses import dataclass
from typing import Final

from coincurve import PrivateKey, PublicKey

from payments.usdc.address import Address, address_of, address_of_key, keccak
from payments.usdc.network import Network
from pricing.money import MicroUsdc

LARGEST_WORD: Final = 2**256 - 1
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_TRANSFER: Final = keccak(
    b"TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,"
    b"uint256 validBefore,bytes32 nonce)"
)
_NONCE: Final = re.compile(r"0x[0-9a-f]{64}")
_SIGNATURE: Final = re.compile(r"0x[0-9a-fA-F]{130}")


@dataclass(frozen=True, slots=True)
class Authorization:
    """What a payer signs: so much, from here to there, within this time, once."""

    payer: Address
    payee: Address
    amount_microusdc: MicroUsdc
    valid_after_s: int  # in seconds since 1970, as blocks tell time; neither end is within
    valid_before_s: int
    nonce: str  # 0x and 64 hex digits in small letters; once for each payer

    def __post_init__(self) -> None:
        if _NONCE.fullmatch(self.nonce) is None:
            raise ValueError("a nonce is 32 bytes, in small hex digits")
        for number in (self.amount_microusdc, self.valid_after_s, self.valid_before_s):
            if not 0 <= number <= LARGEST_WORD:
                raise ValueError("a number of an authorization has 256 bits")

    def digest(self, network: Network) -> bytes:
        """Return what is signed: this order, to the contract of one chain."""
        words = (
            bytes.fromhex(self.payer[2:]).rjust(32, b"\0"),
            bytes.fromhex(self.payee[2:]).rjust(32, b"\0"),
            self.amount_microusdc.to_bytes(32, "big"),
            self.valid_after_s.to_bytes(32, "big"),
            self.valid_before_s.to_bytes(32, "big"),
            bytes.fromhex(self.nonce[2:]),
        )
        hashed = keccak(_TRANSFER + b"".join(words))
        return keccak(b"\x19\x01" + network.domain_separator + hashed)

    def is_signed_by_payer(self, network: Network, signature: str) -> bool:
        """Say whether the payer has signed this order to the contract of this chain."""
        return signer_of(self.digest(network), signature) == self.payer


def sign(private_key: bytes, authorization: Authorization, network: Network) -> str:
    """Return the payer's signature. ValueError for a key that is not the payer's."""
    if address_of_key(private_key) != authorization.payer:
        raise ValueError("an authorization is signed with the key of its payer")
    return signature_of(private_key, authorization.digest(network))


def signature_of(private_key: bytes, digest: bytes) -> str:
    """Return the signature of a hash: r, s and v, the same each time (RFC 6979)."""
    made = PrivateKey(private_key).sign_recoverable(digest, hasher=None)
    return "0x" + (made[:64] + bytes([27 + made[64]])).hex()


def signer_of(digest: bytes, signature: str) -> Address | None:
    """Return who signed a hash; None for what is no signature, or not in its one form."""
    if _SIGNATURE.fullmatch(signature) is None:
        return None
    raw = bytes.fromhex(signature[2:])
    if raw[64] not in (27, 28) or int.from_bytes(raw[32:64], "big") > _ORDER // 2:
        return None
    try:
        key = PublicKey.from_signature_and_message(
            raw[:64] + bytes([raw[64] - 27]), digest, hasher=None
        )
    except ValueError:  # no point of the curve lies there
        return None
    return address_of(key)
