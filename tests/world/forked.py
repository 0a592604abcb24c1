"""The command `boltwork` in a process that is forked from one which has imported everything.

A start costs a fork and not a second of imports. What it is called with, its environment, what it
reads, where it writes and how it ends are its own, as of any command.
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
CONTEXT.set_forkserver_preload(["tests.world.forked_ground"])

_PR_SET_PDEATHSIG = 1
_one_at_a_time = threading.Lock()  # whoever starts or asks one, asks all of them how they ended


class Forked:
    """`boltwork WORDS`, as far as a subprocess.Popen of it would be used.

    It reads nothing unless it is given a `stdin`; without a `stdout` it writes to a pipe of ours.
    """

    def __init__(
        self,
        words: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        *,
        stderr: int,
        stdin: int | None = None,
        stdout: int | None = None,
    ) -> None:
        self.stdout: TextIO | None = None
        if stdout is None:
            reader, writer = os.pipe()
            self.stdout = os.fdopen(reader, encoding="utf8")
        theirs = [
            Connection(os.open(os.devnull, os.O_RDWR) if stdin is None else os.dup(stdin)),
            Connection(writer if stdout is None else os.dup(stdout), readable=False),
            Connection(os.dup(stderr), readable=False),
        ]
        self._process = CONTEXT.Process(
            target=_command, args=(list(words), str(cwd), dict(env), theirs), daemon=True
        )
        with _one_at_a_time:
            self._process.start()
        for each in theirs:
            each.close()

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
    words: list[str], cwd: str, environment: dict[str, str], ours: list[Connection]
) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, each in enumerate(ours):
        os.dup2(each.fileno(), number)
        each.close()
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # multiprocessing has closed the other
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["boltwork", *words]
    from app.commands.cli import main

    main()
