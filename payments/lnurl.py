"""LNURL: where a payout goes without a visit (pay, Lightning address), and how a link is written.

What a destination answers is read strictly, and checked before anything is paid: Refused is
final for this try, Away may pass. LUD-01, 06, 12, 16 and 17.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import bech32
import idna
import orjson

from payments import bolt11, pasted
from payments.bolt11 import BadInvoice, Invoice, in_sats
from payments.public_http import Answer, Away, PublicHttp, Refused, target_of
from pricing.money import Msat

LONGEST: Final = 2_000  # characters of a destination
LONGEST_REASON: Final = 160  # characters of another's sentence that we pass on
PATIENCE_S: Final = 10.0  # for both questions together

_USER = re.compile(r"[a-z0-9_.+-]{1,64}")
# The host of an address or a URL, where nothing else could be meant.
_HOST = re.compile(r"(?:^(?:https?|lnurlp)://|^[^/@]*@)(?P<host>[^/?#@:]+)", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[^ -~\u00a1-\ud7ff\ue000-\ufffd]")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where money can be sent: as it was given, and the pay endpoint that it means."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class BadDestination:
    """Nothing can be sent there. The sentence says why, and what to give instead."""

    sentence: str


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a pay endpoint has said: where to ask for an invoice, and for how much."""

    host: str
    callback: str
    metadata: str
    comment_length: int


def encode(url: str) -> str:
    """Return a URL as LUD-01 writes it, in capitals, which make the smaller QR code."""
    words = bech32.convertbits(url.encode("ascii"), 8, 5) or []
    return str(bech32.bech32_encode("lnurl", words)).upper()


def decode(text: str) -> str | None:
    """Return the URL in a bech32 LNURL of either case; None when its checksum does not hold."""
    prefix, words = bech32.bech32_decode(text)
    octets = bech32.convertbits(words, 5, 8, False) if prefix == "lnurl" and words else None
    try:
        return bytes(octets).decode("ascii") if octets else None
    except UnicodeDecodeError:
        return None


def parse(text: str, *, allow_loopback: bool = False) -> Destination | BadDestination:
    """Return what a Lightning address, an LNURL or a URL of a pay endpoint means."""
    if len(text.strip()) > LONGEST:
        return BadDestination(f"A refund destination has at most {LONGEST} characters.")
    text = _in_ascii(pasted.read(text, joined=False).text)
    lower = text.lower()
    if "@" in text and "/" not in text:
        return _of_address(lower, allow_loopback)
    if lower.startswith("lnurl1"):
        url = decode(text)
        if url is None:
            return BadDestination(
                "This LNURL is damaged: its checksum does not hold. Copy it again."
            )
        return _of_url(lower, url, allow_loopback)
    if lower.startswith("lnurlp://"):
        rest = text[len("lnurlp://") :]
        return _of_url(text, f"{_scheme(rest, allow_loopback)}://{rest}", allow_loopback)
    if lower.startswith(("https://", "http://")):
        return _of_link(text, allow_loopback)
    if re.match(r"ln(bc|tb)", lower):
        return BadDestination(
            "That is an invoice, and a destination must outlive one. Give a Lightning address or"
            " an LNURL; an invoice is claimed with once the refund is owed."
        )
    return BadDestination(
        "That is no refund destination. Give a Lightning address (you@example.org) or an LNURL"
        " for payments (LNURL1…, lnurlp://… or https://…)."
    )


