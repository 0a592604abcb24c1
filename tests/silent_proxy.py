"""A TCP proxy that can fall silent: it takes all that is sent on, and passes nothing on.

So does a middlebox that has forgotten a connection, or a host that hangs: no error is ever told.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class SilentProxy:
    """Listens on 127.0.0.1. Connections that are frozen stay open, and new ones work."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._frozen: asyncio.Event = asyncio.Event()  # of the connections that are open now
        self._open: set[asyncio.Task[None]] = set()
        self.opened = 0
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def before(cls, host: str, port: int) -> AsyncIterator["SilentProxy"]:
        """Give a proxy that stands before a server, and close it afterwards."""
        proxy = cls(host, port)
        server = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            for task in list(proxy._open):
                task.cancel()
            await asyncio.gather(*proxy._open, return_exceptions=True)

    def freeze(self) -> int:
        """Let every connection that is open fall silent, for good; return how many those are."""
        self._frozen.set()
        self._frozen = asyncio.Event()
        return len(self._open)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task, frozen = asyncio.current_task(), self._frozen
        assert task is not None
        self._open.add(task)
        self.opened += 1
        up_writer = None
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
            await asyncio.gather(_pass(reader, up_writer, frozen), _pass(up_reader, writer, frozen))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            for end in (writer, up_writer):
                if end is not None:
                    end.close()


async def _pass(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, frozen: asyncio.Event
) -> None:
    while piece := await source.read(65_536):
        if frozen.is_set():
            continue  # acknowledged, and lost
        sink.write(piece)
        with suppress(OSError):
            await sink.drain()
    if not frozen.is_set() and sink.can_write_eof():
        with suppress(OSError):
            sink.write_eof()
