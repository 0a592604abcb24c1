"""BOLT11 invoices, made as a test wants them, and taken apart."""

import hashlib
from datetime import UTC, datetime

import bolt11 as lightning
from bech32 import CHARSET, bech32_decode, bech32_encode, convertbits
from coincurve import PrivateKey

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


def signed(hrp: str, words: list[int], key: str = KEY) -> str:
    """Return an invoice of these words (a date, then its fields), signed by a node."""
    bits = "".join(f"{word:05b}" for word in words)
    octets = bytes(int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8))
    signature = PrivateKey(bytes.fromhex(key)).sign_recoverable(hrp.encode() + octets)
    packed = convertbits(signature, 8, 5)
    assert packed is not None
    return with_checksum(hrp, words + packed)


def field(letter: str, words: list[int]) -> list[int]:
    """Return one tagged field."""
    return [CHARSET.index(letter), *divmod(len(words), 32), *words]


def words_of(octets: bytes) -> list[int]:
    """Return octets in words of five bits."""
    packed = convertbits(octets, 8, 5)
    assert packed is not None
    return list(packed)


def number(value: int) -> list[int]:
    """Return a number in as few words as it takes."""
    words: list[int] = []
    while value:
        value, word = divmod(value, 32)
        words.insert(0, word)
    return words


DATE = [int(f"{int(NOW.timestamp()):035b}"[i : i + 5], 2) for i in range(0, 35, 5)]
