"""The clients of others, in an environment of their own: installed where they are not there yet."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def installed_clients() -> Path:
    """Return the folder that they are in: `venv` has Python's, `node_modules` those of npm."""
    subprocess.run([ROOT / "scripts" / "clients"], check=True)
    return ROOT / ".cache" / "clients"
