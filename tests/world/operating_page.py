"""docs/operating.md, whose steps are followed as they are written."""

import os
import re
import subprocess
from pathlib import Path

from db.embedded import packaged_binaries
from tests.world.patience import PATIENCE_S
from tests.world.server_process import COMMAND, ServerProcess

ROOT = Path(__file__).parents[2]
OPERATING = (ROOT / "docs" / "operating.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")


def steps(heading: str) -> str:
    """Return the commands below a heading of the page."""
    section = OPERATING.split(f"## {heading}\n")[1].split("\n## ")[0]
    return "\n".join(re.findall(r"(?m)^    (.*)$", section))


def follow(heading: str, server: ServerProcess, backup: Path) -> str:
    """Do what the page says below a heading, and return what was printed."""
    path = f"{COMMAND.parent}:{packaged_binaries()}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", steps(heading)],
        env=server.environment | {"PATH": path, "BACKUP": str(backup)},
        capture_output=True, text=True, cwd="/", timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
