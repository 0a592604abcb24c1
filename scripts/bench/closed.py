"""The closed loop: a few keep-alive connections, so cheap that the server is what is measured.

Each connection asks, waits for the whole answer, and asks again. It reads only answers that say
their length (or, as 304, have no body). Servers end a connection after so many answers (Hypercorn
after a thousand); then it makes a new one.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Any

from .window import Window


class Asker(asyncio.Protocol):
    """One connection, and the next one when that ends."""

    def __init__(
        self, at: tuple[str, int], requests: Iterator[bytes], status: int, window: Window
    ) -> None:
        self._at, self._requests, self._window = at, requests, window
        self._expected = b"HTTP/1.1 %d" % status
        self._received = b""
        self._missing = 0  # bytes of the body still to come
        self._asked = 0.0

    async def connect(self) -> None:
        """Connect, and begin to ask."""
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self, *self._at)
        except OSError as error:
            self._window.wrong = str(error).encode()

    def connection_lost(self, error: Exception | None) -> None:
        """Connect again, unless it was we who hung up."""
        if not self._window.is_over and self._window.wrong is None:
            self._received, self._missing = b"", 0
            self._connecting = asyncio.ensure_future(self.connect())

    def connection_made(self, transport: Any) -> None:
        """Ask for the first time."""
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Take in what came; when the answer is whole, count it and ask again."""
        if self._missing:
            self._missing -= len(data)
        else:
            self._received += data
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            if not self._received.startswith(self._expected):
                self._window.wrong = self._window.wrong or self._received[:600]
                self._transport.close()
                return
            self._missing = end + 4 + length(self._received[:end]) - len(self._received)
            self._received = b""
        if self._missing == 0:
            self._window.count(self._asked)
            self._ask()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(next(self._requests))

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


def length(head: bytes) -> int:
    """Return how long a body is, as the head of its answer says; 0 when it does not."""
    at = head.lower().find(b"content-length: ")
    return int(head[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


class ClosedLoop:
    """So many connections, each of which asks the next of these requests, over and over."""

    def __init__(
        self, window: Window, port: int, requests: list[str], status: int, connections: int,
        host: str = "127.0.0.1",
    ) -> None:  # fmt: skip
        in_turn, at = itertools.cycle([request.encode() for request in requests]), (host, port)
        self._askers = [Asker(at, in_turn, status, window) for _ in range(connections)]

    async def begin(self) -> None:
        """Connect, and ask."""
        await asyncio.gather(*(asker.connect() for asker in self._askers))

    async def end(self) -> None:
        """Hang up."""
        for asker in self._askers:
            asker.close()
