"""The command `boltwork` in a process that is forked from one which has imported everything.

A start costs a fork and not a second of imports. What it is called with, its environment, where it
writes and how it ends are its own, as of any command.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["app.commands.cli", "app.commands.serve", "app.serving.run", "tests.crash_server"]
)

_PR_SET_PDEATHSIG = 1
_one_at_a_time = threading.Lock()  # whoever starts or asks one, asks all of them how they ended


class Forked:
    """`boltwork WORDS`, as far as a subprocess.Popen of it would be used."""

    def __init__(
        self, words: Sequence[str], cwd: Path, env: Mapping[str, str], stderr: int
    ) -> None:
        reader, writer = os.pipe()
        self.stdout: TextIO = os.fdopen(reader, encoding="utf8")
        out = Connection(writer, readable=False)
        err = Connection(os.dup(stderr), readable=False)
        self._process = CONTEXT.Process(
            target=_command, args=(list(words), str(cwd), dict(env), out, err), daemon=True
        )
        with _one_at_a_time:
            self._process.start()
        out.close()
        err.close()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process.pid is not None
        return self._process.pid

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""
        with _one_at_a_time:
            return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Wait for its end, and return its exit code."""
        until_s = time.monotonic() + timeout
        while (code := self.poll()) is None:
            assert time.monotonic() < until_s, "it does not end"
            time.sleep(0.01)
        return code


def _command(
    words: list[str], cwd: str, environment: dict[str, str], out: Connection, err: Connection
) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for ours, number in ((out, 1), (err, 2)):
        os.dup2(ours.fileno(), number)
        ours.close()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["boltwork", *words]
    from app.commands.cli import main

    main()
