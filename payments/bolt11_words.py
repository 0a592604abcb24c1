"""What an invoice is made of: amount, date, tagged fields, and the signature over them (BOLT 11).

Its checksum is looked at by `bech32`, its signature by `coincurve`. What lies between is read
here, as it is bits: a general reader of bit streams takes ten times as long, and every invoice
that we make or are handed goes through this.
"""

import re
from dataclasses import dataclass

import bech32
from coincurve import PublicKey, verify_signature
from coincurve.ecdsa import cdata_to_der, deserialize_recoverable, recoverable_convert

# The charset of the data has no "1", so the last one separates.
_SHAPE = re.compile(
    r"(?P<hrp>ln(?P<network>bcrt|bc|tbs|tb)(?P<amount>[0-9]{1,19}[munp]?)?)"
    r"1[qpzry9x8gf2tvdw0s3jn54khce6mua7l]+"
)
_DATE_WORDS, _SIGNATURE_WORDS = 7, 104  # 35 bits and 520
_SIZES = {"p": 52, "h": 52, "s": 52, "n": 53}  # of fields that have but one
_NEVER_EMPTY = "cf"  # other readers, those of rails among them, fail on one without content
# Picobitcoin to millisatoshis is a division, all others a product.
_MSAT_OF = {"": 10**11, "m": 10**8, "u": 10**5, "n": 100}


class Malformed(ValueError):
    """These words are no invoice. The message tells a person why, and what to do."""


@dataclass(frozen=True, slots=True)
class Words:
    """An invoice taken apart. Its checksum holds; whose signature it has, `signed_by` says."""

    hrp: str  # with the network and the amount
    network: str  # "bc", "tb", "tbs", "bcrt"
    amount: str  # as it is written: digits, and at most one of "munp"
    data: list[int]  # words of five bits, without the signature
    signature: bytes  # 64 octets, and a recovery id
    fields: dict[str, list[int]]  # the first of each tagged field, in the order in which they stand

    @property
    def date(self) -> int:
        """Seconds since 1970."""
        return number(self.data[:_DATE_WORDS])

    @property
    def amount_msat(self) -> int | None:
        """What is asked for; None: no amount is named."""
        if not self.amount:
            return None
        digits, unit = int(self.amount.rstrip("munp")), self.amount.lstrip("0123456789")
        return digits // 10 if unit == "p" else digits * _MSAT_OF[unit]

    def octets(self, letter: str) -> bytes | None:
        """Return a field as octets, without the bits that fill its last word; None: not there."""
        return None if letter not in self.fields else _octets(self.fields[letter], filled=False)

    def signed_by(self) -> str:
        """Return the public key of the node that signed this, 66 hex digits; or Malformed.

        Where the invoice names its node (field `n`), it must be that one's; its key is not
        recovered then (BOLT 11, Requirements of a reader).
        """
        message = self.hrp.encode() + _octets(self.data, filled=True)
        named = self.octets("n")
        if named is None:
            return _recovered(self.signature, message)
        if not _is_of(named, self.signature, message):
            raise Malformed(
                "The signature of this invoice is not of the node that it names. Make a new one."
            )
        return named.hex()


def _recovered(signature: bytes, message: bytes) -> str:
    try:
        return PublicKey.from_signature_and_message(signature, message).format().hex()
    except ValueError as broken:
        raise unreadable() from broken


def _is_of(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        plain = recoverable_convert(deserialize_recoverable(signature))
        return verify_signature(cdata_to_der(plain), message, key)
    except ValueError:
        return False


def unreadable() -> Malformed:
    """Return what is said of a field or a signature that is none."""
    return Malformed(
        "This invoice is damaged: its signature or one of its fields can't be read. Copy it"
        " again, or make a new one."
    )


def parse(text: str) -> Words:
    """Take an invoice in lower case apart; Malformed when it can't be."""
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise Malformed(
            "That is not a Lightning invoice. Paste one that starts with lnbc, lntb or lnbcrt."
        )
    amount = shape["amount"] or ""
    _check_amount(amount)
    _, words = bech32.bech32_decode(text)
    if words is None:
        raise Malformed(
            "This invoice is damaged: its checksum does not hold, so a part of it is missing or was"
            " changed. Copy it again."
        )
    if len(words) < _DATE_WORDS + _SIGNATURE_WORDS:
        raise Malformed("This invoice is damaged: it is too short to be signed. Copy it again.")
    data = words[:-_SIGNATURE_WORDS]
    fields = _fields(data[_DATE_WORDS:])
    if any(fields.get(letter) == [] for letter in _NEVER_EMPTY):
        raise unreadable()
    return Words(
        hrp=shape["hrp"],
        network=shape["network"],
        amount=amount,
        data=data,
        signature=_octets(words[-_SIGNATURE_WORDS:], filled=True),
        fields=fields,
    )


def _check_amount(amount: str) -> None:
    digits = amount.rstrip("munp")
    if digits and not int(digits):
        raise Malformed("This invoice asks for 0 sats. Make one that names the amount.")
    if digits.startswith("0"):
        raise Malformed(
            "The amount of this invoice begins with a zero, which the standard forbids. Make a new"
            " one with another wallet."
        )
    if amount.endswith("p") and not amount.endswith("0p"):
        raise Malformed(
            "This invoice asks for a part of a thousandth of a sat, which nobody can pay. "
            "Make one for whole sats."
        )


def _fields(tagged: list[int]) -> dict[str, list[int]]:
    fields: dict[str, list[int]] = {}
    at, end = 0, len(tagged)
    while at + 3 <= end:
        letter, size = bech32.CHARSET[tagged[at]], tagged[at + 1] * 32 + tagged[at + 2]
        at += 3
        if at + size > end:
            break
        # One of another size is not that field, and is skipped.
        if _SIZES.get(letter, size) == size:
            fields.setdefault(letter, tagged[at : at + size])
        at += size
    else:
        if at == end:
            return fields
    raise Malformed("This invoice is damaged: one of its fields is cut. Make a new one.")


def number(words: list[int]) -> int:
    """Return what words of five bits are as a number, the highest first."""
    value = 0
    for word in words:
        value = value * 32 + word
    return value


def _octets(words: list[int], *, filled: bool) -> bytes:
    """Return words as octets: what is left of the last is filled with zeros, or cut off."""
    bits = 5 * len(words)
    if filled:
        whole = -(-bits // 8)
        return (number(words) << 8 * whole - bits).to_bytes(whole, "big")
    return (number(words) >> bits % 8).to_bytes(bits // 8, "big")
