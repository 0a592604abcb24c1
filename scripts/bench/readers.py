"""Readers, as a process: each reads one answer after the other to its end, a chunk at a time."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator

import uvloop

from .lines import Wrong, request

CHUNK = 64 * 1024
PATIENCE_S = 120


async def read(port: int, path: str) -> int:
    """Read one answer and keep none of it; return how many bytes its body had, as it was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=CHUNK)
    writer.write(request("GET", path, "", "Connection: close"))
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise Wrong(f"{path}: {head[:200]!r}")
    total = 0
    while chunk := await reader.read(CHUNK):
        total += len(chunk)
    writer.close()
    return total


async def read_all(port: int, paths: list[str], at_once: int) -> dict[str, float]:
    """Read all of them, so many at once."""
    began, left, total = time.perf_counter(), iter(paths), 0

    async def one_by_one(mine: Iterator[str]) -> None:
        nonlocal total
        for path in mine:
            async with asyncio.timeout(PATIENCE_S):
                size = await read(port, path)
            total += size

    await asyncio.gather(*(one_by_one(left) for _ in range(at_once)))
    return {"bytes": total, "seconds": time.perf_counter() - began}


async def run() -> None:
    """Read as ordered, order by order, until the input ends."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await read_all(**json.loads(line))), flush=True)


if __name__ == "__main__":
    uvloop.run(run())
