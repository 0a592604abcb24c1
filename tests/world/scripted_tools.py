"""What runs tools in tests: small real pictures and texts, at once, or a refusal where told so."""

import asyncio
import io
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from app.ports import Declined, Made, Step, Stepped, Undoable, Wanted, unwatched_step


def _picture(colour: tuple[int, int, int]) -> bytes:
    """Return a picture of one colour."""
    kept = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(kept, "PNG")
    return kept.getvalue()


@dataclass
class ScriptedTools:
    """Takes the place of all that makes what a spell's steps ask for."""

    name: str
    at_once: int = 4
    refuses: set[str] = field(default_factory=set)  # tools that are declined
    once: Path | None = None  # a file that says that what is refused once was
    asked: list[Wanted] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)  # each waits for it after a step

    def __post_init__(self) -> None:
        self.go.set()

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """Make it, or say why not."""
        self.asked.append(wanted)
        colour = (len(self.asked) * 37 % 256, 90, 120)
        stepped(Step(1, 2, _picture(colour)))
        await self.go.wait()
        if wanted.model in self.refuses or self._refuses_once(wanted):
            return Declined("It can’t be made of that.")
        if wanted.model == "agent":
            return Made(b"A calm lake, {{steps.1.outputs.0}}.", "text/plain")
        return Made(_picture(colour), "image/png", 64, 48)

    def _refuses_once(self, wanted: Wanted) -> bool:
        """Refuse what says so, the first time: also where this process is not the first one."""
        if self.once is None or "REFUSE ONCE" not in str(wanted.inputs) or self.once.exists():
            return False
        self.once.touch()
        return True

    async def healthy(self) -> Undoable | None:
        """It always is."""
        return None

    async def close(self) -> None:
        """Nothing is held."""
