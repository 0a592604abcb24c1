"""Keep-alive connections for buyers and open loops: ask, and wait for the whole answer.

Much lighter than a client library, so that two processors are enough for it and a server.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from .closed import length
from .window import Window


class Wrong(Exception):
    """An answer that was not expected."""


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    head: bytes
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the JSON object that is its body."""
        told: dict[str, Any] = json.loads(self.body)
        return told

    def header(self, name: bytes) -> str:
        """Return one header, empty when it is not there. `name` is in small letters."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.strip().lower() == name:
                return value.strip().decode()
        return ""


class Line:
    """One connection, made when it is needed and again when it has ended."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> Answer:
        """Send one request and return its answer."""
        for again in (True, False):
            reader, writer = self._open or await asyncio.open_connection("127.0.0.1", self._port)
            fresh, self._open = self._open is None, (reader, writer)
            try:
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
            except (OSError, asyncio.IncompleteReadError):
                self.close()
                if fresh or not again:
                    raise
                continue  # the server had ended this connection, and has not heard of the request
            body = await reader.readexactly(length(head))
            if b"connection: close" in head.lower():
                self.close()
            return Answer(int(head.split(b" ", 2)[1]), head, body)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Hang up."""
        if self._open is not None:
            self._open[1].close()
            self._open = None


@dataclass
class Lines:
    """Idle connections to one server, and as many more as are needed at once."""

    port: int
    _idle: list[Line] = field(default_factory=list)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Line]:
        """Give a connection that nobody else uses meanwhile."""
        line = self._idle.pop() if self._idle else Line(self.port)
        try:
            yield line
        except BaseException:
            line.close()  # an answer may still be on its way
            raise
        self._idle.append(line)

    def close(self) -> None:
        """Hang up."""
        for line in self._idle:
            line.close()


def request(method: str, path: str, body: str = "", *headers: str) -> bytes:
    """Return a request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if method != "GET":
        lines += ["Content-Type: application/json", f"Content-Length: {len(body.encode())}"]
    return ("\r\n".join(lines) + f"\r\n\r\n{body}").encode()


class OpenLoop:
    """Asks at its own pace, whether or not answers come: each latency counts from when it was due.

    A server that falls behind is therefore seen to: nobody waits politely for it.
    """

    def __init__(
        self, window: Window, port: int, requests: list[str], status: int, rate: float
    ) -> None:
        self._window, self._status, self._pause_s = window, status, 1 / rate
        self._requests = [each.encode() for each in requests]
        self._lines = Lines(port)
        self._asking: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Begin to ask."""
        self._pacing = asyncio.create_task(self._pace())

    async def _pace(self) -> None:
        due = time.perf_counter()
        for number in range(10**9):
            wait_s = due - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            asking = asyncio.create_task(self._ask(number, due, self._window.is_open))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
            due += self._pause_s

    async def _ask(self, number: int, due: float, counts: bool) -> None:
        try:
            async with self._lines.one() as line:
                answer = await line.ask(self._requests[number % len(self._requests)])
        except (OSError, asyncio.IncompleteReadError) as error:
            self._window.wrong = self._window.wrong or repr(error).encode()
            return
        if answer.status != self._status:
            self._window.wrong = self._window.wrong or answer.head[:200] + answer.body[:400]
        if counts:
            self._window.latencies_us.append(int((time.perf_counter() - due) * 1e6))

    async def end(self) -> None:
        """Ask no more, and wait for those who wait."""
        self._pacing.cancel()
        await asyncio.gather(*self._asking)
        self._lines.close()
