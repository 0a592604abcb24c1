"""Exchanges that say what a test wants, and the oracle that asks them."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from pricing.oracle import MAX_BODY_BYTES, Oracle, Source

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
HANG = b"hang"
GONE = b"gone"
ENDLESS = b"endless"


def said(body: bytes, head: bytes = HEAD) -> bytes:
    """A whole HTTP answer."""
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def ticker(price: object) -> bytes:
    """An answer as exchanges give it, with the price inside a list."""
    return said(json.dumps({"result": {"c": [price, "0.1"]}}).encode())


@dataclass
class Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Exchanges:
    """One HTTP server on 127.0.0.1; each path is a source that says what the test wants."""

    answers: dict[str, bytes] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    def source(self, name: str) -> Source:
        return Source(name, f"http://127.0.0.1:{self.port}/{name}", ("result", "c", "0"))

    def sources(self, *prices: object) -> tuple[Source, ...]:
        """Sources s0, s1 … that say these prices, or these whole answers."""
        for number, price in enumerate(prices):
            self.answers[f"s{number}"] = price if isinstance(price, bytes) else ticker(price)
        return tuple(self.source(f"s{number}") for number in range(len(prices)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            request = await reader.readuntil(b"\r\n\r\n")
            name = request.split(b" ")[1].decode().lstrip("/")
            self.asked[name] += 1
            answer = self.answers[name]
            if answer == HANG:
                self.waiting.set()
                await self.stopped.wait()
            elif answer == ENDLESS:
                writer.write(HEAD + b"\r\n")
                while True:
                    writer.write(b" " * MAX_BODY_BYTES)
                    await writer.drain()
            elif answer != GONE:
                writer.write(answer)
                await writer.drain()
        writer.close()


@pytest_asyncio.fixture
async def exchanges() -> AsyncIterator[Exchanges]:
    """A server for one test."""
    there = Exchanges()
    server = await asyncio.start_server(there.serve, "127.0.0.1", 0)
    there.port = server.sockets[0].getsockname()[1]
    yield there
    there.stopped.set()
    server.close()


@pytest.fixture
def clock() -> Clock:
    """A clock that stands until the test moves it."""
    return Clock()


@contextlib.asynccontextmanager
async def oracle(
    sources: tuple[Source, ...],
    clock: Clock,
    *,
    fallback: int | None = None,
    development: int | None = None,
    timeout_s: float = 5,
) -> AsyncIterator[Oracle]:
    """An oracle that is closed again."""
    made = Oracle(
        sources,
        clock=clock,
        fallback_microusd=fallback,
        development_microusd=development,
        source_timeout_s=timeout_s,
    )
    try:
        yield made
    finally:
        await made.close()
