"""A receiver of notices on this machine: it answers as a test wants, or not at all."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.world.patience import PATIENCE_S
from tests.world.talking import talking


@dataclass
class Came:
    """A notice as it came in."""

    body: bytes
    headers: dict[str, str]

    @property
    def told(self) -> dict[str, Any]:
        """What it says."""
        return dict(json.loads(self.body))


@dataclass
class NoticeServer:
    """`answers` are whole answers, one a notice, the last one for all that follow; None: none."""

    answers: list[bytes | None] = field(default_factory=lambda: [said(200, b"thanks")])
    host: str = "127.0.0.1"
    port: int = 0
    scheme: str = "http"
    came: list[Came] = field(default_factory=list)
    at_once: int = 0  # that are being answered
    most_at_once: int = 0
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        """Return where notices are sent."""
        return f"{self.scheme}://{self.host}:{self.port}/hook?of=mine"

    @property
    def receiver(self) -> str:
        """Return what the server is called as a receiver."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["NoticeServer"]:
        """Listen for as long as the block lasts."""
        async with talking(self._talk, tls) as port:
            self.port, self.scheme = port, "https" if tls else "http"
            yield self

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")[1:]
        headers = dict(line.split(": ", 1) for line in lines if line)
        headers = {name.lower(): value for name, value in headers.items()}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        async with self._arrived:
            self.came.append(Came(body, headers))
            self._arrived.notify_all()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            answer = self.answers[min(len(self.came), len(self.answers)) - 1]
            if answer is None:
                await reader.read()  # until the other side gives up
                return
            writer.write(answer)
            await writer.drain()
        finally:
            self.at_once -= 1

    async def until(self, count: int) -> list[Came]:
        """Wait until so many have come, and return them."""
        async with asyncio.timeout(PATIENCE_S), self._arrived:
            await self._arrived.wait_for(lambda: len(self.came) >= count)
        return self.came


def said(status: int, body: bytes = b"", headers: str = "") -> bytes:
    """Return a whole HTTP answer."""
    head = f"HTTP/1.1 {status} Said\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body
