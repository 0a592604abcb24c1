"""A proxy between us and a server that lets chosen calls go wrong, and counts all of them.

It speaks HTTP/1.1, one request to a connection, and passes websockets through. What it injects
is what networks and proxies do (refuse, hang, cut, drip), what gateways say (429, 5xx, HTML), and
answers that are whole and wrong.
"""

import asyncio
import json
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

DRIP_S = 0.3


@dataclass
class _Request:
    method: str
    path: str
    raw: bytes
    upgrades: bool


@dataclass
class _Rule:
    fault: str
    method: str
    prefix: str
    times: int
    holding: bytes


def _error(status: int, headers: str = "") -> bytes:
    body = b'{"detail":"injected"}'
    return _answer(status, body, headers)


def _answer(
    status: int, body: bytes, headers: str = "", content: str = "application/json"
) -> bytes:
    head = (
        f"HTTP/1.1 {status} Injected\r\nContent-Type: {content}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
    )
    return head.encode() + body


HTML = b"<!doctype html><title>502 Bad Gateway</title>"

# Answered by the proxy itself: the server never hears of the request.
ANSWERED: dict[str, bytes] = {
    "401": _error(401),
    "403": _error(403),
    "404": _error(404),
    "429": _error(429),
    "429 with Retry-After": _error(429, "Retry-After: 17\r\n"),
    "500": _error(500),
    "502": _error(502),
    "503": _error(503, "Retry-After: 9\r\n"),
    "520": _error(520),
    "200 with HTML": _answer(200, HTML, content="text/html"),
    "201 with nothing": _answer(201, b""),
    "redirect": _answer(307, b"", "Location: http://127.0.0.1:1/\r\n"),
    "not HTTP": b"\x00\x01\x02 what?\r\n\r\n",
}


def _payment(told: Any) -> Any:
    """Return the part of an answer that is the payment, or the answer."""
    return told.get("details", told) if isinstance(told, dict) else told


def _without_preimage(told: Any) -> None:
    told["paid"] = True
    told["preimage"] = None
    _payment(told).update(status="success", preimage=None)


def _wrong_preimage(told: Any) -> None:
    told["paid"] = True
    told["preimage"] = "ab" * 32
    _payment(told).update(status="success", preimage="ab" * 32)


def _another_hash(told: Any) -> None:
    _payment(told)["payment_hash"] = "cd" * 32


def _fraction(told: Any) -> None:
    for name in ("amount", "fee", "balance"):
        if name in _payment(told):
            _payment(told)[name] += 0.5


def _negative(told: Any) -> None:
    for name in ("amount", "balance"):
        if name in _payment(told):
            _payment(told)[name] *= -1


def _strings(told: Any) -> None:
    for part in [told, *([told["details"]] if "details" in told else [])]:
        for name, value in part.items():
            part[name] = {"not": "that"} if isinstance(value, str) else str(value)


def _not_final(status: str) -> Callable[[Any], None]:
    def change(told: Any) -> None:
        if "details" in told:
            told.update(paid=False, status=status)
        _payment(told)["status"] = status

    return change


# The server hears of it and does it; its answer is changed.
CHANGED: dict[str, Callable[[Any], None]] = {
    "paid without preimage": _without_preimage,
    "paid with a wrong preimage": _wrong_preimage,
    "another hash": _another_hash,
    "fractional amounts": _fraction,
    "negated amounts": _negative,
    "wrong types": _strings,
    "says failed": _not_final("failed"),
    "says pending": _not_final("pending"),
}

# The server hears of it and does it; its answer does not arrive whole.
LOST = ("answer lost", "reset in mid-body", "slow drip", "truncated JSON", "a megabyte", "gzip")
UNHEARD = ("hang", "reset", *ANSWERED)


