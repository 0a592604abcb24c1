"""Pictures and films by Venice: pictures in one answer, films by its queue.

What each model takes is read from Venice's own list: sides or shapes, lengths, how long a prompt
may be. What it doesn't take is refused before a call is spent. A film that was paid for is asked
for until the deadline, whatever single answers say, and its storage is freed in the end.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from app.executors.provider import (
    DECLINES,
    MOST_FILM_BYTES,
    MOST_PICTURE_BYTES,
    OTHER_SIZE,
    TOO_SHORT,
    UNAVAILABLE,
    Heard,
    Provider,
    ProviderBroke,
    is_of_shape,
    is_short,
    made,
)
from app.executors.shapes import nearest
from app.ports import BEGUN, Declined, Made, Step, Stepped, Undoable, Wanted, unwatched_step

NAME: Final = "venice"
BASE_URL: Final = "https://api.venice.ai/api/v1"
PROBE_PATH: Final = "/api_keys/rate_limits"
MEND: Final = "check VENICE_API_KEY, the balance at Venice, and the names in VENICE_MODELS"
MOST_SIDE: Final = 1_280
MOST_LIST_BYTES: Final = 8 * 1024 * 1024
LIST_S: Final = 3_600.0
POLL_S: Final = 5.0
MOST_SEED: Final = 999_999_999
MOST_LOST: Final = 5  # answers about one film
_TIERS: Final = {1_024: "1K", 2_048: "2K"}


@dataclass(frozen=True, slots=True)
class Takes:
    """What a model takes, as Venice says it; empty: nothing is said of it."""

    shapes: tuple[str, ...] = ()
    resolutions: tuple[str, ...] = ()
    durations: tuple[str, ...] = ()
    divisor: int = 1
    most_prompt: int = 0
    most_steps: int = 0


class Venice:
    """An executor. `models` maps names of the catalogue to Venice's."""

    name = NAME

    def __init__(
        self,
        provider: Provider,
        models: Mapping[str, str],
        *,
        at_once: int,
        deadline_s: float,
        film_deadline_s: float,
        poll_s: float = POLL_S,
    ) -> None:
        self.at_once = at_once
        self._provider, self._models, self._poll_s = provider, dict(models), poll_s
        self._deadline_s, self._film_deadline_s = deadline_s, film_deadline_s
        self._takes: dict[str, Takes] = {}
        self._read_at_s = 0.0

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """See Executor."""
        if wanted.model not in self._models:
            return Undoable(f"{wanted.model} isn't made here.", MEND)
        if wanted.reference:
            return Undoable(f"{wanted.model} works from words alone, and takes no picture.")
        film = wanted.duration_ms > 0
        async with self._provider.turn(self._film_deadline_s if film else self._deadline_s):
            takes = await self._taken_by(self._models[wanted.model])
            if isinstance(takes, Undoable | Declined):
                return takes
            if takes.most_prompt and len(wanted.prompt) > takes.most_prompt:
                return Declined(f"{wanted.model} reads at most {takes.most_prompt} characters.")
            make = self._film if film else self._picture
            return await make(wanted, takes, stepped)

    async def healthy(self) -> Undoable | None:
        """See Executor."""
        return await self._provider.healthy()

    async def close(self) -> None:
        """See Executor."""
        await self._provider.close()

    async def _taken_by(self, model: str) -> Takes | Undoable | Declined:
        """Return what a model takes, by a list that is read once an hour."""
        now_s = asyncio.get_running_loop().time()
        if not self._takes or now_s - self._read_at_s > LIST_S:
            heard = await self._provider.ask(
                "/models", query={"type": "all"}, most_bytes=MOST_LIST_BYTES
            )
            if heard.status != 200:
                return self._provider.refused(heard)
            self._takes, self._read_at_s = _list_of(heard), now_s
        takes = self._takes.get(model)
        if takes is None:
            self._provider.tell("has no such model", 200)
            return Undoable(UNAVAILABLE, MEND)
        return takes

    async def _picture(
        self, wanted: Wanted, takes: Takes, stepped: Stepped
    ) -> Made | Declined | Undoable:
        body: dict[str, Any] = {
            "model": self._models[wanted.model],
            "prompt": wanted.prompt,
            "format": "png",
            "return_binary": True,
            "hide_watermark": True,
            "safe_mode": True,  # what it blurs is declined
            "seed": wanted.seed % MOST_SEED,
        }
        if wanted.negative_prompt:
            body["negative_prompt"] = wanted.negative_prompt[: takes.most_prompt or None]
        if wanted.steps and takes.most_steps:
            body["steps"] = min(wanted.steps, takes.most_steps)
        if takes.shapes:
            shape = nearest(wanted, takes.shapes)
            if shape is None:
                return _other_shapes(wanted, takes)
            body["aspect_ratio"] = shape
            if takes.resolutions:
                body["resolution"] = _tier(wanted, takes)
        elif max(wanted.width, wanted.height) > MOST_SIDE:
            return Undoable(f"{wanted.model} makes sides of at most {MOST_SIDE} pixels.")
        else:
            body["width"] = wanted.width - wanted.width % takes.divisor
            body["height"] = wanted.height - wanted.height % takes.divisor
        heard = await self._provider.ask("/image/generate", body, most_bytes=MOST_PICTURE_BYTES)
        if heard.status != 200:
            return self._provider.refused(heard)
        stepped(BEGUN)
        if "true" in (heard.headers.get(name, "").lower() for name in _HIDDEN):
            return Declined(DECLINES)
        found = made(heard.body, wanted)
        if found is None:
            raise self._provider.broke("its answer holds no picture", heard.status)
        self._provider.gate.made()
        return found if is_of_shape(found, wanted) else Declined(OTHER_SIZE)

    async def _film(
        self, wanted: Wanted, takes: Takes, stepped: Stepped
    ) -> Made | Declined | Undoable:
        seconds, named = f"{wanted.duration_ms // 1_000}s", f"{min(wanted.width, wanted.height)}p"
        if takes.durations and seconds not in takes.durations:
            return Declined(f"{wanted.model} makes films of {', '.join(takes.durations)} only.")
        if takes.resolutions and named not in takes.resolutions:
            return Declined(f"{wanted.model} makes {', '.join(takes.resolutions)} only.")
        shape = nearest(wanted, takes.shapes) if takes.shapes else ""
        if shape is None:
            return _other_shapes(wanted, takes)
        body = {
            "model": self._models[wanted.model], "prompt": wanted.prompt, "duration": seconds,
            **({"negative_prompt": wanted.negative_prompt} if wanted.negative_prompt else {}),
            **({"resolution": named} if takes.resolutions else {}),
            **({"aspect_ratio": shape} if shape else {}),
        }  # fmt: skip
        heard = await self._provider.ask("/video/queue", body)
        if heard.status == 409:  # the operator's consent to rules of that model
            self._provider.tell("wants a consent", heard.status)
            return Undoable(UNAVAILABLE, MEND)
        if heard.status != 200:
            return self._provider.refused(heard)
        stepped(BEGUN)
        queued = heard.json()
        if not isinstance(queued, dict) or not isinstance(queued.get("queue_id"), str):
            raise self._provider.broke("its answer names no film", heard.status)
        which = {"model": body["model"], "queue_id": queued["queue_id"]}
        try:
            return await self._awaited(which, queued.get("download_url"), wanted, stepped)
        finally:
            await self._provider.free("/video/complete", which)

    async def _awaited(
        self, which: Mapping[str, str], download_url: object, wanted: Wanted, stepped: Stepped
    ) -> Made | Declined | Undoable:
        """Ask for a film until it is there: it is paid for, and single answers may be lost."""
        for _ in range(MOST_LOST):
            film: bytes | None = None
            with suppress(ProviderBroke):
                while film is None:
                    await asyncio.sleep(self._poll_s)
                    heard = await self._provider.ask(
                        "/video/retrieve", which, most_bytes=MOST_FILM_BYTES
                    )
                    if heard.status >= 500 or heard.status == 404:
                        break
                    if heard.status != 200:
                        return self._provider.refused(heard)
                    film = await self._film_of(heard, download_url, stepped)
            if film is not None:
                return self._judged(film, wanted)
        raise self._provider.broke("its film is lost")

    async def _film_of(self, heard: Heard, download_url: object, stepped: Stepped) -> bytes | None:
        """Return the film, or None while it is being made."""
        if heard.media_type != "application/json":
            return heard.body
        body = heard.json()
        body = body if isinstance(body, dict) else {}
        match body.get("status"):
            case "PROCESSING":
                usual, yet = body.get("average_execution_time"), body.get("execution_duration")
                if isinstance(usual, int | float) and isinstance(yet, int | float) and usual > 0:
                    stepped(Step(min(99, max(0, int(100 * yet / usual))), 100))
                return None
            case "COMPLETED" if isinstance(download_url, str):
                return await self._provider.fetch(download_url, MOST_FILM_BYTES)
            case _:
                raise self._provider.broke("its answer says nothing of the film", heard.status)

    def _judged(self, film: bytes, wanted: Wanted) -> Made | Declined:
        found = made(film, wanted)
        if found is None:
            raise self._provider.broke("its answer holds no film", 200)
        self._provider.gate.made()
        return Declined(TOO_SHORT) if is_short(film, wanted) else found


