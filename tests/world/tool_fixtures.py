"""What tests of tools need: somebody with a key and a balance, and a server of pictures."""

import asyncio
import io
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from app.executors.toolbox import Toolbox
from app.ports import Declined, Made, Undoable, Wanted
from app.trade.catalogue import Surface
from app.trade.inputs import pictures_in, with_defaults
from app.trade.tools import KNOWN
from tests.world.account_fixtures import has, signed_in
from tests.world.house_fixtures import Instance
from tests.world.patience import patiently


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


async def run_ended(shop: Instance, generation_id: str, **headers: str) -> dict[str, Any]:
    """Poll a run until it has ended."""
    said: dict[str, Any] = {}
    async for look in patiently("it did not end", pause_s=0.01):
        where = f"/api/v1/generations/status/{generation_id}"
        answer = await shop.http.get(where, params={"wait": "5"}, headers=headers)
        assert answer.status_code == 200, answer.text
        look.saw = said = answer.json()
        if said["status"] in ("completed", "failed"):
            break
        assert said["checkAfterMs"] >= 500 and said["estimatedDurationSeconds"] >= 1
    return said


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


SIZE = (96, 64)
BLUE, RED = (20, 40, 200), (200, 30, 20)


def drawn(size: tuple[int, int] = SIZE, *, kind: str = "PNG") -> bytes:
    """Return a picture that is blue to the left and red to the right."""
    picture = Image.new("RGB", size, BLUE)
    picture.paste(RED, (size[0] * 3 // 4, 0, *size))
    kept = io.BytesIO()
    picture.save(kept, kind)
    return kept.getvalue()


PICTURE = drawn()


def inputs_of(tool: str, **given: Any) -> dict[str, Any]:
    """Return the inputs of a run as its schema completes them, with a picture where one goes."""
    [offering] = [each for each in KNOWN if each.id == tool]
    schema = offering.inputs[Surface.TOOLS]
    for name in set(pictures_in(schema)) & set(schema["required"]):
        is_list = schema["properties"][name]["type"] == "array"
        given.setdefault(name, ["artifact:a"] * 3 if is_list else "artifact:a")
    return with_defaults(schema, given)


async def run(
    toolbox: Toolbox, tool: str, data: bytes = PICTURE, **given: Any
) -> Made | Declined | Undoable:
    """Run a tool on a picture."""
    inputs, files = inputs_of(tool, **given), {"artifact:a": data}
    return await toolbox.make(Wanted(tool, inputs=inputs, files=files))


async def pictured(toolbox: Toolbox, tool: str, data: bytes = PICTURE, **given: Any) -> Image.Image:
    """Return the picture that a tool makes."""
    made = await run(toolbox, tool, data, **given)
    assert isinstance(made, Made), made
    picture = Image.open(io.BytesIO(made.data))
    picture.load()
    assert (made.media_type, made.width, made.height) == (
        Image.MIME[picture.format or ""], *picture.size,
    )  # fmt: skip
    return picture
