"""Watchers: so many streams held open, each read as it comes, in a process of their own."""

import asyncio
import json
import sys
from typing import Any

import uvloop

AT_ONCE = 64
PATIENCE_S = 60


class Watcher(asyncio.Protocol):
    """One stream. It counts as open when its first event has come."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head = b""

    def connection_made(self, transport: Any) -> None:
        """Ask for the stream."""
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Read, and keep nothing."""
        if self.begun.done():
            return
        self._head += data
        if b"\ndata: " in self._head:
            if self._head.startswith(b"HTTP/1.1 200"):
                self.begun.set_result(None)
            self._head = b""

    def connection_lost(self, error: Exception | None) -> None:
        """Say so, if it never began."""
        if not self.begun.done():
            self.begun.set_exception(ConnectionError(self._head[:300].decode("latin-1")))

    def close(self) -> None:
        """Go away."""
        self._transport.close()


async def run() -> None:
    """Open and close streams as ordered, order by order, until the input ends."""
    opened: list[Watcher] = []
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        if order["do"] == "open":
            opened += await _open(order["port"], order["requests"], order["count"])
        else:
            for watcher in opened:
                watcher.close()
            opened.clear()
        print(json.dumps({"open": len(opened)}), flush=True)


async def _open(port: int, requests: list[str], count: int) -> list[Watcher]:
    loop, doors = asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> Watcher:
        asked = requests[number % len(requests)].encode()
        async with doors, asyncio.timeout(PATIENCE_S):
            _, watcher = await loop.create_connection(lambda: Watcher(asked), "127.0.0.1", port)
            await watcher.begun
        return watcher

    return list(await asyncio.gather(*(one(number) for number in range(count))))


if __name__ == "__main__":
    uvloop.run(run())
