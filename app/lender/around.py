"""Which servers that make pictures are on this machine, by their usual ports and what they answer.

What listens at such a port may be anything: it is taken for what its answer shows, or for nothing.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from app.executors import a1111, comfyui
from app.executors.provider import OPERATORS, Hears, Provider

HERE: Final = "127.0.0.1"
MOST_LIST_BYTES: Final = 8 * 1024 * 1024


class Kind(StrEnum):
    """What a server speaks, as `--backend` names it."""

    COMFY = "comfy"
    A1111 = "a1111"
    OPENAI = "openai"


TITLES: Final = {
    Kind.COMFY: "ComfyUI",
    Kind.A1111: "AUTOMATIC1111's API",
    Kind.OPENAI: "OpenAI's API",
}
PATHS: Final = {Kind.COMFY: comfyui.PROBE_PATH, Kind.A1111: a1111.MODELS, Kind.OPENAI: "/models"}
USUAL: Final = (
    (Kind.COMFY, f"http://{HERE}:8188"),
    (Kind.A1111, f"http://{HERE}:7860"),
    (Kind.OPENAI, f"http://{HERE}:8080/v1"),  # LocalAI
    (Kind.OPENAI, f"http://{HERE}:1234/v1"),  # stable-diffusion.cpp
)


class Unfound(Exception):
    """It is not there, or isn't what it was said to be. The message says which."""


@dataclass(frozen=True, slots=True)
class Found:
    """A server, and the names that it has for what it makes; None: it tells none."""

    kind: Kind
    url: str
    names: frozenset[str] | None

    @property
    def told(self) -> str:
        """What a person reads of it."""
        return f"{TITLES[self.kind]} at {self.url}"


def _unheard(what: str, status: int) -> None:
    """Ignore what goes wrong: it is told by what is raised."""


def headers_of(kind: Kind, key: str) -> dict[str, str]:
    """Return the headers that show a server its key."""
    if not key:
        return {}
    return a1111.basic(key) if kind is Kind.A1111 else {"Authorization": f"Bearer {key}"}


async def found_at(kind: Kind, url: str, key: str = "", hears: Hears = _unheard) -> Found:
    """Return the server at a URL. Raises Unfound."""
    if not url.startswith(("http://", "https://")):
        raise Unfound(f"{url} is no URL: one starts with http:// or https://.")
    path, mend = PATHS[kind], "check its address"
    provider = Provider(
        kind, url, headers_of(kind, key), probe_path=path, mend=mend, at_once=1, hears=hears
    )
    try:
        heard = await provider.glance(path, most_bytes=MOST_LIST_BYTES)
    finally:
        await provider.close()
    if heard is None:
        raise Unfound(f"Nothing answers at {url}.")
    if heard.status in OPERATORS:
        raise Unfound(f"{TITLES[kind]} at {url} wants another key: give it with --backend-key.")
    names = _names(kind, heard.json()) if heard.status == 200 else None
    if names is None and (kind, heard.status) != (Kind.OPENAI, 404):  # some have no such list
        raise Unfound(f"What answers at {url} does not speak {TITLES[kind]}.{_HINTS.get(kind, '')}")
    return Found(kind, url, names or None)


_HINTS: Final = {Kind.A1111: " Was it started with --api?"}


def _names(kind: Kind, body: Any) -> frozenset[str] | None:
    match kind:
        case Kind.COMFY:
            is_one = isinstance(body, dict) and isinstance(body.get("system"), dict)
            return frozenset() if is_one else None
        case Kind.A1111:
            names = a1111.checkpoints_of(body)
            return frozenset(names) if names is not None else None
        case _:
            rows = body.get("data") if isinstance(body, dict) else None
            if not isinstance(rows, list):
                return None
            ids = (row.get("id") for row in rows if isinstance(row, dict))
            return frozenset(each for each in ids if isinstance(each, str))


async def look_around(places: Sequence[tuple[Kind, str]] = USUAL, key: str = "") -> list[Found]:
    """Return the servers that are there, in the order of the places."""
    looks = (found_at(kind, url, key) for kind, url in places)
    seen = await asyncio.gather(*looks, return_exceptions=True)
    return [each for each in seen if isinstance(each, Found)]
