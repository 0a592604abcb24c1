"""A server that lies: it speaks HTTP by hand, so that it can say anything, and its invoices are
real ones, which a real wallet would pay.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from payments.bolt11 import Invoice
from payments.rail import Outcome, Settled, Unavailable
from payments.stub import StubRail
from pricing.money import sats_to_msat
from tests.world.rail_fixtures import wall_clock

JOB, OTHER = "a1" * 16, "b2" * 16
BREAKDOWN = {
    "model": "m", "inputTokens": 1, "maxOutputTokens": 1, "tokenCostUsd": 0.1, "infraUsd": 0.1,
    "marginPct": 20, "btcPriceUsd": 100_000.0, "priceSources": ["x"], "totalSats": 10,
}  # fmt: skip


@dataclass(frozen=True)
class Says:
    """An answer: JSON, or bytes as they are."""

    body: Any
    status: int = 200
    headers: str = ""

    def raw(self) -> bytes:
        """Return it as it goes over the wire."""
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        head = f"HTTP/1.1 {self.status} x\r\nContent-Length: {len(body)}\r\n{self.headers}\r\n"
        return head.encode("latin-1") + body


@dataclass(frozen=True)
class Raw:
    """What is written without end, or once, in place of an answer."""

    head: bytes
    again: bytes = b""


class Liar:
    """Answers each route as a test says; the last of several answers is given for ever."""

    def __init__(self, folder: Path) -> None:
        self.rail = StubRail(folder / "liar.sqlite3", wall_clock)
        self.answers: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.sent_bytes = 0
        self.url = ""

    def on(self, route: str, *answers: Any) -> None:
        """Answer a route, `METHOD /path`, so."""
        self.answers[route] = list(answers)

    async def invoice(self, sats: int, told_sats: Any = None) -> dict[str, Any]:
        """Return a real invoice, and the amount that is told of it."""
        made = await self.rail.create_invoice(secrets.token_hex(8), sats_to_msat(sats), "x", 600)
        assert not isinstance(made, Unavailable)
        told = sats if told_sats is None else told_sats
        return {
            "paymentRequest": made.bolt11, "amountSats": told, "paymentHash": made.payment_hash,
        }  # fmt: skip

    async def begins(self, evaluation_sats: int = 5, **estimate: Any) -> None:
        """Price a request at 5 and 10 sats, and make its job."""
        self.on("POST /api/estimate", Says(
            {"evalSats": 5, "workSats": 10, "totalSats": 15, "pricingBreakdown": {}} | estimate
        ))  # fmt: skip
        made = {"jobId": JOB, "createdAt": "", "evalInvoice": await self.invoice(evaluation_sats)}
        self.on("POST /api/jobs", Says(made, 201))

    def job(self, state: str, **more: Any) -> Says:
        """Return a job as it stands."""
        return Says({"jobId": JOB, "state": state} | more)

    def tells(self, *jobs: Any) -> None:
        """Tell of the job in this order, by polls."""
        self.on(f"GET /api/jobs/{JOB}", *jobs)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                method, target, _ = head.decode("latin-1").split(" ", 2)
                length = [line for line in head.lower().split(b"\r\n") if b"content-length" in line]
                await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
                path = target.partition("?")[0]
                self.asked.append((method, path))
                said = await self._said(f"{method} {path}")
                writer.write(said.raw() if isinstance(said, Says) else said.head)
                await writer.drain()
                while isinstance(said, Raw) and said.again:
                    writer.write(said.again)
                    self.sent_bytes += len(said.again)
                    await writer.drain()
                if isinstance(said, Raw):
                    break
        writer.close()

    async def _said(self, route: str) -> Says | Raw:
        if route.startswith("POST /api/dev/stub/pay/"):
            paid = await self.rail.receive(route.rpartition("/")[2])
            assert isinstance(paid, Settled)
            return Says({"amountSats": paid.amount_msat // 1000, "preimage": paid.preimage})
        if route == "GET /api/dev/stub/invoice":
            return Says({"error": "POST"}, 405)
        answers = self.answers.get(route)
        if not answers:
            return Says({"error": "There is nothing here."}, 404)
        said: Says | Raw = answers.pop(0) if len(answers) > 1 else answers[0]
        return said


class Purse:
    """A wallet that pays all that it is given, and knows how much that was."""

    name, is_by_hand = "purse", False
    network: str | None = None

    def __init__(self, rail: StubRail) -> None:
        self._rail, self.paid_sats = rail, list[int]()

    async def pay(self, invoice: Invoice) -> Outcome:
        """See Wallet."""
        self.paid_sats.append((invoice.amount_msat or 0) // 1000)
        paid = await self._rail.receive(invoice.payment_hash)
        assert isinstance(paid, Settled)
        return paid

    async def look_up(self, invoice: Invoice) -> Outcome:
        """See Wallet."""
        return await self._rail.look_up_invoice(invoice.payment_hash)

    async def make_invoice(self, amount_sats: int, memo: str) -> str | Unavailable:
        """See Wallet."""
        return Unavailable("this wallet only pays")

    async def close(self) -> None:
        """See Wallet."""


@contextlib.asynccontextmanager
async def lying(folder: Path) -> AsyncIterator[Liar]:
    """Run one for as long as the block lasts."""
    liar = Liar(folder)
    server = await asyncio.start_server(liar._serve, "127.0.0.1", 0)
    liar.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield liar
    finally:
        server.close()
        await liar.rail.close()
