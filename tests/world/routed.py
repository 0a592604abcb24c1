"""A real haproxy with the configuration that `boltwork cells` prints, and small servers behind it
that answer with the name of their cell.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from app.commands.cells_file import cells_of
from app.commands.cells_router import configuration
from db.unused_port import unused_port
from tests.runs import hosts_tools
from tests.world.patience import PATIENCE_S, patiently


@dataclass
class Small:
    """A server that answers everything with the name of its cell; well until it is closed."""

    digits: str
    port: int = field(default_factory=unused_port)
    _server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)

    async def close(self) -> None:
        """Answer nothing any more."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, _, rest = head.partition(b"content-length:")
            await reader.readexactly(int(rest.partition(b"\r\n")[0] or 0))
            told = json.dumps({"cell": self.digits}).encode()
            length = f"Content-Length: {len(told)}\r\nConnection: close\r\n\r\n"
            writer.write(b"HTTP/1.1 200 OK\r\n" + length.encode() + told)
            await writer.drain()
        writer.close()


@dataclass(frozen=True)
class Routed:
    """The router, and what is behind it."""

    url: str
    http: httpx2.AsyncClient
    servers: dict[str, Small]

    async def cell_of(self, method: str, path: str, **more: object) -> str:
        """Return the cell that a request comes to."""
        answer = await self.http.request(method, path, **more)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        return str(answer.json()["cell"])

    async def until_away(self, digits: str, path: str) -> httpx2.Response:
        """Wait until the router has seen that a cell is away; return what it answers then."""
        async for look in patiently(f"{digits} is never away", pause_s=0.1):
            answer = await self.http.get(path)
            look.saw = answer.text
            if answer.status_code == 503:
                break
        return answer

    async def until_there(self, path: str) -> None:
        """Wait until the cell of an address answers."""
        async for look in patiently("it never answers", pause_s=0.1):
            answer = await self.http.get(path)
            look.saw = answer.text
            if answer.status_code == 200:
                break


async def haproxy(file: Path, *more: str) -> asyncio.subprocess.Process:
    """Start haproxy with a configuration."""
    return await asyncio.create_subprocess_exec(
        hosts_tools.debian("haproxy"), "-f", file, *more,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        env={"LD_LIBRARY_PATH": str(hosts_tools.LIBRARIES)},
    )  # fmt: skip


@contextlib.asynccontextmanager
async def routed(
    folder: Path, cells: Sequence[str], closed: Sequence[str] = ()
) -> AsyncIterator[Routed]:
    """Run the router before these cells, the first of which is the home cell."""
    servers, port = {digits: Small(digits) for digits in cells}, unused_port()
    hosts = {digits: [f"127.0.0.1:{server.port}"] for digits, server in servers.items()}
    named = {"home": cells[0], "bind": f"127.0.0.1:{port}", "closed": list(closed), "cells": hosts}
    file = folder / "haproxy.cfg"
    file.write_text(configuration(cells_of(named)))
    for server in servers.values():
        await server.open()
    process, url = await haproxy(file, "-db"), f"http://127.0.0.1:{port}"
    try:
        async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE_S, trust_env=False) as http:
            async for look in patiently("the router does not start", pause_s=0.05):
                with contextlib.suppress(httpx2.TransportError):
                    look.saw = answer = await http.get("/api/readyz")
                    if answer.status_code == 200:
                        break
            yield Routed(url, http, servers)
    finally:
        process.terminate()
        await process.wait()
        for server in servers.values():
            await server.close()
