"""Signatures under a change of where pay goes: they hold for these bytes, and for no others."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from app.keys.pay_signatures import is_signed

# RFC 8032, section 7.1, test 2: secret key, public key, message, signature.
SEED = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
PUBLIC = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
SIGNED = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def test_a_signature_is_the_rfcs() -> None:
    """The example of RFC 8032 holds."""
    assert is_signed(b"\x72", PUBLIC, SIGNED)
    assert not is_signed(b"", PUBLIC, SIGNED)
    assert not is_signed(b"\x72", "f" * 64, SIGNED)


@given(st.binary(), st.binary(), st.integers(0, 511))
def test_a_signature_holds_for_one_message(message: bytes, other: bytes, bit: int) -> None:
    """Of no other text, and with no bit of it another."""
    signature = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SEED)).sign(message)
    assert is_signed(message, PUBLIC, signature.hex())
    assert is_signed(other, PUBLIC, signature.hex()) is (other == message)
    turned = (int.from_bytes(signature, "big") ^ (1 << bit)).to_bytes(64, "big")
    assert not is_signed(message, PUBLIC, turned.hex())
