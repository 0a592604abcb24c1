"""The real server as a process that is forked from one which has imported everything.

A start costs a fork and not two seconds of imports. It is `boltwork serve` in all but three
parts: the agents are scripted, the price is fixed, and the clock can be moved while it runs.
"""

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import psutil
import uvloop
from typer.testing import CliRunner

from app.commands.cli import app
from app.executors.painter import ScenePainter
from app.main import assemble, build, utc_now
from app.operator.key_rotation import rotate
from app.ports import Executor
from app.serving.run import listening
from app.settings import Settings
from app.telemetry import logs
from db.engine import Probe
from tests.runs.crash_chat import ScriptedChat
from tests.world.forked import CONTEXT
from tests.world.house_fixtures import UNLIMITED, fixed_oracle
from tests.world.patience import PATIENCE_S
from tests.world.scripted_agent import ScriptedAgent
from tests.world.scripted_maker import ScriptedMaker
from tests.world.scripted_tools import ScriptedTools

MAKES_NOTHING = "MAKES_NOTHING"  # in an environment: its pictures are made by others
PAINTS = "PAINTS_FOR_ITSELF"  # and it paints none but those that the house itself asks for
ROTATES = "ROTATES_ITS_KEYS"  # in an environment: first of all the process makes new keys
ROTATED = {ROTATES: "1"}
KILLED = 137  # the exit code of a probe that ends the process

_PR_SET_PDEATHSIG = 1


class HousePainter(ScenePainter):
    """The embedded painter, which makes nothing that was bought: the house alone asks it."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once = 0


def makers_in(environment: Mapping[str, str]) -> list[Executor]:
    """Return who makes pictures here: one, or one that makes none or (`alone`) nobody at all, or
    the painter for the house alone."""
    if PAINTS in environment:
        return [HousePainter()]
    told = environment.get(MAKES_NOTHING)
    return [] if told == "alone" else [ScriptedMaker(at_once=1 if told is None else 0)]


class MovableClock:
    """The real time and a file's number of seconds: other processes read the same file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = (0, 0)  # when the file was written, as it was read last, and what it said
        if not path.exists():
            path.write_text("0")

    def __call__(self) -> datetime:
        """Return the time, UTC."""
        return utc_now() + timedelta(seconds=self.ahead_s)

    @property
    def ahead_s(self) -> int:
        """How far it is ahead of the real time."""
        written_ns = self._path.stat().st_mtime_ns  # the clock is asked all the time
        if written_ns != self._read[0]:
            self._read = (written_ns, int(self._path.read_text()))
        return self._read[1]

    def forward(self, seconds: int) -> None:
        """Let time pass, for whoever reads the file."""
        written = self._path.with_suffix(".new")
        written.write_text(str(self.ahead_s + seconds))
        # Two within one tick of the file system would look as one to whoever has read the first.
        os.utime(written, ns=(time.time_ns(), time.time_ns()))
        written.replace(self._path)


