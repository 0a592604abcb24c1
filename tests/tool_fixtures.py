"""What tests of tools need: somebody with a key and a balance, and a server of pictures."""

import asyncio
import io
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from PIL import Image

from tests.account_fixtures import has, signed_in
from tests.house_fixtures import Instance


async def person(shop: Instance, sats: int) -> dict[str, str]:
    """Open an account with a balance; return the header of a key of its."""
    holder = await signed_in(shop, f"p-{secrets.token_hex(4)}")
    asked = await shop.post("/api/account/deposits", {"amountSats": sats}, headers=holder)
    await shop.pay(asked.json()["invoice"])
    await has(shop, holder, sats)
    made = await shop.post("/api/v1/user/apikeys", {}, headers=holder)
    return {"x-api-key": made.json()["apiKey"]}


def _png() -> bytes:
    kept = io.BytesIO()
    Image.new("RGB", (90, 60), "orange").save(kept, "PNG")
    return kept.getvalue()


@dataclass
class Pictures:
    """A server of somebody else's: one picture, and what should have been one."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    hostile: dict[str, str] = field(
        default_factory=lambda: {
            "/gone.png": "answers with status 404",
            "/away.png": "redirect, which is not followed",
            "/page.html": "is not a PNG, JPEG or WebP picture",
            "/cut.png": "can be decoded",
            "/huge.png": "answers with too much",
        }
    )

    def _answer(self, path: str) -> bytes:
        body, status = _png(), "200 OK"
        match path:
            case "/gone.png":
                status = "404 Not Found"
            case "/away.png":
                status = "302 Found\r\nLocation: /cat.png"
            case "/page.html":
                body = b"<script>planted()</script>"
            case "/cut.png":
                body = body[: len(body) // 2]
            case "/huge.png":
                body = bytes(17 << 20)
        return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and note its path."""
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode()
        self.asked.append(path)
        try:
            writer.write(self._answer(path))
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Pictures"]:
        """Serve for as long as the block lasts."""
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self
