"""What the program knows of its worker at each server: one file, which only its owner reads.

It is written whole beside the old one, and then takes its place: a crash leaves one of the two.
"""

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class Unkept(Exception):
    """The file can't be read or written. The message says why."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A worker at a server: its id there, and the token that opens it."""

    worker_id: str
    token: str


def default_path() -> Path:
    """Return where the file is, as the XDG Base Directory Specification has it."""
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        root = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    except RuntimeError as error:  # a user without an entry in /etc/passwd, and no HOME
        raise Unkept("This user has no home: say with --state where to keep the file.") from error
    return root / "boltwork" / "lend.json"


def read(path: Path, url: str) -> Kept | None:
    """Return the worker at a server; None: none is known there. Raises Unkept."""
    return _all(path).get(url)


def write(path: Path, url: str, kept: Kept) -> None:
    """Keep a worker at a server. Raises Unkept."""
    workers = _all(path) | {url: kept}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # 0600
        with os.fdopen(handle, "w") as file:
            json.dump({at: asdict(each) for at, each in workers.items()}, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except OSError as error:
        raise Unkept(f"{path} can't be written: {error.strerror}.") from error


def _all(path: Path) -> dict[str, Kept]:
    try:
        said: Any = json.loads(path.read_bytes())
        return {str(url): Kept(**each) for url, each in said.items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Unkept(f"{path} can't be read: {error.strerror}.") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise Unkept(f"{path} isn't a file of this program. Move it away.") from error
