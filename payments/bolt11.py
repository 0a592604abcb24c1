"""Decode and check an invoice before anything is paid.

What somebody else wrote is read strictly: any text gives an `Invoice` or a `BadInvoice`, and
nothing else.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from payments import pasted
from payments.bolt11_words import Malformed, Words, number, parse, unreadable
from pricing.money import MSAT_PER_SAT, Msat, ceil_div, sats_to_msat, split_sats

LONGEST_BYTES = 2_048  # real invoices have 250 to 700 characters; decoding is a CPU lever
MOST_MSAT = 21_000_000 * 100_000_000 * MSAT_PER_SAT  # all the bitcoin there will be
LEAST_FEE_LIMIT_MSAT = Msat(1_000)

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
    try:
        words = parse(text)
        expiry_s = _expiry_s(words)
        payee = words.signed_by()
        description, description_hash = _purpose(words)
    except Malformed as broken:
        raise BadInvoice(str(broken)) from broken
    _check_fields(words)
    try:
        expires_at = datetime.fromtimestamp(words.date + expiry_s, UTC)
    except (ValueError, OverflowError, OSError) as never:
        raise BadInvoice(
            f"This invoice says that it can be paid for {expiry_s:,} seconds, which no calendar"
            " holds. Make one that expires within a year."
        ) from never
    invoice = Invoice(
        bolt11=text,
        payment_hash=(words.octets("p") or b"").hex(),
        amount_msat=None if words.amount_msat is None else Msat(words.amount_msat),
        expires_at=expires_at,
        network=words.network,
        payee=payee,
        description=description,
        description_hash=description_hash,
    )
    if invoice.amount_msat is not None and invoice.amount_msat > MOST_MSAT:
        raise BadInvoice("This invoice asks for more bitcoin than there is. Make a new one.")
    if around_msat not in (None, invoice.amount_msat) and invoice.amount_msat is not None:
        raise BadInvoice(
            f"This code asks for {in_sats(around_msat or 0)}, and the invoice in it for"
            f" {in_sats(invoice.amount_msat)}. Make a new one."
        )
    return invoice


def _expiry_s(words: Words) -> int:
    field = words.fields.get("x")
    if field is not None and not field:
        raise BadInvoice("This invoice says that it can be paid for 0 seconds. Make a new one.")
    return DEFAULT_EXPIRY_S if field is None else number(field)


def _purpose(words: Words) -> tuple[str, str | None]:
    """Return the description, or nothing and the hash of one: what stands first of both."""
    first = next((letter for letter in words.fields if letter in "dh"), None)
    octets = b"" if first is None else words.octets(first) or b""
    if first == "h":
        return "", octets.hex()
    try:
        return octets.decode(), None
    except UnicodeDecodeError as broken:
        raise unreadable() from broken


def _check_fields(words: Words) -> None:
    """Raise BadInvoice, with the reason, when a node could not pay it."""
    fields = words.fields
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
    bits = number(fields.get("9", []))
    unknown = [n for n in range(0, bits.bit_length(), 2) if bits >> n & 1 and n not in _KNOWN]
    if unknown:
        raise BadInvoice(
            f"This invoice needs a feature that is not known here (bit {unknown[0]}). Make one with"
            " another wallet."
        )
    if not {"d", "h"} & fields.keys():
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
