"""A TCP proxy that can fall silent: it takes all that is sent on, and passes nothing on.

So does a middlebox that has forgotten a connection, or a host that hangs: no error is ever told.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast


class SilentProxy:
    """Listens on 127.0.0.1. Connections that are frozen stay open, and new ones work."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._ends = set[_End]()  # two of each connection, both of which are open
        self._opening = set[asyncio.Task[None]]()
        self.opened = 0
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def before(cls, host: str, port: int) -> AsyncIterator["SilentProxy"]:
        """Give a proxy that stands before a server, and close it afterwards."""
        proxy = cls(host, port)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _End(proxy._ends, proxy._met), "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            for task in list(proxy._opening):
                task.cancel()
            await asyncio.gather(*proxy._opening, return_exceptions=True)
            for end in list(proxy._ends):
                end.transport.abort()

    def freeze(self) -> int:
        """Let every connection that is open fall silent, for good; return how many those are."""
        for end in self._ends:
            end.frozen = True
        return sum(end.is_callers for end in self._ends)

    def _met(self, end: "_End") -> None:
        """Open the other half of a connection that was accepted."""
        self.opened += 1
        end.is_callers = True
        opening = asyncio.ensure_future(self._joined(end))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _joined(self, end: "_End") -> None:
        try:
            _, other = await asyncio.get_running_loop().create_connection(
                lambda: _End(self._ends), *self._upstream
            )
        except OSError:
            end.transport.abort()
            return
        end.other, other.other, other.frozen = other, end, end.frozen
        other.transport.write(end.early)
        if end.transport.is_closing():
            other.transport.abort()


class _End(asyncio.Protocol):
    """One end of a connection: what is read here is written to the other one."""

    transport: asyncio.Transport

    def __init__(self, ends: set["_End"], met: Callable[["_End"], None] | None = None) -> None:
        self._ends, self._met = ends, met
        self.other: _End | None = None
        self.early = b""  # what was read before there was another end
        self.frozen = self.is_callers = self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own kind is not one by name
        self._ends.add(self)
        if self._met is not None:
            self._met(self)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early += data
        elif not self.frozen:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        if self.other is None or self.other.ended:
            return False  # nothing is to come from either: both are closed
        if not self.frozen:
            self.other.transport.write_eof()
        return True  # the other may still have something to say

    def connection_lost(self, exc: Exception | None) -> None:
        self._ends.discard(self)
        if self.other is not None:
            self.other.transport.close()

    def pause_writing(self) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()
