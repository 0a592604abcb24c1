"""Pictures by any server that speaks OpenAI's Images API: OpenAI, LocalAI, stable-diffusion.cpp.

It makes them from words, and, as tools, from a picture and words that say what to change in it.

`response_format` is never sent: newer models refuse it. What comes is taken, as base64 or by its
address. Tags by which some of these servers are told more inside a prompt are the operator's: they
are cut out of a stranger's.
"""

from collections.abc import Mapping
from typing import Any, Final

from app.executors.measure import Measured, measured
from app.executors.prompts import NOTHING, cleaned
from app.executors.provider import (
    DECLINES,
    MOST_PICTURE_BYTES,
    OTHER_SIZE,
    UNFIT,
    Form,
    Heard,
    Provider,
    decoded,
    made,
)
from app.ports import BEGUN, Declined, Made, Stepped, Undoable, Wanted, unwatched_step

MEND: Final = (
    "check IMAGES_URL, IMAGES_KEY, the credit there, and the names in IMAGES_MODELS and"
    " IMAGES_EDITS"
)
GRID: Final = 64  # models make sides that are multiples of 8, 16 or 64


MASK: Final = "The mask must be a PNG with transparent parts, as wide and as high as the picture."
_ALPHA: Final = (4, 6)  # kinds of colour of a PNG that has it


class OpenAiImages:
    """An executor. `models` and `edits` map names of the catalogue to those of the server: of what
    makes pictures from words, and of what changes a picture."""

    def __init__(
        self,
        provider: Provider,
        models: Mapping[str, str],
        *,
        at_once: int,
        deadline_s: float,
        most_side: int,
        finer: bool = False,
        edits: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.at_once = provider.name, at_once
        self._provider, self._models, self._edits = provider, dict(models), dict(edits or {})
        self._deadline_s, self._most_side, self._finer = deadline_s, most_side, finer

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """See Executor. There is one answer, and no step but that it is there."""
        if wanted.model in self._edits:
            return await self._edited(wanted, stepped)
        prompt = cleaned(wanted.prompt)
        refusal = self._refused(wanted) or (None if prompt.strip() else NOTHING)
        if refusal is not None:
            return refusal
        body: dict[str, Any] = {
            "model": self._models[wanted.model],
            "prompt": prompt,
            "n": 1,
            "size": f"{wanted.width}x{wanted.height}",
        }
        if self._finer:
            body |= {"seed": wanted.seed}
            body |= {"steps": wanted.steps} if wanted.steps else {}
            negative = cleaned(wanted.negative_prompt)
            body |= {"negative_prompt": negative} if negative.strip() else {}
        found = await self._asked("/images/generations", body, wanted, stepped)
        if not isinstance(found, Made):
            return found
        off = max(abs(found.width - wanted.width), abs(found.height - wanted.height))
        return found if off < GRID else Declined(OTHER_SIZE)

    async def _edited(self, wanted: Wanted, stepped: Stepped) -> Made | Declined | Undoable:
        """Have a picture changed as words say; its size is the server's choice."""
        prompt = cleaned(wanted.inputs["input_prompt"])
        if not prompt.strip():
            return NOTHING
        data = wanted.files[wanted.inputs["input_image"]]
        picture = measured(data)
        if picture is None or picture.is_film:
            return Declined(UNFIT)
        ending = picture.media_type.partition("/")[2]
        fields = {"model": self._edits[wanted.model], "prompt": prompt, "n": "1"}
        files = {"image": (f"image.{ending}", data, picture.media_type)}
        if "mask" in wanted.inputs:
            mask = wanted.files[wanted.inputs["mask"]]
            if not _masks(mask, picture):
                return Declined(MASK)
            files["mask"] = ("mask.png", mask, "image/png")
        return await self._asked("/images/edits", Form(fields, files), wanted, stepped)

    async def _asked(
        self, path: str, body: object, wanted: Wanted, stepped: Stepped
    ) -> Made | Declined | Undoable:
        async with self._provider.turn(self._deadline_s):
            # A third more for base64.
            most_bytes = MOST_PICTURE_BYTES * 4 // 3
            heard = await self._provider.ask(path, body, most_bytes=most_bytes)
            if heard.status != 200:
                return self._provider.refused(heard)
            stepped(BEGUN)
            return await self._taken(heard, wanted)

    async def healthy(self) -> Undoable | None:
        """See Executor."""
        return await self._provider.healthy()

    async def close(self) -> None:
        """See Executor."""
        await self._provider.close()

    def _refused(self, wanted: Wanted) -> Undoable | None:
        if wanted.model not in self._models:
            return Undoable(f"{wanted.model} isn't made here.", MEND)
        if wanted.duration_ms:
            return Undoable(f"{wanted.model} makes pictures, and no films.")
        if wanted.reference:
            return Undoable(f"{wanted.model} works from words alone, and takes no picture.")
        if max(wanted.width, wanted.height) > self._most_side:
            return Undoable(f"{wanted.model} makes sides of at most {self._most_side} pixels.")
        return None

    async def _taken(self, heard: Heard, wanted: Wanted) -> Made | Declined:
        body = heard.json()
        data = body.get("data") if isinstance(body, dict) else None
        first = data[0] if isinstance(data, list) and data else None
        if not isinstance(first, dict):
            raise self._provider.broke("its answer holds no picture", heard.status)
        if first.get("respect_moderation") is False:  # some answer 200, and leave it out
            return Declined(DECLINES)
        picture = decoded(first.get("b64_json"))
        if picture is None and isinstance(first.get("url"), str):
            picture = await self._provider.fetch(first["url"], MOST_PICTURE_BYTES)
        found = made(picture or b"", wanted)
        if found is None:
            raise self._provider.broke("its answer holds no picture", heard.status)
        self._provider.gate.made()
        return found


def _masks(data: bytes, picture: Measured) -> bool:
    """Say whether a file, as we encode them, can be the mask of a picture."""
    mask = measured(data)
    if mask is None or mask.media_type != "image/png" or len(data) < 26:
        return False
    return data[25] in _ALPHA and (mask.width, mask.height) == (picture.width, picture.height)
