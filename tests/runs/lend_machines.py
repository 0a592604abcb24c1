"""Machines that are lent by `boltwork lend`, each in a process of its own that may be killed."""

import asyncio
import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.world.command import BARE, ROOT, boltwork
from tests.world.forked import Forked
from tests.world.patience import PATIENCE_S, patiently

MODELS = ("z-image-turbo", "scene-1")  # what buyers want, and what the house makes itself
MINE = ("--vram-gb", "16", "--most-side", "2048")


@dataclass
class Machine:
    """One lent machine: what it is called, what it makes with, and where its pay goes."""

    name: str
    folder: Path
    url: str
    to: str
    backend: Sequence[str]
    kills: int = 0
    codes: list[int] = field(default_factory=list)
    _process: Forked | None = None

    @property
    def state(self) -> Path:
        """The file that keeps the worker."""
        return self.folder / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """The file that it speaks into."""
        return self.folder / f"{self.name}.log"

    @property
    def said(self) -> str:
        """What it has said."""
        return self.log.read_text()

    def start(self) -> None:
        """Lend it, or lend it again."""
        words = ["lend", "--url", self.url, "--to", self.to, "--name", self.name, *self.backend]
        with self.log.open("a") as log:
            out = log.fileno()
            self._process = Forked(
                [*words, *MINE, "--state", str(self.state)], ROOT, BARE, stderr=out, stdout=out
            )

    async def kill(self) -> None:
        """End it as a power cut does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(self._process.wait, PATIENCE_S)
        self.kills += 1

    async def stop(self) -> None:
        """End it as its owner does; it finishes what it holds."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self.codes.append(await asyncio.to_thread(self._process.wait, PATIENCE_S))

    async def withdraw(self) -> tuple[int, str]:
        """Have its pay sent, as its owner does; return the exit code, and what was said."""
        words = ("lend", "--url", self.url, "--state", str(self.state), "withdraw")
        done = await asyncio.to_thread(boltwork, *words)
        return done.returncode, done.stdout + done.stderr

    @property
    def token(self) -> str:
        """Its token, from its own file; empty while it has none."""
        if not self.state.exists():
            return ""
        kept = json.loads(self.state.read_text())
        return str(kept.get(self.url, {}).get("token", ""))

    async def asks(
        self, http: httpx2.AsyncClient, method: str, path: str = "", **more: Any
    ) -> dict[str, Any]:
        """Ask the server as its worker."""
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        path = f"{self.url}/api/v1/workers/me{path}"
        answer = await http.request(method, path, headers=headers, **more)
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())

    async def there(self, http: httpx2.AsyncClient) -> dict[str, Any]:
        """Wait until it is registered; return where it stands."""
        async for look in patiently(f"{self.name} does not register"):
            look.saw = self.said[-500:]
            if self.token:
                break
        return await self.asks(http, "GET")
