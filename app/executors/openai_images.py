"""Pictures by any server that speaks OpenAI's Images API: OpenAI, LocalAI, stable-diffusion.cpp.

`response_format` is never sent: newer models refuse it. What comes is taken, as base64 or by its
address. Tags by which some of these servers are told more inside a prompt are the operator's: they
are cut out of a stranger's.
"""

from collections.abc import Mapping
from typing import Any, Final

from app.executors.prompts import NOTHING, cleaned
from app.executors.provider import (
    DECLINES,
    MOST_PICTURE_BYTES,
    OTHER_SIZE,
    Heard,
    Provider,
    decoded,
    made,
)
from app.ports import BEGUN, Declined, Made, Stepped, Undoable, Wanted, unwatched_step

MEND: Final = "check IMAGES_URL, IMAGES_KEY, the credit there, and the names in IMAGES_MODELS"
GRID: Final = 64  # models make sides that are multiples of 8, 16 or 64


class OpenAiImages:
    """An executor. `models` maps names of the catalogue to those of the server."""

    def __init__(
        self,
        provider: Provider,
        models: Mapping[str, str],
        *,
        at_once: int,
        deadline_s: float,
        most_side: int,
        finer: bool = False,
    ) -> None:
        self.name, self.at_once = provider.name, at_once
        self._provider, self._models = provider, dict(models)
        self._deadline_s, self._most_side, self._finer = deadline_s, most_side, finer

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """See Executor. There is one answer, and no step but that it is there."""
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
        async with self._provider.turn(self._deadline_s):
            # A third more for base64.
            most_bytes = MOST_PICTURE_BYTES * 4 // 3
            heard = await self._provider.ask("/images/generations", body, most_bytes=most_bytes)
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
        off = max(abs(found.width - wanted.width), abs(found.height - wanted.height))
        return found if off < GRID else Declined(OTHER_SIZE)