class FaultProxy:
    """Listens on 127.0.0.1. `calls` counts requests by (method, path)."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (str(parts.hostname), int(parts.port or 80))
        self._server: asyncio.Server | None = None
        self._rules: list[_Rule] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._pipes: set[asyncio.StreamWriter] = set()
        self._previous: bytes = b""
        self.calls: Counter[tuple[str, str]] = Counter()
        self.heard: list[bytes] = []  # every request, whole
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def before(cls, upstream: str) -> AsyncIterator["FaultProxy"]:
        """Give a proxy that stands before a server, and close it afterwards."""
        proxy = cls(upstream)
        await proxy.listen()
        try:
            yield proxy
        finally:
            await proxy.refuse()
            for task in list(proxy._connections):
                task.cancel()
            await asyncio.gather(*proxy._connections, return_exceptions=True)

    @property
    def url(self) -> str:
        """Return the address to use instead of the server's."""
        return f"http://127.0.0.1:{self.port}"

    async def listen(self) -> None:
        """Accept connections, on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Refuse connections until `listen`. Open ones stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def inject(
        self,
        fault: str,
        method: str = "",
        prefix: str = "/",
        times: int = 1,
        holding: bytes = b"",
    ) -> None:
        """Let the next `times` calls of this method, to paths that begin so, go wrong.

        `holding`: only those whose bytes hold this; one path may stand for several calls.
        """
        known = {"refuse", "previous answer", *UNHEARD, *LOST, *CHANGED}
        assert fault in known, f"no such fault: {fault}"
        self._rules.append(_Rule(fault, method, prefix, times, holding))

    def clear(self) -> None:
        """Let nothing more go wrong, and count from zero."""
        self._rules.clear()
        self.calls.clear()

    def cut_websockets(self) -> None:
        """Reset every websocket that passes through."""
        for writer in list(self._pipes):
            writer.transport.abort()

    # ------------------------------------------------------------------ within

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _read_request(reader)
        self.calls[request.method, request.path] += 1
        self.heard.append(request.raw)
        fault = self._take(request)
        if fault in ANSWERED:
            writer.write(ANSWERED[fault])
            await writer.drain()
        elif fault == "hang":
            await reader.read()  # until the client gives up
        elif fault == "reset":
            _reset(writer)
        elif request.upgrades:
            await self._pipe(request, reader, writer)
        else:
            await self._forward(request, fault, writer)

    def _take(self, request: _Request) -> str:
        for rule in self._rules:
            if (
                rule.times > 0
                and rule.method in ("", request.method)
                and request.path.startswith(rule.prefix)
                and rule.holding in request.raw
            ):
                rule.times -= 1
                return rule.fault
        return ""

    async def _forward(self, request: _Request, fault: str, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        up_writer.write(request.raw)
        answer = await up_reader.read()  # to its end: the server was asked to close
        up_writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        previous, self._previous = self._previous, answer
        if fault == "previous answer":
            answer = previous
        elif fault in CHANGED:
            told = json.loads(body)
            CHANGED[fault](told)
            answer = _answer(int(head.split()[1]), json.dumps(told).encode())
        elif fault == "truncated JSON":
            answer = _answer(int(head.split()[1]), body[: len(body) // 2])
        elif fault == "a megabyte":
            answer = _answer(int(head.split()[1]), body[:-1] + b" " * 1_000_000 + body[-1:])
        elif fault == "gzip":
            answer = _answer(int(head.split()[1]), b"\x1f\x8b" + body, "Content-Encoding: gzip\r\n")
        elif fault == "reset in mid-body":
            writer.write(head + b"\r\n\r\n" + body[: len(body) // 2])
            await writer.drain()
            await asyncio.sleep(0.05)  # a reset throws away what was not read yet
            _reset(writer)
            return
        elif fault == "answer lost":
            _reset(writer)
            return
        if fault != "slow drip":
            writer.write(answer)
            await writer.drain()
            return
        for position in range(len(answer)):
            writer.write(answer[position : position + 1])
            await writer.drain()
            await asyncio.sleep(DRIP_S)

    async def _pipe(
        self, request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        up_writer.write(request.raw)
        self._pipes.add(writer)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while piece := await source.read(65_536):
                    sink.write(piece)
                    await sink.drain()
            sink.close()

        try:
            await asyncio.gather(copy(reader, up_writer), copy(up_reader, writer))
        finally:
            self._pipes.discard(writer)
            up_writer.close()


async def _read_request(reader: asyncio.StreamReader) -> _Request:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *fields = head.decode("latin-1").rstrip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    upgrades = "upgrade" in headers
    if not upgrades:
        fields = [field for field in fields if not field.lower().startswith("connection:")]
        fields.append("Connection: close")
    raw = "\r\n".join([first, *fields, "", ""]).encode("latin-1") + body
    return _Request(method, target.partition("?")[0], raw, upgrades)


def _reset(writer: asyncio.StreamWriter) -> None:
    peer = writer.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def never_accepting() -> Iterator[str]:
    """Give an address where connecting takes for ever: its queue is full, and nobody accepts."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for filler in fillers:
                filler.close()
