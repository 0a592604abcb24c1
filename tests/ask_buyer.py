"""Somebody with the command `boltwork ask`, and a wallet to pay from."""

import asyncio
import json
import os
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from pathlib import Path

from tests.server_process import COMMAND, INHERITED


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> dict[str, object]:
        """The one JSON object on its standard output."""
        return dict(json.loads(self.out))


@dataclass
class Buyer:
    """Somebody at a terminal, with a home of their own."""

    url: str
    home: Path
    environment: dict[str, str]

    async def begin(self, *words: str, **more: str) -> asyncio.subprocess.Process:
        """Start a command."""
        kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
        mine = {"BOLTWORK_URL": self.url, "XDG_STATE_HOME": str(self.home)}
        return await asyncio.create_subprocess_exec(
            str(COMMAND), *words, stdin=PIPE, stdout=PIPE, stderr=PIPE,
            env=kept | mine | self.environment | more,
        )  # fmt: skip

    async def run(self, *words: str, typed: str = "", **more: str) -> Ended:
        """Run a command to its end."""
        process = await self.begin(*words, **more)
        out, err = await asyncio.wait_for(process.communicate(typed.encode()), 60)
        assert process.returncode is not None
        assert "Traceback" not in out.decode() + err.decode(), err.decode()
        return Ended(process.returncode, out.decode(), err.decode())
