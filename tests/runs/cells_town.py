"""Several cells on one machine, each a whole Boltwork with its own Postgres and rail, and the
router before them, as `boltwork cells` prints it.
"""

import asyncio
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from app.commands.cells_file import cells_of
from app.commands.cells_router import configuration
from db.embedded import running_url
from db.unused_port import unused_port
from tests.runs import hosts_tools
from tests.runs.crash_world import Books, Side, audit
from tests.world.messages_server import CLIENT_KEY, MessagesServer
from tests.world.patience import PATIENCE_S, patiently
from tests.world.server_process import ServerProcess

ANSWERS_S = 5.0  # the longest wait for one look


@dataclass
class CellHouse:
    """One cell: `boltwork serve` with an embedded Postgres, which ends with it."""

    digits: str
    folder: Path
    side: Side
    model: MessagesServer
    port: int = field(default_factory=unused_port)
    books: Books | None = None

    def __post_init__(self) -> None:
        self.server = ServerProcess(
            self.folder,
            CELL=self.digits,
            PORT=str(self.port),
            HEALTH_S="1",
            RECONCILE_S="0",
            TRUSTED_PROXIES="1",
            ROUTING_FREE_SATS="1000",  # or a session's rest is not taken as one sum
            ANTHROPIC_API_KEY=CLIENT_KEY,
            ANTHROPIC_BASE_URL=self.model.url,
            EVAL_MODEL="claude-haiku-4-5",
            WORK_MODEL="claude-haiku-4-5",
            **self.side.environment(),
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        await asyncio.to_thread(self.server.start)
        url = running_url(self.folder)
        assert url is not None, "its Postgres runs"
        self.books = Books(url)

    async def kill(self) -> None:
        """Lose it: the server, its worker and its Postgres."""
        await self.forget()
        await asyncio.to_thread(self.server.kill)

    async def forget(self) -> None:
        """Let go of its Postgres."""
        if self.books is not None:
            with suppress(Exception):  # it may be gone already
                await self.books.close()
            self.books = None

    async def knows(self, payment_hash: str) -> bool:
        """Whether it is one of its invoices."""
        if self.books is None:
            return False
        query = f"SELECT 1 FROM invoice WHERE payment_hash = '{payment_hash}'"
        return bool(await self.books.ask(query))

    async def wrong(self) -> list[str]:
        """Wait until nothing is due; return what is wrong with its books and its rail."""
        assert self.books is not None
        async for look in patiently("something is always due", pause_s=0.5):
            look.saw = due = await self.books.due(fetching=True)
            if not due:
                break
        return await audit(self.books, self.side)


class Router:
    """haproxy, before these cells."""

    def __init__(self, folder: Path, cells: dict[str, CellHouse], home: str) -> None:
        self.port = unused_port()
        self._file, self._log = folder / "haproxy.cfg", folder / "haproxy.log"
        hosts = {digits: [f"127.0.0.1:{cell.port}"] for digits, cell in cells.items()}
        named = {"home": home, "bind": f"127.0.0.1:{self.port}", "cells": hosts}
        self._file.write_text(configuration(cells_of(named)))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, and wait until a cell answers through it."""
        await asyncio.to_thread(self._begin)
        async for look in patiently("the router does not answer"):
            with suppress(httpx2.TransportError):
                look.saw = answer = await self.look("/api/readyz")
                if answer.status_code == 200:
                    break

    def _begin(self) -> None:
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [hosts_tools.debian("haproxy"), "-db", "-f", self._file],
                env={**os.environ, "LD_LIBRARY_PATH": str(hosts_tools.LIBRARIES)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)

    async def look(self, path: str, **headers: str) -> httpx2.Response:
        """Return what is answered at an address, by a connection of its own."""
        async with httpx2.AsyncClient(
            base_url=self.url, timeout=ANSWERS_S, trust_env=False
        ) as http:
            return await http.get(path, headers=headers)
