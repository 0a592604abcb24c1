"""Decode and check an invoice before anything is paid.

What somebody else wrote is read strictly: any text gives an `Invoice` or a `BadInvoice`, and
nothing else. Decoding costs about 2 ms of CPU, so decode once and keep what it said.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import bech32
import bolt11
from bolt11.exceptions import Bolt11SignatureVerifyException

from payments import pasted
from pricing.money import MSAT_PER_SAT, Msat, ceil_div, sats_to_msat, split_sats

LONGEST_BYTES = 2_048  # real invoices have 250 to 700 characters; decoding is a CPU lever
MOST_MSAT = 21_000_000 * 100_000_000 * MSAT_PER_SAT  # all the bitcoin there will be
LEAST_FEE_LIMIT_MSAT = Msat(1_000)

# Stricter than the library, which takes mixed case and anything after the amount. Its charset
# has no "1", so the last one separates.
_SHAPE = re.compile(
    r"ln(?P<network>bcrt|bc|tbs|tb)(?P<amount>[0-9]{1,19}[munp]?)?"
    r"1[qpzry9x8gf2tvdw0s3jn54khce6mua7l]+"
)
_LETTERS = bech32.CHARSET
_DATE_WORDS, _SIGNATURE_WORDS = 7, 104
_SIZES = {"p": 52, "h": 52, "s": 52, "n": 53}  # of fields that have but one
_BLINDED = "5"  # bLIP 39
DEFAULT_EXPIRY_S = 3_600
# What an invoice may require of whoever pays it (BOLT 9): the onion's form, a payment secret,
# payment in parts, a blinded route, attributable failures, metadata.
_KNOWN = frozenset({8, 14, 16, 24, 36, 48})
_NETWORK_NAMES = {"bc": "Bitcoin", "tb": "testnet", "tbs": "signet", "bcrt": "regtest"}


class BadInvoice(ValueError):
    """This invoice will not be paid. The message tells a person why, and what to do."""


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a BOLT11 invoice says. Its checksum and its signature hold."""

    bolt11: str  # lower case, without "lightning:"
    payment_hash: str  # 64 lower-case hex digits
    amount_msat: Msat | None
    expires_at: datetime  # aware, UTC
    network: str  # "bc", "tb", "tbs", "bcrt"
    payee: str  # the public key of the node that signed it, hex
    description: str
    description_hash: str | None = None  # 64 lower-case hex digits, in place of a description


def plain(text: str) -> str:
    """Return the invoice in lower case, without what a wallet wraps it in."""
    return _unwrapped(text)[0]


def _unwrapped(text: str) -> tuple[str, Msat | None]:
    """Return the invoice in a text, and what a BIP21 code round it asks for."""
    if len(text) > pasted.LONGEST:
        raise _too_long()
    within = pasted.read(text)
    if within.is_bitcoin:
        raise BadInvoice(
            "This code is for a payment on the Bitcoin chain, and holds no Lightning invoice. Have"
            " your wallet make a Lightning invoice."
        )
    if len(within.text) > LONGEST_BYTES:
        raise _too_long()
    if within.text not in (within.text.lower(), within.text.upper()):
        raise BadInvoice(
            "This invoice mixes capital and small letters, so it was damaged on the way. "
            "Copy it again."
        )
    return within.text.lower(), within.amount_msat


def _too_long() -> BadInvoice:
    return BadInvoice(
        f"That is too long to be an invoice: at most {LONGEST_BYTES} characters are read. "
        "Copy the invoice again, and nothing else."
    )


def decode(text: str) -> Invoice:
    """Return what the invoice says; BadInvoice when it can't be paid, with the reason."""
    text, around_msat = _unwrapped(text)
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise BadInvoice(
            "That is not a Lightning invoice. Paste one that starts with lnbc, lntb or lnbcrt."
        )
    _check_amount(shape["amount"] or "")
    fields = _fields(text)
    expiry_s = _expiry_s(fields)
    try:
        read = bolt11.decode(text, ignore_exceptions=True)
    except Bolt11SignatureVerifyException as broken:
        raise BadInvoice(
            "The signature of this invoice is not of the node that it names. Make a new one."
        ) from broken
    # The library raises a dozen classes, down to ValueError and OverflowError of its own parts.
    except Exception as broken:
        raise BadInvoice(
            "This invoice is damaged: its signature or one of its fields can't be read. Copy it"
            " again, or make a new one."
        ) from broken
    _check_fields(fields, read)
    try:
        expires_at = datetime.fromtimestamp(read.date + expiry_s, UTC)
    except (ValueError, OverflowError, OSError) as never:
        raise BadInvoice(
            f"This invoice says that it can be paid for {expiry_s:,} seconds, which no calendar"
            " holds. Make one that expires within a year."
        ) from never
    invoice = Invoice(
        bolt11=text,
        payment_hash=read.payment_hash,
        amount_msat=None if read.amount_msat is None else Msat(int(read.amount_msat)),
        expires_at=expires_at,
        network=shape["network"],
        payee=read.payee or "",
        description=read.description or "",
        description_hash=read.description_hash,
    )
    if invoice.amount_msat is not None and invoice.amount_msat > MOST_MSAT:
        raise BadInvoice("This invoice asks for more bitcoin than there is. Make a new one.")
    if around_msat not in (None, invoice.amount_msat) and invoice.amount_msat is not None:
        raise BadInvoice(
            f"This code asks for {in_sats(around_msat or 0)}, and the invoice in it for"
            f" {in_sats(invoice.amount_msat)}. Make a new one."
        )
    return invoice


