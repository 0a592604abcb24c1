"""One connection: HTTP/1.1 only, closed when its client is silent, slow or gone.

Hypercorn reads and writes the protocol. Here is what it leaves open: a time for a whole request
head, few bytes kept for a client that doesn't read them, and the file closed at once.
"""

import asyncio
import contextlib
import select
from asyncio import StreamReader, StreamReaderProtocol, StreamWriter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import h11
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import AppWrapper, ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr

READ_BYTES = 64 * 1024
LINGER_BYTES = 1024 * 1024  # taken and thrown away, of a request that was answered already
SLICE_BYTES = 64 * 1024  # handed over at once: the rest waits for its reader, and is not copied


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each part of an exchange may take, in seconds."""

    head_s: float = 10.0  # for a request's head, from its first byte, or from the connection's
    idle_s: float = 15.0  # for a next request
    take_s: float = 60.0  # for a slice of an answer to be taken
    gone_s: float = 5.0  # for the answer to a client that sends no more, and may be gone
    linger_s: float = 2.0  # for the rest of a request that was answered before its end


# A proxy keeps its connections for minutes, and is to be the one who closes them.
OF_PROXIES = Patience(idle_s=75.0)


class Unspoken(Exception):
    """A request in another version of HTTP."""


class Http11(H11Protocol):
    """HTTP/1.1 as Hypercorn speaks it, without its ways into HTTP/2.

    Without TLS nobody needs them: browsers do not speak HTTP/2 that way, and proxies speak
    HTTP/1.1 to us. An `Upgrade: h2c` is passed over, as its sender must expect.
    """

    async def handle(self, event: Event) -> None:
        """Handle what came in."""
        try:
            await super().handle(event)
        except Unspoken:
            await self._send_error_response(505)
            await self.send(Closed())

    async def _check_protocol(self, event: h11.Request) -> None:
        if event.http_version not in (b"1.0", b"1.1"):
            raise Unspoken


class Wire(StreamReaderProtocol):
    """The streams of a connection, and news of its end even while nothing reads it."""

    ended: Callable[[], None] | None = None  # the other end says no more
    lost: Callable[[], None] | None = None  # its file is given back
    _passed_over: asyncio.Event | None = None  # set when nothing comes any more

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.arrived = 0  # bytes, in all

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._resume = cast(asyncio.Transport, transport).resume_reading  # of uvloop's it is none
        super().connection_made(transport)

    async def pass_over(self) -> None:
        """Discard what still arrives, until the client stops, or sends too much."""
        self._last = self.arrived + LINGER_BYTES
        self._passed_over = asyncio.Event()
        self._resume()  # it may have had to wait for us
        await self._passed_over.wait()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self.arrived += len(data)
        if self._passed_over is None:
            super().data_received(data)
        elif self.arrived > self._last:
            self._passed_over.set()

    def eof_received(self) -> bool | None:
        """See asyncio.Protocol."""
        if self.ended is not None:
            self.ended()
        if self._passed_over is not None:
            self._passed_over.set()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        if self._passed_over is not None:
            self._passed_over.set()
        if self.lost is not None:
            self.lost()


@dataclass(frozen=True, slots=True)
class Site:
    """What all connections share."""

    app: AppWrapper
    config: Config
    context: WorkerContext
    state: LifespanState
    patience: Patience
    # Called when a connection begins to wait for a request, has one, and has ended.
    rests: Callable[["Connection"], None]
    works: Callable[["Connection"], None]
    leaves: Callable[["Connection"], None]


class Connection:
    """Serves one connection."""

    def __init__(self, site: Site, reader: StreamReader, writer: StreamWriter) -> None:
        self._site, self._reader, self._writer = site, reader, writer
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._idle = False
        self._in_head = True  # the first request is waited for like its head
        self._gone = False  # the other end says no more
        self._closed = False
        self._taken = 0  # bytes, of what arrived

    @property
    def peer(self) -> str:
        """The address of the other end."""
        address = self._writer.get_extra_info("peername")
        return str(address[0]) if address else ""

    @property
    def _wire(self) -> Wire:
        wire = self._writer.transport.get_protocol()
        assert isinstance(wire, Wire)
        return wire

    async def serve(self) -> None:
        """Serve it to its end."""
        socket = self._writer.get_extra_info("socket")
        self._wire.ended, self._wire.lost = self._ended, self._lost
        self._writer.transport.set_write_buffer_limits(high=SLICE_BYTES)
        try:
            client = parse_socket_addr(socket.family, socket.getpeername())
            server = parse_socket_addr(socket.family, socket.getsockname())
        except OSError:  # gone already
            self._writer.transport.abort()
            return
        try:
            async with TaskGroup(self._loop) as group:
                self._protocol = Http11(
                    self._site.app,
                    self._site.config,
                    self._site.context,
                    group,
                    ConnectionState(self._site.state),
                    False,
                    client,
                    server,
                    self._send,
                )
                self._rest(self._site.patience.head_s)
                await self._read()
        except OSError:
            pass
        finally:
            await self._close()

    def drop(self) -> bool:
        """Close it at once, unless an answer is still being sent. Return whether it was closed."""
        if self._writer.transport.get_write_buffer_size() or self._is_spoken_to():
            return False
        self._writer.transport.abort()
        return True

    def _is_spoken_to(self) -> bool:
        """Return whether a request is arriving that is not read yet."""
        if self._wire.arrived > self._taken:
            return True
        socket = self._writer.get_extra_info("socket")
        ear = select.poll()
        ear.register(socket.fileno(), select.POLLIN)
        return bool(ear.poll(0))

    async def _read(self) -> None:
        while not self._closed:
            try:
                data = await self._reader.read(READ_BYTES)
            except OSError:
                break
            self._taken += len(data)
            if self._idle and not self._in_head:
                self._in_head = True
                self._rest(self._site.patience.head_s)
            await self._protocol.handle(RawData(data))
            if not data:
                break
        self._ended()
        await self._protocol.handle(Closed())
        if self._idle:
            await self._close()

    async def _send(self, event: Event) -> None:
        match event:
            case RawData():
                async with self._sending:
                    well = await self._write(event.data)
                if not well:
                    await self._protocol.handle(Closed())
            case Closed():
                await self._close()
            case Updated(idle=True) if self._gone:
                await self._close()
            case Updated(idle=True):
                self._in_head = False
                self._rest(self._site.patience.idle_s)
            case Updated():
                self._work()

    async def _write(self, data: bytes) -> bool:
        """Send data as fast as the client takes it. Return whether it took all of it."""
        transport = self._writer.transport
        try:
            for piece in _slices(data):
                if self._writer.is_closing():
                    return False
                self._writer.write(piece)
                if transport.get_write_buffer_size() > SLICE_BYTES:
                    async with asyncio.timeout(self._site.patience.take_s):
                        await self._writer.drain()
        except TimeoutError:
            transport.abort()
            return False
        except (OSError, RuntimeError):
            return False
        return True

    def _rest(self, wait_s: float) -> None:
        self._idle = True
        self._at(wait_s, self._tired)
        self._site.rests(self)

    def _work(self) -> None:
        self._idle = False
        self._at(None)
        if self._gone:
            self._ended()
        self._site.works(self)

    def _at(self, wait_s: float | None, then: Callable[[], object] | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wait_s is not None and then is not None and not self._closed:
            self._timer = self._loop.call_later(wait_s, then)

    def _tired(self) -> None:
        """End a wait for a request. An answer that is still being read has its time first."""
        if not self.drop():
            self._at(self._site.patience.take_s, self._writer.transport.abort)

    def _ended(self) -> None:
        """Note that the client sends no more: it may still be reading, or be gone."""
        self._gone = True
        if not self._idle:
            self._at(self._site.patience.gone_s, self._writer.transport.abort)

    async def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._at(None)
        transport = self._writer.transport
        try:
            if self._writer.can_write_eof():
                self._writer.write_eof()
            await self._linger()
            self._writer.close()
            async with asyncio.timeout(self._site.patience.take_s):
                await self._writer.wait_closed()
        except (OSError, RuntimeError, TimeoutError):
            pass
        finally:
            transport.abort()

    async def _linger(self) -> None:
        """Let a client that is still sending its request read the answer.

        Bytes that come to a closed connection are answered with a reset, which destroys what the
        other end has not read yet (RFC 9112, section 9.6).
        """
        their_state = getattr(self._protocol.connection, "their_state", None)
        if self._gone or their_state not in (h11.SEND_BODY, h11.ERROR):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._site.patience.linger_s):
                await self._wire.pass_over()

    def _lost(self) -> None:
        self._at(None)
        self._site.leaves(self)


def _slices(data: bytes) -> Iterator[bytes | memoryview]:
    if len(data) <= SLICE_BYTES:
        yield data
        return
    whole = memoryview(data)
    for start in range(0, len(data), SLICE_BYTES):
        yield whole[start : start + SLICE_BYTES]
