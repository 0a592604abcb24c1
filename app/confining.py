"""Work on strangers' bytes, asked of a process of its own: this is our side of it.

The process is started with the first piece, and again should it die. What comes of a piece is what
its child has answered, or how it ended.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.confined import Means

MIB: Final = 1024 * 1024
SPARE_S: Final = 10  # beyond the child's own deadline
STOP_S: Final = 3
NOTICE_S: Final = 0.2
KEPT: Final = ("PATH", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")


class Closed(Exception):
    """The server is being stopped."""


class Late(Exception):
    """It did not answer, though its own deadline is past: nothing works here."""


class Overdone(Exception):
    """A limit has ended the child that held the piece."""


class Died(Exception):
    """The process itself has died."""


@dataclass(slots=True)
class _Running:
    process: Process
    control: socket.socket


class Confining:
    """Keeps one process of a module that serves (`app.confined.serve`)."""

    def __init__(self, module: str, environment: Sequence[tuple[str, str]] = ()) -> None:
        self._module, self._more = module, dict(environment)
        self._running: _Running | None = None
        self._starting = asyncio.Lock()
        self._closed = False

    async def ask(
        self, kind: str, means: Means, data: bytes, most_bytes: int
    ) -> tuple[dict[str, Any], bytes]:
        """Return what is told of a piece, and what was made of it.

        Raises Closed, Late, Overdone, Died, and OSError where it can't be started.
        """
        running, ours = await self._begun(kind)
        with ours:
            try:
                async with asyncio.timeout(means.wall_s + SPARE_S):
                    return await _asked(ours, data, most_bytes)
            except TimeoutError:
                raise Late from None
            except (EOFError, ConnectionError, ValueError):
                # A limit has ended the child that held the piece; or the process has died, which
                # is noticed a moment after its sockets closed.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(NOTICE_S):
                        await running.process.wait()
                raise (Overdone if running.process.returncode is None else Died) from None

    async def close(self) -> None:
        """Let go of the process; nothing is asked of it afterwards."""
        self._closed = True
        async with self._starting:
            await self._stop()

    async def _begun(self, kind: str) -> tuple[_Running, socket.socket]:
        """Return a process that has taken our socket for a piece."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                running = await self._ready()
                try:
                    socket.send_fds(running.control, [kind.encode()], [theirs.fileno()])
                except OSError:  # it has died, and nobody has noticed yet
                    async with self._starting:
                        if self._running is running:
                            await self._stop()
                    running = await self._ready()
                    socket.send_fds(running.control, [kind.encode()], [theirs.fileno()])
        except BaseException:
            ours.close()
            raise
        return running, ours

    async def _ready(self) -> _Running:
        async with self._starting:
            if self._closed:
                raise Closed
            if self._running is None or self._running.process.returncode is not None:
                await self._stop()
                self._running = await self._start()
            return self._running

    async def _stop(self) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        running.control.close()  # it ends when that does, and with it whoever still works
        try:
            async with asyncio.timeout(STOP_S):
                await running.process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                running.process.kill()
            await running.process.wait()

    async def _start(self) -> _Running:
        # A packet each: two pieces that come at once are two names.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                self._module,
                stdin=theirs.fileno(),
                stdout=DEVNULL,
                stderr=DEVNULL,
                env=_environment() | self._more,
                start_new_session=True,  # a Ctrl-C in the terminal is for us, who then let it end
            )
        return _Running(process, ours)


def _environment() -> dict[str, str]:
    """Return what the process needs of our environment: nothing that could hold a secret."""
    own = {name: os.environ[name] for name in KEPT if name in os.environ}
    here = str(Path(__file__).resolve().parents[1])
    return own | {"PYTHONPATH": os.pathsep.join(filter(None, (own.get("PYTHONPATH"), here)))}


async def _asked(line: socket.socket, data: bytes, most: int) -> tuple[dict[str, Any], bytes]:
    """Send one piece, and return what is told of it and what was made of it."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(line, len(data).to_bytes(8, "big"))
    await loop.sock_sendall(line, data)
    size = int.from_bytes(await _exactly(line, 4), "big")
    if size > MIB:
        raise ValueError("no such answer is given")
    head: dict[str, Any] = json.loads(await _exactly(line, size))
    if not 0 <= head["size"] <= most:
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
