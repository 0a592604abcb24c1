"""What a buyer's wallet can do, and what it can answer: the outcomes of a rail.

An invoice is paid for what it says itself, never for what the JSON around it says; and a payment
whose outcome is Unknown is looked up, and not sent again.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Any, Protocol

from payments.bolt11 import BadInvoice, Invoice, decode, in_sats, whole_sats
from payments.rail import Outcome, Unavailable
from pricing.money import sats_to_msat, sats_up

_HEX = re.compile("[0-9a-f]{64}")


class Wallet(Protocol):
    """A wallet that pays by itself, or shows a person the invoice to pay."""

    name: str
    is_by_hand: bool  # a person pays: nobody can say when
    network: str | None  # of BOLT11, that it pays on; None: that of the first invoice it is given

    async def pay(self, invoice: Invoice) -> Outcome:
        """Pay an invoice. `Unsent` and `Failed` are certain; anything else may have happened."""
        ...

    async def look_up(self, invoice: Invoice) -> Outcome:
        """Say what became of a payment. Absent: the wallet has not sent it."""
        ...

    async def make_invoice(self, amount_sats: int, memo: str) -> str | Unavailable:
        """Make an invoice of this wallet's, to take something back with."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Overcharged(Exception):
    """An invoice doesn't ask for the stated amount. Nothing was paid."""


def due(shown: Mapping[str, Any]) -> Invoice:
    """Return the server's invoice if it asks for the stated amount. Raises Overcharged."""
    try:
        invoice = decode(str(shown["paymentRequest"]))
    except BadInvoice as bad:
        raise Overcharged(f"The server's invoice can't be read: {bad}") from bad
    stated_sats = shown["amountSats"]
    if type(stated_sats) is not int or stated_sats < 1:
        raise Overcharged("The server names no amount that could be paid: whole sats, one or more.")
    if invoice.amount_msat is None or invoice.amount_msat != sats_to_msat(stated_sats):
        asked = "any amount" if invoice.amount_msat is None else in_sats(invoice.amount_msat)
        raise Overcharged(
            f"The server speaks of {whole_sats(stated_sats)}, and its invoice asks for {asked}."
        )
    return invoice


def sats_of(invoice: Invoice) -> int:
    """Return what an invoice asks for, in whole sats, rounded up."""
    return sats_up(invoice.amount_msat or 0)


def proves(preimage: str, payment_hash: str) -> bool:
    """Say whether a text is the preimage of a payment."""
    if not _HEX.fullmatch(preimage):
        return False
    hashed = hashlib.sha256(bytes.fromhex(preimage)).hexdigest()
    return secrets.compare_digest(hashed, payment_hash)
