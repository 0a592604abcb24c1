"""What strangers made is encoded anew in a process of its own, which is started once.

Whatever comes of it is a value with a sentence: bytes of a stranger's raise nothing here.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from dataclasses import dataclass
from typing import Any, Final

import structlog

from app.artifacts.bounds import FILM, MIB, MOST_ANSWER, PICTURE, Means
from app.ports import NotNow, Recoded, Unfit

AT_ONCE: Final = 2  # so many pieces are decoded at a time; the rest wait
SPARE_S: Final = 10  # beyond the child's own deadline
STOP_S: Final = 3
NOTICE_S: Final = 0.2
KINDS: Final = {
    "image/png": (b"p", PICTURE),
    "image/jpeg": (b"p", PICTURE),
    "image/webp": (b"p", PICTURE),
    "video/mp4": (b"f", FILM),
}
EMPTY: Final = Unfit("The file is empty.")
NO_KIND: Final = Unfit("Only PNG, JPEG and WebP pictures and MP4 films are taken.")
TOO_MUCH: Final = Unfit(
    "To decode this takes more time or memory than is given to one file: send a smaller one."
)
NOT_NOW: Final = NotNow("Files can't be decoded just now.")
CLOSED: Final = NotNow("The server is being stopped.")

log = structlog.get_logger("boltwork.artifacts")


@dataclass(slots=True)
class _Press:
    process: Process
    control: socket.socket


class Pressing:
    """Keeps the process that decodes: started with the first piece, and again should it die."""

    def __init__(self) -> None:
        self._press: _Press | None = None
        self._starting = asyncio.Lock()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._closed = False

    async def recode(self, data: bytes, media_type: str) -> Recoded | Unfit | NotNow:
        """See Recoder."""
        if media_type not in KINDS:
            return NO_KIND
        kind, means = KINDS[media_type]
        if not data:
            return EMPTY
        if len(data) > means.input_bytes:
            return Unfit(f"The file is larger than {means.input_bytes // MIB} MiB.")
        async with self._room:
            try:
                return await self._pressed(kind, means, data)
            except OSError as error:  # the process could not be started, or is just dying
                log.error("press_broke", error=type(error).__name__)
                return NOT_NOW

    async def close(self) -> None:
        """See Recoder."""
        self._closed = True
        async with self._starting:
            await self._stop()

    async def _pressed(self, kind: bytes, means: Means, data: bytes) -> Recoded | Unfit | NotNow:
        press, ours = await self._begun(kind)
        if press is None:
            return CLOSED
        with ours:
            try:
                async with asyncio.timeout(means.wall_s + SPARE_S):
                    head, made = await _asked(ours, data)
            except TimeoutError:
                return NOT_NOW  # its own deadline has ended it before, unless nothing works here
            except (EOFError, ConnectionError, ValueError):
                # A limit has ended the child that held the piece; or the press itself has died,
                # which is noticed a moment after its sockets closed.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(NOTICE_S):
                        await press.process.wait()
                return TOO_MUCH if press.process.returncode is None else NOT_NOW
        if "error" in head:
            log.warning("press_refused", error=head["error"])
        if "refused" in head:
            return Unfit(str(head["refused"]))
        return Recoded(made, head["media_type"], head["width"], head["height"], head["duration_ms"])

    async def _begun(self, kind: bytes) -> tuple[_Press | None, socket.socket]:
        """Return a press that has taken our socket for a piece; None when all is being stopped."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            press = await self._ready()
            try:
                if press is not None:
                    socket.send_fds(press.control, [kind], [theirs.fileno()])
            except OSError:  # it has died, and nobody has noticed yet
                async with self._starting:
                    if self._press is press:
                        await self._stop()
                press = await self._ready()
                if press is not None:
                    socket.send_fds(press.control, [kind], [theirs.fileno()])
        return press, ours

    async def _ready(self) -> _Press | None:
        async with self._starting:
            if self._closed:
                return None
            if self._press is None or self._press.process.returncode is not None:
                await self._stop()
                self._press = await _started()
            return self._press

    async def _stop(self) -> None:
        press, self._press = self._press, None
        if press is None:
            return
        press.control.close()  # it ends when that does, and with it whoever still decodes
        try:
            async with asyncio.timeout(STOP_S):
                await press.process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                press.process.kill()
            await press.process.wait()


async def _started() -> _Press:
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "app.artifacts.press",
            stdin=theirs.fileno(),
            stdout=DEVNULL,
            stderr=DEVNULL,
            env=_environment(),
            start_new_session=True,  # a Ctrl-C in the terminal is for us, who then let it finish
        )
    return _Press(process, ours)


def _environment() -> dict[str, str]:
    """Return what the process needs of our environment: nothing that could hold a secret."""
    kept = ("PATH", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ}


async def _asked(line: socket.socket, data: bytes) -> tuple[dict[str, Any], bytes]:
    """Send one piece, and return what is told of it and what was made of it."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(line, len(data).to_bytes(8, "big"))
    await loop.sock_sendall(line, data)
    size = int.from_bytes(await _exactly(line, 4), "big")
    if size > MIB:
        raise ValueError("no such answer is given")
    head: dict[str, Any] = json.loads(await _exactly(line, size))
    if not 0 <= head["size"] <= MOST_ANSWER:
        raise ValueError("no such answer is given")
    return head, await _exactly(line, head["size"])


async def _exactly(line: socket.socket, size: int) -> bytes:
    """Return so many bytes. Raises EOFError when it ends before."""
    loop, held = asyncio.get_running_loop(), bytearray(size)
    view, at = memoryview(held), 0
    while at < size:
        got = await loop.sock_recv_into(line, view[at:])
        if not got:
            raise EOFError
        at += got
    return bytes(held)
