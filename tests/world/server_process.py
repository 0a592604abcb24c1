"""The real command in a process of its own, to be killed at any moment and started again: forked
from one that has imported everything, or, where that is what a test looks at, the program itself.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.world.database_fixtures import copy_of
from tests.world.forked import Forked
from tests.world.house_fixtures import UNLIMITED
from tests.world.in_memory import memory
from tests.world.patience import PATIENCE_S

COMMAND = Path(sys.executable).parent / "boltwork"
INHERITED = ("PATH", "LANG", "HOME", "TMPDIR")


class ServerProcess:
    """`boltwork serve` (or another of its commands) on one data folder."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {
            "PORT": "0",
            "BOLTWORK_DATA": str(folder),
            "BTC_PRICE_USD_FALLBACK": "100000",
            "BTC_PRICE_SOURCES": "nobody=http://127.0.0.1:9/#usd",
            "SWEEP_S": "1",
            "WORKER_DEAD_AFTER_S": "2",
            **UNLIMITED,
            **environment,
        }
        self.command: Path | None = None  # where the start of a program is what is looked at
        self.url = ""
        self.stderr: int | None = None  # where its log goes, in place of a file
        self._process: subprocess.Popen[str] | Forked | None = None

    def start(self, *arguments: str) -> str:
        """Start it, and return its URL when it listens."""
        kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
        words, environment = arguments or ("serve",), kept | self.environment
        with (self.folder / "server.log").open("a") as log:
            stderr = log.fileno() if self.stderr is None else self.stderr
            if self.command is None:
                self._process = Forked(words, self.folder, environment, stderr=stderr)
            else:
                self._process = subprocess.Popen(
                    [str(self.command), *words],
                    cwd=self.folder,
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if " listens on " in line:
                self.url = line.split(" listens on ")[1].strip()
                self._until_healthy()
                return self.url
            if "keeps promises" in line:
                return ""
        raise AssertionError((self.folder / "server.log").read_text()[-2000:])

    def _until_healthy(self) -> None:
        transport = httpx2.HTTPTransport(retries=5)
        with httpx2.Client(base_url=self.url, transport=transport, timeout=PATIENCE_S) as http:
            assert http.get("/api/healthz").status_code == 200

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def line(self) -> str:
        """The next line that it printed."""
        assert self._process is not None and self._process.stdout is not None
        return self._process.stdout.readline()

    def kill(self) -> None:
        """End it as a crash does: no handler runs."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """End it as an operator does, and return its exit code."""
        return self._end(signal.SIGTERM)

    def ended(self) -> int:
        """Wait until it has ended by itself, and return its exit code."""
        return self._end(None)

    def _end(self, number: signal.Signals | None) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if number is not None:
            process.send_signal(number)
        code = process.wait(timeout=PATIENCE_S)
        assert process.stdout is not None
        process.stdout.close()
        return code

    @property
    def log(self) -> str:
        """All that it wrote to standard error."""
        return (self.folder / "server.log").read_text()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """An empty folder that the embedded Postgres, another user when we are root, may enter."""
    with tempfile.TemporaryDirectory(prefix="boltwork-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
def server(made_data: Path) -> Iterator[ServerProcess]:
    """A server process on a folder whose database is made, not started yet."""
    with tempfile.TemporaryDirectory(prefix="boltwork-test-", dir=memory()) as name:
        Path(name).chmod(0o711)
        process = ServerProcess(copy_of(made_data, Path(name)))
        yield process
        process.stop()
