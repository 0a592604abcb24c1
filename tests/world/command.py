"""A command, run to its end: a program of its own, or forked where all of it is imported."""

import os
import subprocess
from pathlib import Path

from tests.world.forked import Forked
from tests.world.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
BARE = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
NO_SOURCES = {"BTC_PRICE_SOURCES": "nobody=http://127.0.0.1:9/#usd"}


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        [str(word) for word in words],
        env=BARE | NO_SOURCES | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=ROOT,
    )


def boltwork(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `boltwork WORDS` to its end, without the second that its imports take."""
    with open(os.memfd_create("out"), "w+") as out, open(os.memfd_create("err"), "w+") as err:
        process = Forked(
            words, ROOT, BARE | NO_SOURCES | environment, stdout=out.fileno(), stderr=err.fileno()
        )
        code = process.wait(PATIENCE_S)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(words, code, out.read(), err.read())


class Terminal:
    """Commands of `boltwork`, one after the other, in an environment."""

    def __init__(self, **environment: str) -> None:
        self._environment = environment

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command; return its exit code, and what it printed."""
        done = boltwork(*words, **self._environment)
        return done.returncode, done.stdout + done.stderr
