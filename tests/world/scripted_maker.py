"""What makes items in tests: real pictures, small and at once, or what the prompt says."""

import asyncio
import io
from dataclasses import dataclass, field
from random import Random

from PIL import Image

from app.ports import Declined, Made, NotBegun, Step, Stepped, Undoable, Wanted, unwatched_step

SLOW_S = 0.3  # of a picture that is made slowly


def picture(wanted: Wanted) -> bytes:
    """Return a picture of one colour, which its seed chooses; or of SQUARES, likewise."""
    kept, size = io.BytesIO(), (wanted.width // 16, wanted.height // 16)
    if "SQUARES" in wanted.prompt:
        squares = Image.frombytes("L", (9, 9), Random(wanted.seed).randbytes(81))
        squares.resize(size, Image.Resampling.NEAREST).convert("RGB").save(kept, "PNG")
        return kept.getvalue()
    colour = tuple((wanted.seed * step) % 256 for step in (37, 91, 53))
    Image.new("RGB", size, colour).save(kept, "PNG")
    return kept.getvalue()


@dataclass
class ScriptedMaker:
    """The embedded painter's place taken: each picture as soon as `go` is set.

    A prompt with REFUSE is declined, one with BREAK can never be made; SOME has every other item
    declined, SLOWLY takes a moment, and with AWAY who makes it can't be asked the first time.
    """

    name: str = "scene-1"
    at_once: int = 1
    go: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[Wanted] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.go.set()

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """Make it, or say why not."""
        if "AWAY" in wanted.prompt and wanted.prompt not in {each.prompt for each in self.asked}:
            self.asked.append(wanted)
            raise NotBegun
        self.asked.append(wanted)
        stepped(Step(1, 2, picture(wanted)))
        await self.go.wait()
        if "SLOWLY" in wanted.prompt:
            await asyncio.sleep(SLOW_S)
        if "BREAK" in wanted.prompt:
            return Undoable("It can’t be painted.")
        if "REFUSE" in wanted.prompt or ("SOME" in wanted.prompt and len(self.asked) % 2):
            return Declined("Nobody paints <b>that</b>.")
        return Made(picture(wanted), "image/png", wanted.width // 16, wanted.height // 16)

    async def healthy(self) -> Undoable | None:
        """It always is."""
        return None

    async def close(self) -> None:
        """Nothing is held."""