_HIDDEN: Final = ("x-venice-is-blurred", "x-venice-is-content-violation")


def _other_shapes(wanted: Wanted, takes: Takes) -> Declined:
    return Declined(f"{wanted.model} makes these shapes only: {', '.join(takes.shapes)}.")


def _tier(wanted: Wanted, takes: Takes) -> str:
    """Return the smallest resolution that holds what was asked for."""
    side = max(wanted.width, wanted.height)
    fits = [tier for most, tier in _TIERS.items() if side <= most and tier in takes.resolutions]
    return fits[0] if fits else takes.resolutions[-1]


def _list_of(heard: Heard) -> dict[str, Takes]:
    """Return what each model of Venice's list takes; what can't be read of it is left out."""
    body = heard.json()
    rows = body.get("data") if isinstance(body, dict) else None
    takes = {}
    for row in rows if isinstance(rows, list) else ():
        spec = row.get("model_spec") if isinstance(row, dict) else None
        said = spec.get("constraints") if isinstance(spec, dict) else None
        if isinstance(row, dict) and isinstance(row.get("id"), str):
            takes[row["id"]] = _takes(said if isinstance(said, dict) else {})
    return takes


def _takes(said: Mapping[str, Any]) -> Takes:
    steps = said.get("steps")
    return Takes(
        _texts(said.get("aspectRatios", said.get("aspect_ratios"))),
        _texts(said.get("resolutions")),
        _texts(said.get("durations")),
        max(1, _number(said.get("widthHeightDivisor"))),
        _number(said.get("promptCharacterLimit")),
        _number(steps.get("max")) if isinstance(steps, dict) else 0,
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) and 0 < value < 1_000_000 else 0
