"""A shop that sells one thing over HTTP for USDC: settled first, and answered then."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from payments.usdc.outcome import Settled, Unknown
from payments.usdc.payment import Payment
from payments.usdc.x402 import (
    REQUIRED,
    RESPONSE,
    SIGNATURE,
    Refused,
    header_of,
    read_payment,
    required,
    response,
)
from tests.usdc_world import UsdcWorld

WORDS = {200: "OK", 402: "Payment Required", 503: "Service Unavailable"}


@dataclass
class Shop:
    """What it sold, and to whom it answered."""

    world: UsdcWorld
    url: str = ""
    payments: list[Payment] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    async def answer(self, headers: dict[str, str]) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Ask for money, or take it."""
        sent = headers.get(SIGNATURE.lower())
        if sent is None:
            asked = required([self.world.offer], self.url, "A picture", "Payment required")
            return 402, {"title": "Payment Required"}, {REQUIRED: header_of(asked)}
        paid = read_payment(sent, [self.world.offer], datetime.now(UTC))
        if isinstance(paid, Refused):
            self.refused.append(paid)
            return 402, {"detail": paid.sentence}, {}
        self.payments.append(paid)
        outcome = await self.world.facilitator.settle(paid)
        if isinstance(outcome, Unknown):
            return 503, {"detail": outcome.reason}, {}
        told = response(paid.network, paid.authorization.payer, outcome)
        return 200, {"made": "a picture"}, {RESPONSE: header_of(told)}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request on a connection, and close it."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[1:-2]
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head)}
        await reader.readexactly(int(headers.get("content-length", "0")))
        status, body, more = await self.answer(headers)
        raw = json.dumps(body).encode()
        more |= {"Content-Type": "application/json", "Content-Length": str(len(raw))}
        lines = [f"HTTP/1.1 {status} {WORDS[status]}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in more.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + raw)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def shop_in(world: UsdcWorld) -> AsyncIterator[Shop]:
    """A shop that listens."""
    shop = Shop(world)
    server = await asyncio.start_server(shop.serve, "127.0.0.1", 0, limit=2**17)
    async with server:
        shop.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/images/generate"
        yield shop


def is_of(told: dict[str, Any], settled: Settled) -> bool:
    """Say whether a client was told of this settlement."""
    return bool(told["success"] and told["transaction"] == settled.transaction)
