"""How items look while they are made: the newest picture of each, encoded anew, until they end."""

import asyncio
import io
from dataclasses import dataclass, field

from PIL import Image

from app.artifacts import pictures
from app.artifacts.bounds import Refused
from app.artifacts.previews import MOST_BROUGHT, Previews
from app.ports import NotNow, Recoded, Unfit


def picture(colour: str, kind: str = "PNG") -> bytes:
    """Return a small picture."""
    kept = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(kept, kind)
    return kept.getvalue()


def colour(data: bytes) -> object:
    """Return the colour of a picture."""
    return Image.open(io.BytesIO(data)).getpixel((0, 0))


@dataclass
class Press:
    """What encodes pictures anew, here and not in a process of its own, when it may."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    times: int = 0

    def __post_init__(self) -> None:
        self.go.set()

    async def recode(self, data: bytes, media_type: str) -> Recoded | Unfit | NotNow:
        """See Recoder."""
        self.times += 1
        self.begun.set()
        await self.go.wait()
        try:
            made = pictures.press(data)
        except Refused as refused:
            return Unfit(str(refused))
        return Recoded(made.data, made.media_type, made.width, made.height)

    async def close(self) -> None:
        """Nothing is held."""


async def test_the_newest_one_is_shown() -> None:
    """Encoded once, however many look; what is no picture leaves the one before it."""
    previews, press = Previews(), Press()
    assert previews.number("i") is None and await previews.show("i", press) is None
    previews.keep("i", b"")  # a step without one
    assert previews.number("i") is None
    previews.keep("i", picture("red"))
    looks = await asyncio.gather(*(previews.show("i", press) for _ in range(10)))
    assert all(looks) and len(set(looks)) == 1 and press.times == 1
    previews.keep("i", picture("blue", "JPEG"))
    seen = await previews.show("i", press)
    assert seen is not None and seen.media_type == "image/jpeg" and previews.number("i") == 2
    previews.keep("i", b"<svg onload=alert(1)>")
    assert [await previews.show("i", press) for _ in range(3)] == [seen] * 3 and press.times == 3
    previews.forget("i")
    assert await previews.show("i", press) is None and previews.number("i") is None


async def test_what_ends_while_it_is_looked_at_is_not_shown() -> None:
    """Also where the same item is begun anew meanwhile."""
    previews, press = Previews(), Press()
    press.go.clear()
    previews.keep("i", picture("red"))
    looking = asyncio.create_task(previews.show("i", press))
    await press.begun.wait()
    previews.forget("i")
    previews.keep("i", picture("blue"))
    press.go.set()
    assert await looking is None
    again = await previews.show("i", press)
    assert again is not None and colour(again.data) == (0, 0, 255)


async def test_there_is_room_for_so_many() -> None:
    """Those that were seen last stay; one that is too large is not kept at all."""
    previews, press = Previews(most=2), Press()
    for name in "ab":
        previews.keep(name, picture("red"))
    await previews.show("a", press)
    previews.keep("c", picture("red"))
    assert [previews.number(name) for name in "abc"] == [1, None, 1]
    previews.keep("a", picture("red") + b"\0" * MOST_BROUGHT)
    assert previews.number("a") == 1
