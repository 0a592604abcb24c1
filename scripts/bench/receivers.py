"""Receivers of notices, each at a port of its own: a third never answer, a third fail, a third say
that they have it.
"""

import asyncio
import json
import re
import sys
from collections import Counter
from typing import Any

import uvloop

KINDS = ("hangs", "fails", "answers")
SAYS = {
    "fails": b"HTTP/1.1 500 Broken\r\nContent-Length: 6\r\nConnection: close\r\n\r\nbroken",
    "answers": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
}
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Receiver(asyncio.Protocol):
    """One connection to one receiver."""

    def __init__(self, number: int, came: Counter[int]) -> None:
        self._number, self._came, self._read = number, came, b""

    def connection_made(self, transport: Any) -> None:
        """Wait for what is sent."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Count what has come whole, and do with it as this one does."""
        self._read += data
        head, end, body = self._read.partition(b"\r\n\r\n")
        size = _LENGTH.search(head)
        if not end or size is None or len(body) < int(size[1]):
            return
        self._read = b""
        self._came[self._number] += 1
        said = SAYS.get(KINDS[self._number % 3])
        if said is not None:
            self._transport.write(said)
            self._transport.close()


async def run() -> None:
    """Open so many, and then say as often as it is asked how many notices each kind was sent, and
    how many of its kind were sent one.
    """
    loop, came = asyncio.get_running_loop(), Counter[int]()
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        if order["do"] == "open":
            ports = []
            for number in range(order["count"]):
                made = lambda number=number: Receiver(number, came)  # noqa: E731
                server = await loop.create_server(made, "127.0.0.1", 0)
                ports.append(server.sockets[0].getsockname()[1])
            told: dict[str, Any] = {"ports": ports}
        else:
            told = {
                kind: {
                    "notices": sum(n for number, n in came.items() if number % 3 == place),
                    "receivers": sum(number % 3 == place for number in came),
                }
                for place, kind in enumerate(KINDS)
            }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    uvloop.run(run())
