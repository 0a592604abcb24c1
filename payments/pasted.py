"""What people paste and scan: an invoice or a destination, in whatever a wallet wraps it in.

BIP21 (`bitcoin:ADDRESS?amount=…&lightning=LNBC…`), `lightning:` with slashes or without, capitals
throughout, quotes and brackets round it, and characters inside that nobody sees.
"""

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from urllib.parse import unquote

from pricing.money import Msat, btc_to_msat

LONGEST: Final = 8_192  # characters that are looked at: a BIP21 code holds other things too
_VARIATIONS: Final = {chr(n) for n in range(0xFE00, 0xFE10)}  # how a sign before them is drawn
_QUOTES: Final = "\"'`´‘’“”„‚"
_PAIRS: Final = ("<>", "()", "[]", "{}", "«»", "‹›", "»«")
_SIGNS: Final = "₿⚡"  # before an address, as BIP353 and wallets show it
_AMOUNT: Final = re.compile(r"[0-9]{1,8}(\.[0-9]{0,11})?|\.[0-9]{1,11}")  # of bitcoin


@dataclass(frozen=True, slots=True)
class Pasted:
    """What was within."""

    text: str
    amount_msat: Msat | None = None  # what a BIP21 code round it asks for
    is_bitcoin: bool = False  # a BIP21 code with nothing for Lightning in it


def read(text: str, *, joined: bool = True) -> Pasted:
    """Return the invoice, address or LNURL in a text. Nothing is decoded.

    An invoice may be broken by spaces and lines, which are `joined`; what holds a host may not.
    """
    text = _tidy("".join(text.split()) if joined else text)
    scheme, _, rest = text.partition(":")
    if scheme.lower() == "bitcoin":
        return _bip21(rest)
    while text[:10].lower() == "lightning:":
        text = text[10:].lstrip("/")
    return Pasted(text.lstrip(_SIGNS).lstrip() if text[:1] in (*_SIGNS,) else text)


def _tidy(text: str) -> str:
    """Return a text without what nobody sees, and in the plain form of each letter."""
    plain = unicodedata.normalize("NFKC", text[: LONGEST + 1])
    seen = "".join(c for c in plain if unicodedata.category(c) != "Cf" and c not in _VARIATIONS)
    seen = seen.strip().strip(_QUOTES)
    while any(len(seen) > 1 and seen[0] == a and seen[-1] == b for a, b in _PAIRS):
        seen = seen[1:-1].strip(_QUOTES)
    return seen


def _bip21(rest: str) -> Pasted:
    """Return what a `bitcoin:` code offers for Lightning. Names are of either case (BIP321)."""
    within, amount_msat = "", None
    for part in rest.partition("?")[2].split("&"):
        name, _, value = part.partition("=")
        if name.lower() == "lightning" and not within:
            within = unquote(value)
        elif name.lower() == "amount":
            amount_msat = _msat(value)
    if not within:
        return Pasted("", is_bitcoin=True)
    inner = read(within) if not within.lower().startswith("bitcoin:") else Pasted("")
    return Pasted(inner.text, amount_msat)


def _msat(bitcoin: str) -> Msat | None:
    if not _AMOUNT.fullmatch(bitcoin):
        return None
    return btc_to_msat(Decimal(bitcoin)) or None
