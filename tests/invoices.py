"""BOLT11 invoices, made as a test wants them, and taken apart."""

import hashlib
from datetime import UTC, datetime

import bolt11 as lightning
from bech32 import bech32_decode, bech32_encode

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEY = "11" * 32
PREIMAGE = b"\x07" * 32
HASH = hashlib.sha256(PREIMAGE).hexdigest()


def make(
    amount_msat: int | None = 21_000,
    network: str = "bcrt",
    expiry_s: int | None = 600,
    at: datetime = NOW,
    memo: str = "a refund",
) -> str:
    """Return a signed invoice."""
    tags = lightning.Tags()
    tags.add(lightning.TagChar.payment_hash, HASH)
    tags.add(lightning.TagChar.payment_secret, "22" * 32)
    tags.add(lightning.TagChar.description, memo)
    if expiry_s is not None:
        tags.add(lightning.TagChar.expire_time, expiry_s)
    amount = None if amount_msat is None else lightning.MilliSatoshi(amount_msat)
    return lightning.encode(lightning.Bolt11(network, int(at.timestamp()), tags, amount), KEY)


def with_checksum(hrp: str, data: list[int]) -> str:
    """Return a BOLT11 text whose checksum holds, whatever is in it."""
    return str(bech32_encode(hrp, data))


def taken_apart(text: str) -> tuple[str, list[int]]:
    """Return the readable part and the data of an invoice."""
    hrp, data = bech32_decode(text)
    assert hrp is not None and data is not None
    return hrp, data
