"""Pictures that a run is made from: fetched once, before anything is charged, and encoded by us.

An address is asked by the server itself, and only a public one; a `data:` URI holds the bytes; an
`artifact:ID` is a result that is kept here, of the caller's own. What is no picture is refused with
a sentence that names the field.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from app.artifacts.keeping import Artifacts
from app.ports import NotNow, Unfit
from app.promises.leases import ARTIFACT
from app.refusal import Why, unavailable
from app.strict_json import BadInput
from db import artifacts
from db.artifacts import Artifact
from payments.public_http import Answer, Away, Refused

MOST_BYTES: Final = 16 * 1024 * 1024  # of a picture that is fetched
AGAIN_S: Final = 10
_ARTIFACT: Final = re.compile("artifact:[0-9a-f]{32}")
_DATA: Final = re.compile(r"data:image/(?:png|jpeg|webp);base64,", re.IGNORECASE)
PICTURES: Final = frozenset(("image/png", "image/jpeg", "image/webp"))
_KINDS: Final = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))
NO_PICTURE: Final = "is not a PNG, JPEG or WebP picture"


class Fetch(Protocol):
    """Who asks strangers' servers."""

    async def get(self, url: str) -> Answer | Refused | Away:
        """Ask once."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(slots=True)
class Gathered:
    """What was gathered for one order: each source once, and the files that are new."""

    known: dict[str, str] = field(default_factory=dict)
    files: list[Artifact] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Gathering:
    """Fetches pictures and keeps them as artifacts; their rows are written with the order."""

    artifacts: Artifacts
    http: Fetch

    async def gather(
        self, inputs: Mapping[str, Any], names: tuple[str, ...], owner: str | None, into: Gathered
    ) -> dict[str, Any]:
        """Return inputs whose pictures are all kept here; `owner`: the account that asks.

        Raises BadInput, and Refusal (503) where something can't be read just now.
        """
        out = dict(inputs)
        for name in names:
            given = out.get(name)
            if isinstance(given, list):
                out[name] = [
                    await self._kept(f"{name}[{place}]", each, owner, into)
                    for place, each in enumerate(given)
                ]
            elif given is not None:
                out[name] = await self._kept(name, given, owner, into)
        return out

    async def _kept(self, name: str, source: str, owner: str | None, into: Gathered) -> str:
        if source.startswith(ARTIFACT):
            await self._check_own(name, source, owner)
            return source
        if source not in into.known:
            data = self._inline(name, source) or await self._fetched(name, source)
            made = await self.artifacts.take(data, _kind_of(name, data))
            if isinstance(made, Unfit):
                raise BadInput(f"The field '{name}': {made.reason}")
            if isinstance(made, NotNow):
                raise unavailable(Why.NOT_WELL, made.reason, AGAIN_S)
            into.files.append(made)
            into.known[source] = f"{ARTIFACT}{made.id}"
        return into.known[source]

    async def _check_own(self, name: str, source: str, owner: str | None) -> None:
        """Refuse a file that isn't there, is of an account that doesn't ask, or is no picture."""
        found = None
        if _ARTIFACT.fullmatch(source):
            found = await artifacts.owned(self.artifacts.db, source.removeprefix(ARTIFACT))
        if found is None or found.account_id not in (None, owner):
            raise BadInput(f"The field '{name}' names a result that is not known here.")
        if found.expires_at <= self.artifacts.clock():
            raise BadInput(f"The field '{name}' names a result that is kept no more.")
        if found.media_type not in PICTURES:
            raise BadInput(f"The field '{name}' {NO_PICTURE}.")

    def _inline(self, name: str, source: str) -> bytes | None:
        if source[:5].lower() != "data:":
            return None
        head = _DATA.match(source)
        if head is None:
            raise BadInput(
                f"The field '{name}' must be `data:image/png;base64,…`, or of JPEG or WebP."
            )
        try:
            return base64.b64decode(source[head.end() :], validate=True)
        except (binascii.Error, ValueError):
            raise BadInput(f"The field '{name}' holds no whole base64.") from None

    async def _fetched(self, name: str, source: str) -> bytes:
        match await self.http.get(source):
            case Answer(200, data):
                return data
            case Answer(status):
                raise BadInput(f"The field '{name}': its address answers with status {status}.")
            case Refused(reason) | Away(reason):
                raise BadInput(f"The field '{name}': {reason}")


def _kind_of(name: str, data: bytes) -> str:
    """Return what a picture is by its first bytes, whatever is said of it."""
    for start, kind in _KINDS:
        if data.startswith(start):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise BadInput(f"The field '{name}' {NO_PICTURE}.")
