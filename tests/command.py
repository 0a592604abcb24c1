"""A command, run to its end in a process of its own."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
BARE = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
NO_SOURCES = {"BTC_PRICE_SOURCES": "nobody=http://127.0.0.1:9/#usd"}


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [str(word) for word in words],
        env=BARE | NO_SOURCES | environment,
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
    )
