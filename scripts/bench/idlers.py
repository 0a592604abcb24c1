"""Idle workers, as a process: each has asked for work, over a connection of its own, and waits."""

import asyncio
import json
import sys
from typing import Any

import uvloop

AT_ONCE = 64


class Idler(asyncio.Protocol):
    """One connection. What is answered is of no interest."""

    def __init__(self, request: bytes) -> None:
        self._request = request

    def connection_made(self, transport: Any) -> None:
        """Ask."""
        self.transport = transport
        transport.write(self._request)


async def run() -> None:
    """Ask and hang up as ordered, order by order, until the input ends."""
    opened: list[Idler] = []
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        for idler in opened:
            idler.transport.close()
        opened.clear()
        if order["do"] == "open":
            opened += await _open(order["port"], order["requests"])
        print(json.dumps({"open": len(opened)}), flush=True)


async def _open(port: int, requests: list[str]) -> list[Idler]:
    loop, doors = asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE)

    async def one(asked: str) -> Idler:
        async with doors:
            _, idler = await loop.create_connection(
                lambda: Idler(asked.encode()), "127.0.0.1", port
            )
        return idler

    return list(await asyncio.gather(*map(one, requests)))


if __name__ == "__main__":
    uvloop.run(run())