class ForkedServer:
    """One data folder and one database, and a server process on them that may die."""

    def __init__(self, folder: Path, database_url: str, environment: Mapping[str, str]) -> None:
        self.folder, self.database_url = folder, database_url
        self.environment = {
            "BOLTWORK_DATA": str(folder),
            "SWEEP_S": "1",
            "WORKER_DEAD_AFTER_S": "1",
            "DATABASE_POOL": "2",
            "RECONCILE_S": "0",
            "WORKER_CONCURRENCY": "4",
            "ALLOW_PRIVATE_DESTINATIONS": "true",
            "ROUTING_FREE_SATS": "1000",  # or a session's rest is not taken as one sum
            **UNLIMITED,
            **environment,
        }
        self.clock = MovableClock(folder / "clock")
        self.url = ""
        self._process: ForkServerProcess | None = None
        self._crash_at = ""
        self._died_beside = False

    async def start(self, crash_at: str = "", pause_at: str = "", worker: bool = True) -> None:
        """Start it; `url` is empty when it died before it listened.

        At `crash_at` it or a command beside it ends, and at `pause_at` it stops until it is sent
        SIGCONT.
        """
        self._crash_at, self._died_beside = crash_at, False
        ours, theirs = CONTEXT.Pipe(duplex=False)
        environment = {**self.environment, "BOLTWORK_CRASH_AT": crash_at}
        rotates = ROTATES in environment
        start = _Start(self.folder, self.database_url, environment, pause_at, worker, rotates)
        process = CONTEXT.Process(target=_serve, args=(start, theirs), daemon=True)
        self._process = process
        process.start()  # in this thread only: it also asks all its siblings how they ended
        theirs.close()
        try:
            listens = await asyncio.to_thread(ours.poll, PATIENCE_S)
            assert listens, "the server did not start"
            self.url = ours.recv()
        except EOFError:
            self.url = ""
        finally:
            ours.close()

    async def command(self, *words: str) -> tuple[int, str]:
        """Run a command of its operator's beside it; return its exit code, and what it printed."""
        ours, theirs = CONTEXT.Pipe(duplex=False)
        environment = {
            **self.environment,
            "DATABASE_URL": self.database_url,
            "BOLTWORK_CRASH_AT": self._crash_at,
        }
        process = CONTEXT.Process(target=_obey, args=(environment, words, theirs), daemon=True)
        process.start()
        theirs.close()
        try:
            assert await asyncio.to_thread(ours.poll, PATIENCE_S), f"{words} never ended"
            code, printed = ours.recv()
        except EOFError:
            code, printed = KILLED, ""
            self._died_beside = True
        finally:
            ours.close()
        return int(code), str(printed)

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None and self._process.pid is not None
        return self._process.pid

    async def stopped(self) -> bool:
        """Say whether it stands still, waiting for that a while."""
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            if psutil.Process(self.pid).status() == psutil.STATUS_STOPPED:
                return True
            await asyncio.sleep(0.02)
        return False

    def go_on(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    async def exit_code(self, within_s: float) -> int | None:
        """Return how it ended, or a command beside it; None when it still runs after that time."""
        assert self._process is not None
        if self._died_beside:
            return KILLED
        until_s = time.monotonic() + within_s
        while self._process.exitcode is None and time.monotonic() < until_s:
            await asyncio.sleep(0.02)
        return self._process.exitcode

    async def kill(self) -> None:
        """End it as a crash does, if it runs."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        while process.exitcode is None:
            await asyncio.sleep(0.01)
        process.close()

    @property
    def log(self) -> str:
        """All that it wrote to standard error."""
        path = self.folder / "server.log"
        return path.read_text() if path.exists() else ""


def pause_at(where: str) -> Probe:
    """Return a probe at which the process stands still, at the n-th passing of a place."""
    place, _, number = where.partition("#")
    left = [int(number or 1)]

    def passing(name: str) -> None:
        if name == place:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGSTOP)

    return passing


@dataclass(frozen=True)
class _Start:
    folder: Path
    database_url: str
    environment: dict[str, str]
    pause_at: str
    worker: bool
    rotates: bool


def _obey(environment: dict[str, str], words: tuple[str, ...], answer: Connection) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.update(environment)
    done = CliRunner().invoke(app, list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    answer.send((done.exit_code, done.stdout + done.stderr))
    answer.close()


def _serve(start: _Start, ready: Connection) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with (start.folder / "server.log").open("a") as log:
        os.dup2(log.fileno(), 2)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(start, ready))


async def _run(start: _Start, ready: Connection) -> None:
    clock = MovableClock(start.folder / "clock")
    logs.configure("info")
    built = assemble(
        Settings.model_validate(start.environment),
        start.database_url,
        agent=ScriptedAgent(),
        chat=ScriptedChat(),
        oracle=fixed_oracle(clock),
        executors=[
            *makers_in(start.environment),
            ScriptedTools("toolbox", once=start.folder / "refused"),
            ScriptedTools("vision"),
        ],
        clock=clock,
        passing=pause_at(start.pause_at) if start.pause_at else None,
    )
    if start.rotates:
        await built.db.open()
        await rotate(built.db, built.credentials.seal, clock())
    async with listening(build(built, worker=start.worker), "127.0.0.1", 0) as url:
        ready.send(url)
        ready.close()
        await asyncio.Event().wait()
