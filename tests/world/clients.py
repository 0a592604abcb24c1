"""The stock clients of others, as `scripts/clients` installs them."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def installed_clients() -> Path:
    """Return the folder that they are installed in, made where it is not there yet."""
    subprocess.run([ROOT / "scripts" / "clients"], check=True)
    return ROOT / ".cache" / "clients"
