"""Pictures and films by Google's Gemini API: pictures in one answer, films as interactions that run
in the background there.

Films are those of the models of Gemini Omni: Veo isn't offered by this API any more. What is wanted
no more is cancelled, and what was made is not left there.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

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
    decoded,
    is_blocked,
    is_of_shape,
    is_short,
    made,
)
from app.executors.shapes import nearest
from app.ports import BEGUN, Declined, Made, Stepped, Undoable, Wanted, unwatched_step

NAME: Final = "gemini"
BASE_URL: Final = "https://generativelanguage.googleapis.com"
PROBE_PATH: Final = "/v1beta/models?pageSize=1"
MEND: Final = "check GEMINI_API_KEY, what it may spend, and the names in GEMINI_MEDIA"
SHAPES: Final = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
FILM_SHAPES: Final = ("16:9", "9:16")
LEAST_S, MOST_S = 3, 15  # of a film
MOST_SHORT_SIDE: Final = 720
FILMS: Final = {  # what may be asked of a film, in the catalogue's words
    "aspect_ratio": (*FILM_SHAPES, "landscape", "portrait"),
    "duration": range(LEAST_S, MOST_S + 1),
}
POLL_S: Final = 5.0
MOST_LOST: Final = 5  # answers about one film
_MOST_JSON: Final = 4 * MOST_PICTURE_BYTES // 3

# A model's own failures; any other reason to stop means that it will not make this.
_FAILED: Final = ("OTHER", "IMAGE_OTHER", "NO_IMAGE", "MAX_TOKENS", "FINISH_REASON_UNSPECIFIED")
_RUNS: Final = ("queued", "in_progress")


class GoogleMedia:
    """An executor. `models` maps names of the catalogue to Google's."""

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

    async def make(
        self, wanted: Wanted, stepped: Stepped = unwatched_step
    ) -> Made | Declined | Undoable:
        """See Executor. The API tells no step of either, but that it has begun."""
        if wanted.model not in self._models:
            return Undoable(f"{wanted.model} isn't made here.", MEND)
        if wanted.reference:
            return Undoable(f"{wanted.model} works from words alone, and takes no picture.")
        film = wanted.duration_ms > 0
        shapes = FILM_SHAPES if film else SHAPES
        shape = nearest(wanted, shapes)
        if shape is None:
            return Declined(f"{wanted.model} makes these shapes only: {', '.join(shapes)}.")
        async with self._provider.turn(self._film_deadline_s if film else self._deadline_s):
            return await (self._film if film else self._picture)(wanted, shape, stepped)

    async def healthy(self) -> Undoable | None:
        """See Executor."""
        return await self._provider.healthy()

    async def close(self) -> None:
        """See Executor."""
        await self._provider.close()

    async def _picture(
        self, wanted: Wanted, shape: str, stepped: Stepped
    ) -> Made | Declined | Undoable:
        size = "1K" if max(wanted.width, wanted.height) <= 1_024 else "2K"
        body = {
            "contents": [{"role": "user", "parts": [{"text": wanted.prompt}]}],
            "generationConfig": {
                "candidateCount": 1,
                "responseModalities": ["IMAGE"],
                "imageConfig": {"aspectRatio": shape, "imageSize": size},
            },
        }
        path = f"/v1beta/models/{self._models[wanted.model]}:generateContent"
        heard = await self._provider.ask(path, body, most_bytes=_MOST_JSON)
        if heard.status != 200:
            return self._provider.refused(heard)
        stepped(BEGUN)
        answer = heard.json()
        answer = answer if isinstance(answer, dict) else {}
        for part in _each(_first(answer.get("candidates")), "content", "parts"):
            blob = part.get("inlineData")
            picture = decoded(blob.get("data")) if isinstance(blob, dict) else None
            found = made(picture, wanted) if picture and not part.get("thought") else None
            if found is not None:
                self._provider.gate.made()
                return found if is_of_shape(found, wanted) else Declined(OTHER_SIZE)
        feedback = answer.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            return Declined(DECLINES)
        reason = _first(answer.get("candidates")).get("finishReason")
        if isinstance(reason, str) and reason not in ("STOP", *_FAILED):
            return Declined(DECLINES)
        raise self._provider.broke("its answer holds no picture", heard.status)

    async def _film(
        self, wanted: Wanted, shape: str, stepped: Stepped
    ) -> Made | Declined | Undoable:
        seconds = wanted.duration_ms // 1_000
        if not LEAST_S <= seconds <= MOST_S or min(wanted.width, wanted.height) > MOST_SHORT_SIDE:
            says = f"films of {LEAST_S} to {MOST_S} seconds, of at most {MOST_SHORT_SIDE}p"
            return Declined(f"{wanted.model} makes {says}.")
        body = {
            "model": self._models[wanted.model],
            "input": wanted.prompt,
            "background": True,
            "response_format": {
                "type": "video",
                "aspect_ratio": shape,
                "duration": f"{seconds}s",
                "resolution": f"{MOST_SHORT_SIDE}p",
                "delivery": "uri",
            },
        }
        heard = await self._provider.ask("/v1beta/interactions", body)
        if heard.status != 200:
            return self._provider.refused(heard)
        stepped(BEGUN)
        begun = heard.json()
        name = begun.get("id") if isinstance(begun, dict) else None
        if not isinstance(name, str) or not name.replace("-", "").replace("_", "").isalnum():
            raise self._provider.broke("its answer names no film", heard.status)
        path = f"/v1beta/interactions/{name}"
        try:
            return await self._awaited(path, begun, wanted)
        except BaseException:  # cancelled, late, broken: it is wanted no more
            await self._provider.free(f"{path}/cancel", {})
            raise
        finally:
            await self._provider.free(path, method="DELETE")

    async def _awaited(
        self, path: str, begun: Mapping[str, Any], wanted: Wanted
    ) -> Made | Declined | Undoable:
        """Ask for a film until it is there: it is paid for, and single answers may be lost."""
        told: Mapping[str, Any] = begun
        for _ in range(MOST_LOST):
            with suppress(ProviderBroke):
                while told.get("status") in _RUNS:
                    await asyncio.sleep(self._poll_s)
                    heard = await self._provider.ask(path, most_bytes=_MOST_JSON)
                    if heard.status >= 500 or heard.status == 404:
                        raise self._provider.broke("its answer", heard.status)
                    if heard.status != 200:
                        return self._provider.refused(heard)
                    told = _object(heard)
                if told.get("status") != "completed":
                    break
                film = await self._film_of(told)
                found = made(film, wanted)
                if found is not None:
                    self._provider.gate.made()
                    return Declined(TOO_SHORT) if is_short(film, wanted) else found
            await asyncio.sleep(self._poll_s)  # a file may be ready a little later
        return self._ended(told)

    def _ended(self, told: Mapping[str, Any]) -> Declined | Undoable:
        """Return why there is no film."""
        if told.get("status") == "budget_exceeded":
            self._provider.tell("has no budget left")
            trouble = Undoable(UNAVAILABLE, MEND)
            self._provider.gate.shut(trouble)
            return trouble
        errors = [step.get("error") for step in _each(told, "steps")]
        if any(is_blocked(error) for error in errors if isinstance(error, dict)):
            return Declined(DECLINES)
        raise self._provider.broke("it has made no film")

    async def _film_of(self, told: Mapping[str, Any]) -> bytes:
        for step in _each(told, "steps"):
            for part in _each(step, "content"):
                data = decoded(part.get("data")) if part.get("type") == "video" else None
                if data is not None:
                    return data
                if part.get("type") == "video" and isinstance(part.get("uri"), str):
                    return await self._fetched(part["uri"])
        raise self._provider.broke("its answer holds no film")

    async def _fetched(self, uri: str) -> bytes:
        """Return a file of Google's: with the key at its own address, else as anybody's."""
        parts, own = urlsplit(uri), urlsplit(self._provider.base_url)
        if (parts.scheme, parts.netloc) != (own.scheme, own.netloc):
            return await self._provider.fetch(uri, MOST_FILM_BYTES)
        path = parts.path if parts.path.endswith(":download") else f"{parts.path}:download"
        query = {**dict(parse_qsl(parts.query)), "alt": "media"}
        heard = await self._provider.ask(path, query=query, most_bytes=MOST_FILM_BYTES)
        where = heard.headers.get("location", "")
        if heard.status in (301, 302, 303, 307, 308) and where:
            return await self._provider.fetch(where, MOST_FILM_BYTES)
        if heard.status != 200:
            raise self._provider.broke("its file", heard.status)
        return heard.body


def _object(heard: Heard) -> Mapping[str, Any]:
    body = heard.json()
    return body if isinstance(body, dict) else {"status": "in_progress"}


def _first(rows: object) -> Mapping[str, Any]:
    first = rows[0] if isinstance(rows, list) and rows else None
    return first if isinstance(first, dict) else {}


def _each(value: object, *names: str) -> Iterator[Mapping[str, Any]]:
    """Yield the objects in a list that lies below these names."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    for each in value if isinstance(value, list) else ():
        if isinstance(each, dict):
            yield each
