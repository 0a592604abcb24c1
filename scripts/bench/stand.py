"""What a measurement stands on: one Postgres that really syncs, and the processes beside it.

Every process takes its orders from standard input, one JSON object a line, answers in kind on
standard output, and dies with this one.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from db.child import kept
from db.embedded import EmbeddedPostgres
from db.migrate import migrate

STOP_WAIT_S = 40


class Broken(Exception):
    """A process of the measurement ended, or answered what it should not."""


class Process:
    """One child: `python -m scripts.bench.<module>`."""

    def __init__(self, module: str, log: Path) -> None:
        self._log = log
        with log.open("ab") as errors:
            self._child = kept(
                [sys.executable, "-m", f"{__package__}.{module}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=_plain_environment(),
                start_new_session=True,  # Ctrl-C is the first process's to hear
            )
        self.pid = self._child.pid

    def ask(self, **order: Any) -> Any:
        """Send one order and return what it answers. Raises Broken when nothing comes."""
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(json.dumps(order).encode() + b"\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line:
            said = self._log.read_text()[-2000:] if self._log.exists() else ""
            raise Broken(f"{self._log.stem} ended before it answered. It said:\n{said}")
        return json.loads(line)

    def stop(self) -> None:
        """End it (it drains at the end of its input), and wait."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            self._child.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


class Stand:
    """The Postgres and the load, open for as long as the block lasts; servers join as asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database_url = ""
        self._postgres = EmbeddedPostgres(folder / "data")
        self._processes: list[Process] = []

    def __enter__(self) -> Self:
        self.database_url = self._postgres.start()
        migrate(self.database_url)
        self.load = self.process("load")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.stop()
        self._postgres.stop()

    def process(self, module: str, name: str = "") -> Process:
        """Start a process; it ends with the block."""
        started = Process(module, self.folder / f"{name or module}.log")
        self._processes.append(started)
        return started

    def server(self, kind: str, **order: Any) -> tuple[Process, int]:
        """Start one of the servers of `server.py`; return it with its port."""
        process = self.process("server", kind)
        folder = str(self.folder / kind)
        answer = process.ask(kind=kind, database_url=self.database_url, folder=folder, **order)
        return process, int(answer["port"])

    def cpu_s(self) -> float:
        """Return the CPU time of this process and of all under it, Postgres included."""
        total = 0.0
        for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return total


def _plain_environment() -> dict[str, str]:
    """Return an environment that sets nothing of Boltwork's: the defaults are measured."""
    return {"LC_ALL": "C.UTF-8", "PATH": os.defpath}
