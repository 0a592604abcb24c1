"""Decode and check an invoice before anything is paid.

What somebody else wrote is read strictly: any text gives an `Invoice` or a `BadInvoice`, and
nothing else. Decoding costs about 2 ms of CPU, so decode once and keep what it said.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import bolt11

from pricing.money import MSAT_PER_SAT, Msat, ceil_div

LONGEST_BYTES = 2_048  # real invoices have 250 to 700 characters; decoding is a CPU lever
MOST_MSAT = 21_000_000 * 100_000_000 * MSAT_PER_SAT  # all the bitcoin there will be
LEAST_FEE_LIMIT_MSAT = Msat(1_000)

# Stricter than the library, which takes mixed case and anything after the amount. Its charset
# has no "1", so the last one separates.
_SHAPE = re.compile(
    r"ln(?P<network>bcrt|bc|tbs|tb)(?P<amount>[1-9][0-9]{0,18}[munp]?)?"
    r"1[qpzry9x8gf2tvdw0s3jn54khce6mua7l]+"
)
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
    """Return the invoice in lower case, without space around it or a `lightning:` before it."""
    if len(text) > LONGEST_BYTES:
        raise BadInvoice(
            f"That is too long to be an invoice: at most {LONGEST_BYTES} characters are read. "
            "Copy the invoice again, and nothing else."
        )
    text = text.strip()
    if text[:10].lower() == "lightning:":
        text = text[10:]
    if text not in (text.lower(), text.upper()):
        raise BadInvoice(
            "This invoice mixes capital and small letters, so it was damaged on the way. "
            "Copy it again."
        )
    return text.lower()


def decode(text: str) -> Invoice:
    """Return what the invoice says; BadInvoice when it is not a whole, signed BOLT11 invoice."""
    text = plain(text)
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise BadInvoice(
            "That is not a Lightning invoice. Paste one that starts with lnbc, lntb or lnbcrt."
        )
    amount = shape["amount"] or ""
    if amount.endswith("p") and not amount.endswith("0p"):
        raise BadInvoice(
            "This invoice asks for a part of a thousandth of a sat, which nobody can pay. "
            "Make one for whole sats."
        )
    try:
        read = bolt11.decode(text)
        invoice = Invoice(
            bolt11=text,
            payment_hash=read.payment_hash,
            amount_msat=None if read.amount_msat is None else Msat(int(read.amount_msat)),
            # Also right for an expiry of zero seconds: the invoice is then born expired.
            expires_at=datetime.fromtimestamp(read.date + read.expiry, UTC),
            network=shape["network"],
            payee=read.payee or "",
            description=read.description or "",
            description_hash=read.description_hash,
        )
    # The library raises a dozen classes, down to ValueError and OverflowError of its own parts.
    except Exception as broken:
        raise BadInvoice(
            "This invoice is damaged: its checksum, its signature or one of its fields does not "
            "hold. Copy it again, or make a new one."
        ) from broken
    if invoice.amount_msat is not None and invoice.amount_msat > MOST_MSAT:
        raise BadInvoice("This invoice asks for more bitcoin than there is. Make a new one.")
    return invoice


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
    sats, rest_msat = divmod(amount_msat, MSAT_PER_SAT)
    if rest_msat:
        return f"{sats:,}." + f"{rest_msat:03d}".rstrip("0") + " sats"
    return "1 sat" if sats == 1 else f"{sats:,} sats"


def whole_sats(amount_sats: int) -> str:
    """Return "1 sat" or "1,200 sats"."""
    return in_sats(amount_sats * MSAT_PER_SAT)