def _in_ascii(text: str) -> str:
    """Return a destination with a host of another script as its A-label, which is then judged.

    Left as it is where there is no such label: what can't be read is refused as that.
    """
    host = _HOST.search(text)
    if host is None or host["host"].isascii():
        return text
    try:
        label = idna.encode(host["host"], uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return text
    return text[: host.start("host")] + label + text[host.end("host") :]


def _of_link(text: str, allow_loopback: bool) -> Destination | BadDestination:
    """Return what a URL means: itself, or (LUD-01) the LNURL in its parameter `lightning`."""
    try:
        inner = parse_qs(urlsplit(text).query).get("lightning", [""])[0]
    except ValueError:
        inner = ""
    url = decode(inner) if inner[:6].lower() == "lnurl1" else None
    if url is None:
        return _of_url(text, text, allow_loopback)
    return _of_url(inner.lower(), url, allow_loopback)


def _of_address(address: str, allow_loopback: bool) -> Destination | BadDestination:
    user, _, domain = address.partition("@")
    if not _USER.fullmatch(user) or "@" in domain:
        return BadDestination(
            "That is no Lightning address. It looks like you@example.org, in a-z, 0-9 and -_.+."
        )
    url = f"{_scheme(domain, allow_loopback)}://{domain}/.well-known/lnurlp/{user}"
    return _of_url(address, url, allow_loopback)


def _of_url(text: str, url: str, allow_loopback: bool) -> Destination | BadDestination:
    target = target_of(url, allow_loopback=allow_loopback)
    if isinstance(target, Refused):
        return BadDestination(f"Nothing can be sent to this destination: {target.reason}.")
    return Destination(text, url)


def _scheme(rest: str, allow_loopback: bool) -> str:
    """Return http for this machine, where that is allowed at all; https for any other."""
    local = re.match(r"(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?(/|$)", rest)
    return "http" if local and allow_loopback else "https"


class LnurlPay:
    """Asks destinations for invoices."""

    def __init__(
        self,
        http: PublicHttp,
        *,
        network: str,
        clock: Callable[[], datetime],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._http, self._network, self._clock = http, network, clock
        self._patience_s = patience_s

    def parse(self, text: str) -> Destination | BadDestination:
        """Return what a text means as a destination. Nobody is asked."""
        return parse(text, allow_loopback=self._http.allow_loopback)

    async def fetch_invoice(
        self, destination: Destination, amount_msat: Msat, comment: str = ""
    ) -> Invoice | Refused | Away:
        """Return an invoice of exactly this amount, made by the destination just now.

        Whether it is one of our own, or its payment_hash was used before, is for the caller.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                offer = await self._offer(destination, amount_msat)
                if not isinstance(offer, _Offer):
                    return offer
                return await self._invoice(offer, amount_msat, comment)
        except TimeoutError:
            return Away("The destination did not answer in time.")

    async def _offer(self, destination: Destination, amount_msat: Msat) -> _Offer | Refused | Away:
        host = urlsplit(destination.url).netloc.lower()
        said = _read(host, await self._http.get(destination.url))
        if not isinstance(said, dict):
            return said
        if said.get("tag") != "payRequest":
            return Refused(f"{host} offers no payments there (LNURL-pay).")
        least, most = said.get("minSendable"), said.get("maxSendable")
        callback, metadata = said.get("callback"), said.get("metadata")
        if type(least) is not int or type(most) is not int or not 1 <= least <= most:
            return Refused(f"{host} does not say how much it takes.")
        if not isinstance(callback, str) or not isinstance(metadata, str):
            return Refused(f"{host} does not say where it makes invoices.")
        if not least <= amount_msat <= most:
            return Refused(
                f"{host} takes {in_sats(least)} to {in_sats(most)},"
                f" and {in_sats(amount_msat)} are owed."
            )
        length = said.get("commentAllowed")
        return _Offer(host, callback, metadata, length if type(length) is int else 0)

    async def _invoice(
        self, offer: _Offer, amount_msat: Msat, comment: str
    ) -> Invoice | Refused | Away:
        values = {"amount": str(amount_msat)}
        if comment and len(comment) <= offer.comment_length:
            values["comment"] = comment
        # Beside what the callback's own query says: many services find their user by it.
        url = offer.callback.partition("#")[0]
        _, asks, query = url.partition("?")
        url += ("&" if query else "" if asks else "?") + urlencode(values)
        said = _read(offer.host, await self._http.get(url))
        if not isinstance(said, dict):
            return said
        given = said.get("pr")
        try:
            invoice = bolt11.decode(given if isinstance(given, str) else "")
            bolt11.check_payable(
                invoice, amount_msat=amount_msat, network=self._network, now=self._clock()
            )
        except BadInvoice as bad:
            what = str(bad).partition(". ")[0].rstrip(".")
            return Refused(f"{offer.host} gave a wrong invoice. {what}.")
        # Since 2023 LUD-06 lets a service do without the hash; one that is there must be right.
        hashed = hashlib.sha256(offer.metadata.encode()).hexdigest()
        if invoice.description_hash not in (None, hashed):
            return Refused(f"{offer.host} gave a wrong invoice. It is for something else.")
        return invoice

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.close()


def _read(host: str, answer: Answer | Refused | Away) -> dict[str, Any] | Refused | Away:
    """Return the object that an endpoint answered with, or what its refusal means."""
    if not isinstance(answer, Answer):
        return answer
    if answer.status >= 500 or answer.status in (408, 425, 429):
        return Away(f"{host} answered HTTP {answer.status}.")
    try:
        said = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        return Refused(f"{host} gives no answer that is LNURL (HTTP {answer.status}).")
    if str(said.get("status", "")).upper() == "ERROR":
        reason = _UNPRINTABLE.sub(" ", str(said.get("reason", "")))[:LONGEST_REASON].strip()
        return Refused(f"{host} says: {reason.rstrip('.') or 'no'}.")
    if answer.status >= 400:
        return Refused(f"{host} answered HTTP {answer.status}.")
    return said
