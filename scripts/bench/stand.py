"""What a measurement stands on: one Postgres that really syncs, and the processes beside it.

Every process takes its orders from standard input, one JSON object a line, answers in kind on
standard output, and dies with this one. Each family of rows has a database of its own.
"""

import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import psycopg
import sqlalchemy

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
                env=plain_environment(),
                start_new_session=True,  # Ctrl-C is the first process's to hear
            )
        self.pid = self._child.pid

    def ask(self, **order: Any) -> Any:
        """Send one order and return what it answers. Raises Broken when nothing comes."""
        assert self._child.stdin is not None and self._child.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(json.dumps(order).encode() + b"\n")
            self._child.stdin.flush()
        line = self._child.stdout.readline()
        while line and not line.startswith(b"{"):  # it warns of what its database does, say
            sys.stderr.buffer.write(line)
            line = self._child.stdout.readline()
        if not line:
            said = self._log.read_text()[-2000:] if self._log.exists() else ""
            raise Broken(f"{self._log.stem} ended before it answered. It said:\n{said}")
        return json.loads(line)

    def stop(self) -> None:
        """End it (it drains at the end of its input), and wait."""
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        try:
            self._child.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


Server = tuple[Process, int]  # with the port that it listens on


class Stand:
    """The Postgres and the load, open for as long as the block lasts; servers join as asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._postgres = EmbeddedPostgres(folder / "data")
        self._template = ""
        self._numbers = itertools.count(1)
        self._processes: list[Process] = []

    def __enter__(self) -> Self:
        self._template = self._postgres.start()
        migrate(self._template)
        self.load = Process("load", self.folder / "load.log")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.load.stop()
        self._postgres.stop()

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """End, with the block, every process that was started in it."""
        before = len(self._processes)
        try:
            yield
        finally:
            for process in reversed(self._processes[before:]):
                process.stop()
            del self._processes[before:]

    def database(self, like: str = "") -> str:
        """Return the URL of a new database with our tables; `like`: with all that is in this one,
        which nobody is connected to.
        """
        name = f"bench_{next(self._numbers)}"
        template = sqlalchemy.make_url(like or self._template)
        self.admin(f"CREATE DATABASE {name} TEMPLATE {template.database}")
        return template.set(database=name).render_as_string(hide_password=False)

    def admin(self, statement: str) -> None:
        """Run one statement about the whole cluster."""
        url = sqlalchemy.make_url(self._template).set(database="postgres")
        with psycopg.connect(url.render_as_string(False), autocommit=True) as connection:
            connection.execute(statement.encode())

    def process(self, module: str, name: str = "") -> Process:
        """Start a process; it ends with the family that it is for."""
        started = Process(module, self.folder / f"{name or module}.log")
        self._processes.append(started)
        return started

    def server(self, kind: str, database_url: str, **order: Any) -> Server:
        """Start one of the servers of `server.py`."""
        name = f"{kind}-{next(self._numbers)}"
        process = self.process("server", name)
        folder = order.pop("folder", str(self.folder / name))
        answer = process.ask(kind=kind, database_url=database_url, folder=folder, **order)
        return process, int(answer["port"])

    def weather(self) -> Callable[[], float]:
        """Return what, when it is called, says which share of the machine others used since."""
        busy, own, began = _busy_s(), _own_s(), time.monotonic()

        def foreign() -> float:
            foreign_s = (_busy_s() - busy) - (_own_s() - own)
            machine_s = (time.monotonic() - began) * (os.cpu_count() or 1)
            return max(0.0, foreign_s / machine_s)

        return foreign


def _own_s() -> float:
    """Return the CPU time of this process and of all under it, Postgres included."""
    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def _busy_s() -> float:
    """Return the seconds in which a processor did anything for anybody, or was taken away."""
    first = Path("/proc/stat").read_text().split("\n", 1)[0]
    user, nice, system, _, _, irq, softirq, steal = (int(ticks) for ticks in first.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / 100


def plain_environment() -> dict[str, str]:
    """Return an environment that sets nothing of Boltwork's: the defaults are measured."""
    return {"LC_ALL": "C.UTF-8", "PATH": os.defpath}