def _check_amount(amount: str) -> None:
    digits = amount.rstrip("munp")
    if digits and not int(digits):
        raise BadInvoice("This invoice asks for 0 sats. Make one that names the amount.")
    if digits.startswith("0"):
        raise BadInvoice(
            "The amount of this invoice begins with a zero, which the standard forbids. Make a new"
            " one with another wallet."
        )
    if amount.endswith("p") and not amount.endswith("0p"):
        raise BadInvoice(
            "This invoice asks for a part of a thousandth of a sat, which nobody can pay. "
            "Make one for whole sats."
        )


def _fields(text: str) -> dict[str, list[int]]:
    """Return the first of each tagged field, in words of five bits. The checksum is looked at."""
    _, words = bech32.bech32_decode(text)
    if words is None:
        raise BadInvoice(
            "This invoice is damaged: its checksum does not hold, so a part of it is missing or was"
            " changed. Copy it again."
        )
    if len(words) < _DATE_WORDS + _SIGNATURE_WORDS:
        raise BadInvoice("This invoice is damaged: it is too short to be signed. Copy it again.")
    tagged = words[_DATE_WORDS:-_SIGNATURE_WORDS]
    fields: dict[str, list[int]] = {}
    while len(tagged) >= 3:
        letter, size = _LETTERS[tagged[0]], tagged[1] * 32 + tagged[2]
        if size > len(tagged) - 3:
            break
        # One of another size is not that field, and is skipped.
        if _SIZES.get(letter, size) == size:
            fields.setdefault(letter, tagged[3 : 3 + size])
        tagged = tagged[3 + size :]
    if tagged:
        raise BadInvoice("This invoice is damaged: one of its fields is cut. Make a new one.")
    return fields


def _number(words: list[int]) -> int:
    number = 0
    for word in words:
        number = number * 32 + word
    return number


def _expiry_s(fields: dict[str, list[int]]) -> int:
    words = fields.get("x")
    if words is not None and not words:
        raise BadInvoice("This invoice says that it can be paid for 0 seconds. Make a new one.")
    return DEFAULT_EXPIRY_S if words is None else _number(words)


def _check_fields(fields: dict[str, list[int]], read: bolt11.Bolt11) -> None:
    """Raise BadInvoice, with the reason, when a node could not pay it."""
    if "p" not in fields:
        raise BadInvoice("This invoice names no payment hash, so nobody can pay it. Make another.")
    if "s" not in fields and _BLINDED in fields:
        raise BadInvoice(
            "This invoice hides its node behind a blinded path, which can't be paid from here yet."
            " Make one without it (some wallets call it receiver privacy)."
        )
    if "s" not in fields:
        raise BadInvoice(
            "This invoice has no payment secret, and nodes pay none without. Update your wallet, or"
            " make one with another."
        )
    bits = _number(fields.get("9", []))
    unknown = [n for n in range(0, bits.bit_length(), 2) if bits >> n & 1 and n not in _KNOWN]
    if unknown:
        raise BadInvoice(
            f"This invoice needs a feature that is not known here (bit {unknown[0]}). Make one with"
            " another wallet."
        )
    if read.description is None and read.description_hash is None:
        raise BadInvoice(
            "This invoice does not say what it is for: it has neither a description nor the hash of"
            " one. Make one with another wallet."
        )


def check_payable(
    invoice: Invoice,
    *,
    amount_msat: Msat,
    network: str,
    now: datetime,
    margin_s: int = 30,
    least_msat: Msat | None = None,
) -> None:
    """Raise BadInvoice unless it asks for exactly this amount, here, with time left to pay it.

    With `least_msat` it may ask for less than the amount, down to that.

    Whether it is one of our own invoices, or its payment_hash was used before, is for the
    caller, who has the rows.
    """
    if invoice.network != network:
        raise BadInvoice(
            f"This invoice is for {_network_name(invoice.network)}, and we pay on "
            f"{_network_name(network)}. Make one with a wallet on {_network_name(network)}."
        )
    if invoice.amount_msat is None:
        raise BadInvoice(
            f"This invoice names no amount. Make one for exactly {in_sats(amount_msat)}."
        )
    if not (least_msat or amount_msat) <= invoice.amount_msat <= amount_msat:
        raise BadInvoice(
            f"This invoice asks for {in_sats(invoice.amount_msat)}, and {in_sats(amount_msat)} "
            f"are owed. Make one for exactly {in_sats(amount_msat)}."
        )
    left_s = (invoice.expires_at - now).total_seconds()
    if left_s <= 0:
        raise BadInvoice("This invoice has expired. Make a new one.")
    if left_s < margin_s:
        raise BadInvoice(
            f"This invoice is about to expire: at least {margin_s} seconds are needed to pay it. "
            "Make a new one."
        )


def fee_limit_msat(
    amount_msat: Msat, cap_msat: Msat | None, least_msat: Msat = LEAST_FEE_LIMIT_MSAT
) -> Msat:
    """Return the most that routing this payment may cost: 1 %, at least 1 sat, at most the cap."""
    limit_msat = max(ceil_div(amount_msat, 100), least_msat)
    return Msat(limit_msat if cap_msat is None else min(limit_msat, cap_msat))


def _network_name(network: str) -> str:
    return _NETWORK_NAMES.get(network, network)


def in_sats(amount_msat: int) -> str:
    """Return "1 sat", "1,200 sats" or "1.5 sats". Integers only: no float touches money."""
    sats, rest_msat = split_sats(amount_msat)
    if rest_msat:
        return f"{sats:,}." + f"{rest_msat:03d}".rstrip("0") + " sats"
    return "1 sat" if sats == 1 else f"{sats:,} sats"


def whole_sats(amount_sats: int) -> str:
    """Return "1 sat" or "1,200 sats"."""
    return in_sats(sats_to_msat(amount_sats))
