"""Bytes in a folder of this machine, or in a bucket: S3 and what speaks as it does, GCS, Azure.

Names are ids of ours. Each call has a deadline and one answer; what the library says of a failure
may quote an address, so only its kind is logged.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, from_url

from app.ports import NotNow

T = TypeVar("T")

ID: Final = re.compile(r"[0-9a-f]{32}")
PAGE: Final = 1_000
PUT_S: Final = 60.0  # the largest there is, over a slow line
ASK_S: Final = 15.0
CONNECT_S: Final = 3
AWAY: Final = NotNow("The store of artifacts can't be reached just now.")
REFUSED: Final = NotNow("The store of artifacts refuses what was asked of it.")

log = structlog.get_logger("boltwork.artifacts")


class ObjectStore:
    """Keeps the port Store."""

    def __init__(self, store: Any, folder: Path | None, put_s: float, ask_s: float) -> None:
        self._store, self._folder = store, folder
        self._put_s, self._ask_s = put_s, ask_s

    @classmethod
    def in_folder(cls, folder: Path) -> "ObjectStore":
        """Return a store in a folder that only this user may enter; it is made where needed."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(LocalStore(folder), folder, PUT_S, ASK_S)

    @classmethod
    def at(
        cls,
        url: str,
        config: Mapping[str, str],
        *,
        allow_http: bool = False,
        put_s: float = PUT_S,
        ask_s: float = ASK_S,
    ) -> "ObjectStore":
        """Return a store in a bucket, which is not asked yet."""
        client: Any = {
            "allow_http": allow_http,
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "timeout": timedelta(seconds=put_s),
        }
        retry: Any = {"max_retries": 2, "retry_timeout": timedelta(seconds=ask_s)}
        given: Any = dict(config)
        store = from_url(url, config=given, client_options=client, retry_config=retry)
        return cls(store, None, put_s, ask_s)

    async def put(self, name: str, data: bytes) -> NotNow | None:
        """See Store."""
        create = self._store.put_async(name, data, mode="create", use_multipart=False)
        done = await _answer("put", create, self._put_s)
        if isinstance(done, NotNow) or self._folder is None:
            return done if isinstance(done, NotNow) else None
        # A file outlives the process as it is, but not a power cut: its row would be without bytes.
        return await _answer("put", asyncio.to_thread(_settle, self._folder, name), self._put_s)

    async def read(self, name: str, start: int, length: int) -> bytes | NotNow | None:
        """See Store."""
        return await _answer("read", self._piece(name, start, length), self._ask_s)

    async def _piece(self, name: str, start: int, length: int) -> bytes | None:
        try:
            return bytes(await self._store.get_range_async(name, start=start, length=length))
        except FileNotFoundError:
            return None

    async def delete(self, names: Sequence[str]) -> NotNow | None:
        """See Store."""
        if self._folder is not None:  # there the first that is gone would keep the others
            gone = asyncio.to_thread(_remove, self._folder, [n for n in names if _ours(n)])
            return await _answer("delete", gone, self._ask_s)
        done = await _answer("delete", self._store.delete_async(list(names)), self._ask_s)
        return done if isinstance(done, NotNow) else None

    async def older(self, before: datetime) -> AsyncGenerator[list[str] | NotNow, None]:
        """See Store. What lies there under other names is not ours to speak of."""
        if self._folder is not None:
            await asyncio.to_thread(_remove_halves, self._folder, before)
        pages = aiter(self._store.list(chunk_size=PAGE))
        while True:
            page = await _answer("list", anext(pages, None), self._ask_s)
            if page is None:
                return
            if isinstance(page, NotNow):
                yield page
                return
            yield [
                each["path"]
                for each in page
                if _ours(each["path"]) and each["last_modified"] < before
            ]


async def _answer(what: str, asked: Awaitable[T], most_s: float) -> T | NotNow:
    """Return what was answered in time."""
    try:
        async with asyncio.timeout(most_s):
            return await asked
    except AlreadyExistsError:  # a name is chance: this is our own, whose answer was lost
        log.error("store_refused", what=what, error="AlreadyExists")
        return REFUSED
    except TimeoutError:
        log.error("store_away", what=what, error="Timeout")
        return AWAY
    except (BaseError, OSError, ValueError) as error:
        log.error("store_away", what=what, error=type(error).__name__)
        refused = type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError")
        return REFUSED if refused else AWAY


def _ours(name: str) -> bool:
    return ID.fullmatch(name) is not None


def _settle(folder: Path, name: str) -> None:
    """Have the disk keep a file and its name."""
    for path in (folder / name, folder):
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def _remove(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _remove_halves(folder: Path, before: datetime) -> None:
    """Remove what a process had not written to its end when it ended itself."""
    for half in folder.glob("*#*"):
        with contextlib.suppress(FileNotFoundError):
            if half.stat().st_mtime < before.timestamp():
                half.unlink()
