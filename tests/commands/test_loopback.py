"""What is on this machine is asked directly, whatever proxy the environment names."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.world.server_process import ServerProcess
from tests.world.trace_collector import collecting

PRICE = b'{"usd": 100000}'
ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(PRICE) + PRICE


@dataclass
class Heard:
    """A server that names one price to whatever it is asked, as a source and as a proxy."""

    url: str = ""
    asked: list[str] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Write down which address was asked for: a proxy is asked for a whole URL."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split(b" ")[1].decode())
        writer.write(ANSWER)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def hearing() -> AsyncIterator[Heard]:
    """Listen for as long as the block lasts."""
    heard = Heard()
    async with await asyncio.start_server(heard.answer, "127.0.0.1", 0) as server:
        heard.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield heard


async def test_prices_and_traces_of_this_machine_pass_no_proxy(server: ServerProcess) -> None:
    """A price source and a collector of traces on loopback are reached past the environment's
    proxy; a source elsewhere is asked through it."""
    async with hearing() as source, hearing() as proxy, collecting() as collector:
        server.environment |= {
            "BTC_PRICE_SOURCES": f"here={source.url}/#usd,away=http://prices.invalid/#usd",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            **{name: proxy.url for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY")},
        }
        await asyncio.to_thread(server.start)
        assert await asyncio.to_thread(server.stop) == 0  # what was traced is sent before the end
    assert source.asked and set(source.asked) == {"/"}
    assert proxy.asked and set(proxy.asked) == {"http://prices.invalid/"}
    assert collector.spans
