"""A terminal in a process of its own, which has imported everything: a command costs no start.

Each line of its standard input is a JSON list: an environment, and the words after `boltwork`; each
line that it writes is what came of them.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server_process import INHERITED

ROOT = Path(__file__).parents[1]


class Terminals:
    """A process for the commands of any number of terminals. Use as a context manager."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.terminal_process"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Terminals":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def run(self, environment: dict[str, str], *words: str) -> tuple[int, str]:
        """Run a command; return its exit code, and what it printed."""
        with self._one_at_a_time:
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.stdin.write(json.dumps([environment, *words]) + "\n")
            self._process.stdin.flush()
            done: dict[str, Any] = json.loads(self._process.stdout.readline())
        return done["code"], done["printed"]


@pytest.fixture(scope="session")
def terminals() -> Iterator[Terminals]:
    """The process of every terminal."""
    with Terminals() as process:
        yield process


class Terminal:
    """Commands, one after the other, in an environment."""

    def __init__(self, terminals: Terminals, **environment: str) -> None:
        kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
        self._terminals, self._environment = terminals, kept | environment

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command; return its exit code, and what it printed."""
        return self._terminals.run(self._environment, *words)


def serve() -> None:
    """Run what is asked for until there is nothing more to read."""
    from typer.testing import CliRunner

    from app.commands.cli import app

    for line in sys.stdin:
        environment, *words = json.loads(line)
        os.environ.clear()
        os.environ.update(environment)
        done = CliRunner().invoke(app, words)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        print(json.dumps({"code": done.exit_code, "printed": done.stdout + done.stderr}))
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
