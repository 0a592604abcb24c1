"""What the program knows of its worker at each server: one file, which only its owner reads.

It is written whole beside the old one, and then takes its place: a crash leaves one of the two. One
process at a time has it: two with one worker would take each other's items for their own.
"""

import contextlib
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class Unkept(Exception):
    """The file can't be used. The message says why."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A worker at a server: its id there, and the token that opens it; both empty where it is only
    about to be registered, under this key, this name and for this destination, with a secret that
    has its token told again. `payout_key` signs where its pay goes."""

    worker_id: str = ""
    token: str = ""
    key: str = ""
    name: str = ""
    to: str = ""
    secret: str = ""
    payout_key: str = ""  # 64 hex digits, of the private half


def default_path() -> Path:
    """Return where the file is, as the XDG Base Directory Specification has it."""
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        root = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    except RuntimeError as error:  # a user without an entry in /etc/passwd, and no HOME
        raise Unkept("This user has no home: say with --state where to keep the file.") from error
    return root / "boltwork" / "lend.json"


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Have the file to oneself for as long as the block lasts. Raises Unkept.

    The system lets go of it however the process ends.
    """
    lock = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unkept(f"{lock} can't be written: {error.strerror}.") from error
    with os.fdopen(handle, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            number = file.read(20).strip()
            who = f" (process {number})" if number.isdecimal() else ""
            raise Unkept(
                f"Another `boltwork lend`{who} works with {path}. Give this one a file of its own,"
                " with --state."
            ) from error
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


def read(path: Path, url: str) -> Kept | None:
    """Return the worker at a server; None: none is known there. Raises Unkept."""
    return _all(path).get(url)


def write(path: Path, url: str, kept: Kept) -> None:
    """Keep a worker at a server. Raises Unkept."""
    _write(path, _all(path) | {url: kept})


def forget(path: Path, url: str) -> None:
    """Keep nothing of a server any more. Raises Unkept."""
    _write(path, {at: kept for at, kept in _all(path).items() if at != url})


def _write(path: Path, workers: dict[str, Kept]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # 0600
        with os.fdopen(handle, "w") as file:
            json.dump({at: _filled(kept) for at, kept in workers.items()}, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except OSError as error:
        raise Unkept(f"{path} can't be written: {error.strerror}.") from error


def _filled(kept: Kept) -> dict[str, str]:
    return {name: value for name, value in asdict(kept).items() if value}


def _is_key(text: str) -> bool:
    """Say whether a text is a key's, or empty: there is none."""
    return not text or re.fullmatch("[0-9a-f]{64}", text) is not None


def _all(path: Path) -> dict[str, Kept]:
    try:
        said: Any = json.loads(path.read_bytes())
        workers = {str(url): Kept(**each) for url, each in said.items()}
        if not all(isinstance(v, str) for each in workers.values() for v in asdict(each).values()):
            raise TypeError("a text is none")
        if not all(_is_key(kept.payout_key) for kept in workers.values()):
            raise TypeError("a key is none")
        return workers
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Unkept(f"{path} can't be read: {error.strerror}.") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise Unkept(f"{path} isn't a file of this program. Move it away.") from error
