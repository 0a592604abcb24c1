"""An LNURL-pay server of a stranger: an honest one, until a test makes it answer otherwise.

`stranger` is one that runs; `fetch` asks it as a server of ours would.
"""

import asyncio
import hashlib
import json
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import bolt11 as lightning
import pytest

from payments.bolt11 import Invoice
from payments.lnurl import Destination, LnurlPay
from payments.public_http import Away, PublicHttp, Refused
from pricing.money import Msat
from tests.world.rail_fixtures import wall_clock
from tests.world.talking import talking

METADATA = json.dumps([["text/plain", "a refund, bitte sehr"], ["text/identifier", "you@x"]])
KEY = "11" * 32
AMOUNT = Msat(13_000)  # what `fetch` asks for

Make = Callable[[int], Awaitable[str]]  # msat → BOLT11


def invoice(
    amount_msat: int | None,
    *,
    network: str = "bcrt",
    expiry_s: int = 600,
    metadata: str | None = METADATA,
    at: datetime | None = None,
) -> str:
    """Return a signed invoice; with the hash of this metadata, or with a plain description."""
    tags = lightning.Tags()
    preimage = secrets.token_bytes(32)
    tags.add(lightning.TagChar.payment_hash, hashlib.sha256(preimage).hexdigest())
    tags.add(lightning.TagChar.payment_secret, "22" * 32)
    if metadata is None:
        tags.add(lightning.TagChar.description, "a refund")
    else:
        hashed = hashlib.sha256(metadata.encode()).hexdigest()
        tags.add(lightning.TagChar.description_hash, hashed)
    tags.add(lightning.TagChar.expire_time, expiry_s)
    amount = None if amount_msat is None else lightning.MilliSatoshi(amount_msat)
    moment = int((at or datetime.now(UTC)).timestamp())
    return lightning.encode(lightning.Bolt11(network, moment, tags, amount), KEY)


async def honest(amount_msat: int) -> str:
    """Return the invoice that was asked for."""
    return invoice(amount_msat)


@dataclass
class Asked:
    """One request as it came in."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


@dataclass
class PayServer:
    """`/pay` offers, `/cb?user=7` makes invoices; `raw` has whole answers for a path instead."""

    port: int = 0
    scheme: str = "http"
    host: str = "127.0.0.1"
    offer: dict[str, Any] = field(default_factory=dict)  # laid over the honest offer
    given: dict[str, Any] = field(default_factory=dict)  # laid over the honest {"pr"}
    make: Make = honest
    raw: dict[str, bytes] = field(default_factory=dict)
    hang: set[str] = field(default_factory=set)  # paths that are never answered
    asked: list[Asked] = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def base(self) -> str:
        """Return the URL without a path."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the URL of the pay endpoint."""
        return f"{self.base}/pay"

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["PayServer"]:
        """Listen for as long as the block lasts."""
        async with talking(self._talk, tls) as port:
            self.port, self.scheme = port, "https" if tls else "http"
            yield self

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        parts = urlsplit(first.split()[1])
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        self.asked.append(Asked(parts.path, parse_qs(parts.query), headers))
        self.was_asked.set()
        if parts.path in self.hang:
            await asyncio.Event().wait()
        writer.write(self.raw.get(parts.path) or await self._answer(parts.path, self.asked[-1]))
        await writer.drain()

    async def _answer(self, path: str, asked: Asked) -> bytes:
        if path.startswith("/.well-known/lnurlp/") or path == "/pay":
            offer = {
                "tag": "payRequest",
                "callback": f"{self.base}/cb?user=7",
                "minSendable": 1000,
                "maxSendable": 100_000_000,
                "metadata": METADATA,
            }
            return said(offer | self.offer)
        return said(
            {"pr": await self.make(int(asked.query["amount"][0])), "routes": []} | self.given
        )


def said(body: Any, status: int = 200, headers: str = "") -> bytes:
    """Return a whole HTTP answer."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} Said\r\nContent-Length: {len(content)}\r\n{headers}\r\n"
    return head.encode() + content


@pytest.fixture
async def stranger() -> AsyncIterator[PayServer]:
    """A stranger's LNURL-pay server on this machine."""
    async with PayServer().running() as server:
        yield server


async def fetch(
    destination: str, http: PublicHttp | None = None, comment: str = "", patience_s: float = 10
) -> Invoice | Refused | Away:
    """Ask a destination for an invoice, as a server would that may ask this machine."""
    http = http or PublicHttp(allow_loopback=True)
    asking = LnurlPay(http, network="bcrt", clock=wall_clock, patience_s=patience_s)
    parsed = asking.parse(destination)
    assert isinstance(parsed, Destination), parsed
    try:
        return await asking.fetch_invoice(parsed, AMOUNT, comment)
    finally:
        await asking.close()
