"""A file that an item made, over HTTP: whole, in part, or only whether it has changed.

It is read from the store piece by piece, as its reader takes it: nobody holds more of it than one
piece. A browser shows it as what it is and nothing else: it runs nothing, whatever its bytes say.
"""

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC
from email.utils import format_datetime
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.artifacts.keeping import Artifacts
from app.ports import NotNow
from app.refusal import LEAST_RETRY_S, Refusal, Why, unavailable
from db.artifacts import Artifact

PIECE: Final = 256 * 1024
ENDINGS: Final = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/svg+xml": "svg",
    "video/mp4": "mp4",
}
RUNS_NOTHING: Final = (
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
)
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE)

log = structlog.get_logger("boltwork.http")


class BrokeOff(Exception):
    """The rest of a file could not be read. What was promised of it can't be taken back: the
    connection is closed, by which its reader knows."""


@dataclass(frozen=True, slots=True)
class _Part:
    start: int
    length: int


async def download(
    request: Request, desk: Artifacts, artifact_id: str, name: str, *, attached: bool = False
) -> Response:
    """Answer a GET or HEAD of a file; whoever asks may read it, its door has seen to that.

    `name` is what the file is called where it is saved, without its ending; `attached` has a
    browser save it and not show it. Raises Refusal.
    """
    artifact = await desk.find(artifact_id)
    if artifact is None:
        raise Refusal(Why.UNKNOWN, "There is no such file.")
    if desk.has_expired(artifact):
        until = f"{artifact.expires_at:%Y-%m-%d %H:%M} UTC"
        raise Refusal(Why.DELETED, f"This file was kept until {until}, and has been deleted.")
    headers = _about(desk, artifact, name, attached)
    if is_known(request, _mark(artifact)):
        return Response(None, 304, headers)
    part = _wanted(request, artifact)
    whole = part is None
    start, length = (0, artifact.size) if part is None else (part.start, part.length)
    headers |= {"Content-Type": artifact.media_type, "Content-Length": str(length)}
    if not whole:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{artifact.size}"
    if request.method == "HEAD":
        return Response(None, 200, headers)
    # Read before the answer begins: afterwards it could not be refused any more.
    first = await desk.read(artifact, start, min(length, PIECE))
    if isinstance(first, NotNow):
        raise unavailable(Why.NOT_WELL, "The file can't be read just now.", LEAST_RETRY_S)
    if first is None:
        log.error("artifact_lost")
        raise Refusal(Why.FAULT, "This file is missing on our side. The requestId helps us to see.")
    rest = pieces(desk, artifact, first, start, length)
    return StreamingResponse(rest, 200 if whole else 206, headers)


def _about(desk: Artifacts, artifact: Artifact, name: str, attached: bool) -> dict[str, str]:
    """Return what is said of a file with every answer."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "file"
    shown = "attachment" if attached else "inline"
    left_s = int((artifact.expires_at - desk.clock()).total_seconds())
    return {
        "ETag": _mark(artifact),
        "Last-Modified": format_datetime(artifact.created_at.astimezone(UTC), usegmt=True),
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, max-age={max(left_s, 0)}, immutable",
        "Content-Disposition": f'{shown}; filename="{stem}.{ENDINGS[artifact.media_type]}"',
        "Content-Security-Policy": RUNS_NOTHING,
    }


def _mark(artifact: Artifact) -> str:
    return f'"{artifact.sha256}"'


def is_known(request: Request, mark: str) -> bool:
    """Say whether the caller has the bytes of this ETag (If-None-Match, by weak comparison)."""
    given = ",".join(request.headers.getlist("if-none-match"))
    marks = {each.strip().removeprefix("W/") for each in given.split(",")}
    return "*" in marks or mark in marks


def _wanted(request: Request, artifact: Artifact) -> _Part | None:
    """Return the part that was asked for; None where it is all of it.

    What is no single range, or of other bytes than these (If-Range), is answered by the whole.
    """
    ranges = request.headers.getlist("range")
    asked = _RANGE.fullmatch(ranges[0].strip()) if len(ranges) == 1 else None
    if request.method != "GET" or asked is None or asked[1] + asked[2] == "":
        return None
    condition = request.headers.get("if-range")
    if condition is not None and condition.strip() != _mark(artifact):
        return None
    if asked[1] == "":
        start, end = max(artifact.size - int(asked[2]), 0), artifact.size
    else:
        start = int(asked[1])
        end = min(int(asked[2]) + 1, artifact.size) if asked[2] else artifact.size
        if asked[2] and int(asked[2]) < start:
            return None  # it is no range at all
    if start >= artifact.size:
        raise Refusal(
            Why.NO_SUCH_RANGE,
            f"The file has {artifact.size} bytes. Ask for a range within them.",
            headers={"Content-Range": f"bytes */{artifact.size}"},
        )
    return _Part(start, end - start)


async def pieces(
    desk: Artifacts, artifact: Artifact, piece: bytes | NotNow | None, start: int, length: int
) -> AsyncGenerator[bytes, None]:
    """Yield a part of a file, whose first piece was read, the next one once this one was taken."""
    while True:
        wanted = min(length, PIECE)
        if not isinstance(piece, bytes) or len(piece) != wanted:
            log.error("artifact_broke_off")
            raise BrokeOff
        yield piece
        start, length = start + wanted, length - wanted
        if not length:
            return
        piece = None  # let go of before the next one comes
        piece = await desk.read(artifact, start, min(length, PIECE))
