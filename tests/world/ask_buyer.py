"""Somebody with the command `boltwork ask`, and a wallet to pay from."""

import asyncio
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.world.command import ROOT
from tests.world.forked import Forked
from tests.world.patience import PATIENCE_S
from tests.world.server_process import INHERITED


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


async def heard(end: int) -> asyncio.StreamReader:
    """Take up what is written to a pipe."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(end, "rb")
    )
    return reader


@dataclass
class Running:
    """A command that runs, and the other ends of its standard files."""

    process: Forked
    keyboard: int
    out: asyncio.StreamReader
    err: asyncio.StreamReader

    @classmethod
    async def of(cls, words: tuple[str, ...], environment: dict[str, str]) -> "Running":
        """Start it."""
        (typed, keyboard), (out, printed), (err, told) = (os.pipe() for _ in range(3))
        files = {"stdin": typed, "stdout": printed, "stderr": told}
        # The first one waits for all to be imported, and the server it asks may live in this loop.
        process = await asyncio.to_thread(Forked, words, ROOT, environment, **files)
        for theirs in (typed, printed, told):
            os.close(theirs)
        return cls(process, keyboard, await heard(out), await heard(err))

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ended(self, typed: str = "") -> Ended:
        """Type all of its input, and wait for its end."""
        with suppress(BrokenPipeError), os.fdopen(self.keyboard, "w", encoding="utf8") as keyboard:
            keyboard.write(typed)  # less than a pipe holds
        async with asyncio.timeout(PATIENCE_S):
            out, err = await asyncio.gather(self.out.read(), self.err.read())
            code = await asyncio.to_thread(self.process.wait, PATIENCE_S)
        return Ended(code, out.decode(), err.decode())


@dataclass
class Buyer:
    """Somebody at a terminal, with a home of their own."""

    url: str
    home: Path
    environment: dict[str, str]

    async def begin(self, *words: str, **more: str) -> Running:
        """Start a command."""
        kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
        mine = {"BOLTWORK_URL": self.url, "XDG_STATE_HOME": str(self.home)}
        return await Running.of(words, kept | mine | self.environment | more)

    async def run(self, *words: str, typed: str = "", **more: str) -> Ended:
        """Run a command to its end."""
        ended = await (await self.begin(*words, **more)).ended(typed)
        assert "Traceback" not in ended.out + ended.err, ended.err
        return ended
