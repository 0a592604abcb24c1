"""Files of a server's: bounded, held to what it says they are, and kept whole or not at all.

No file has a name of the server's.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO

from app.buyer.client import Client
from app.buyer.failures import Strange
from app.buyer.payer import Exit, Stop

MIB = 1024 * 1024
# What a file may be: its ending here, how it begins, and how long it may be.
KINDS = {
    "image/png": ("png", 0, b"\x89PNG\r\n\x1a\n", 64 * MIB),
    "image/jpeg": ("jpg", 0, b"\xff\xd8\xff", 64 * MIB),
    "image/webp": ("webp", 8, b"WEBP", 64 * MIB),
    "image/svg+xml": ("svg", 0, b"<svg ", 64 * MIB),
    "video/mp4": ("mp4", 4, b"ftyp", 512 * MIB),
}
# What is between the brackets of a drawing.
_PLAIN = re.compile(
    rb'(?:svg|path)(?: (?:xmlns|width|height|viewBox|d|fill|transform)="[^"&]*")* ?/?|/svg'
)


async def fetched(
    client: Client, path: str, media_type: str | None, sha256: str | None, into: IO[bytes]
) -> str:
    """Write a file of the server's into one of ours; return the ending of its name.

    Raises Strange where it is not what the server says it is, and Refused (410 where it was kept
    for its time).
    """
    known = KINDS.get(media_type or "")
    if known is None:
        raise Strange(client.url, "it made a file of a kind that is not known here")
    ending, at, begins, most = known
    await client.download(path, into, most)
    if await asyncio.to_thread(_sha256, into) != sha256:
        raise Strange(client.url, "a file is not the one that it says it made")
    into.seek(at)
    if into.read(len(begins)) != begins:
        raise Strange(client.url, "a file is not of the kind that it says it is")
    if ending == "svg" and not await asyncio.to_thread(_is_plain, into):
        raise Strange(client.url, "a drawing has more in it than shapes")
    return ending


def _sha256(file: IO[bytes]) -> str:
    """Return the hash of all that a file holds."""
    file.seek(0)
    hashed = hashlib.sha256()
    while piece := file.read(MIB):
        hashed.update(piece)
    return hashed.hexdigest()


def _is_plain(file: IO[bytes]) -> bool:
    """Say whether a drawing is of coloured paths alone: whoever opens it runs nothing."""
    file.seek(0)
    tags = re.split(rb"[<>]", file.read())
    return not any(text.strip() for text in tags[::2]) and all(
        _PLAIN.fullmatch(tag) for tag in tags[1::2]
    )


class Folder:
    """Where files are kept."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self) -> None:
        """Make the folder, or raise Stop: before anything is paid."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                return
        except OSError as error:
            raise Stop(
                Exit.REFUSED, f"Nothing can be written in {self.path}: {error.strerror}."
            ) from error

    def there(self, stem: str, *others: str) -> Path | None:
        """Return the file of this name that is there already, whatever its ending."""
        for ending in (*(known[0] for known in KINDS.values()), *others):
            if (path := self.path / f"{stem}.{ending}").is_file():
                return path
        return None

    async def keep(self, stem: str, write: Callable[[IO[bytes]], Awaitable[str]]) -> Path:
        """Have a file be written, whole or not at all; `write` says the ending of its name."""
        number, draft = tempfile.mkstemp(dir=self.path, prefix=".boltwork-")
        try:
            with os.fdopen(number, "w+b") as file:
                ending = await write(file)
                await asyncio.to_thread(_keep, file)
            path = self.path / f"{stem}.{ending}"
            os.replace(draft, path)
            return path
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)


def _keep(file: IO[bytes]) -> None:
    """Have a file be there, whatever happens next, for whoever may read others of its folder."""
    file.flush()
    os.fsync(file.fileno())
    os.fchmod(file.fileno(), 0o644)
