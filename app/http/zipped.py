"""Many files as one zip, made while it is read: nobody holds more of it than one piece.

Nothing is packed, as pictures and films are already. No name in it is a stranger's: it is the
number of what was made, and the ending of what we have encoded.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import IO, cast
from zipfile import ZIP_DEFLATED, ZipFile

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.artifacts.keeping import Artifacts
from app.http.downloads import ENDINGS, PIECE, pieces
from app.ports import NotNow
from app.refusal import LEAST_RETRY_S, Refusal, Why, unavailable
from db.artifacts import Artifact

NOT_PACKED = 0  # as blocks that a reader of a stream finds the end of


class _Sink:
    """What a zip is written into: bytes that are fetched from it, and never sought in."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Take some bytes."""
        self._written.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def fetched(self) -> bytes:
        """Return what was written since it was last asked for."""
        written, self._written = b"".join(self._written), []
        return written


async def zipped(
    request: Request, desk: Artifacts, files: Sequence[tuple[str, Artifact]], name: str
) -> Response:
    """Answer a GET or HEAD of these files together; `name` is what the zip is called, without its
    ending, and each file has its own. Raises Refusal."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.zip"'}
    if request.method == "HEAD":
        return Response(None, 200, headers, "application/zip")
    # Asked for before the answer begins: afterwards it could not be refused any more.
    _, artifact = files[0]
    first = await desk.read(artifact, 0, min(artifact.size, PIECE))
    if isinstance(first, NotNow):
        raise unavailable(Why.NOT_WELL, "The files can't be read just now.", LEAST_RETRY_S)
    if first is None:
        raise Refusal(Why.FAULT, "A file is missing on our side. The requestId helps us to see.")
    return StreamingResponse(_packed(desk, files), 200, headers, "application/zip")


async def _packed(
    desk: Artifacts, files: Sequence[tuple[str, Artifact]]
) -> AsyncGenerator[bytes, None]:
    """Yield a zip of these files, each piece once the one before it was taken."""
    sink = _Sink()
    # It is written to and nothing else, which is all that a zip needs of a stream.
    stream = cast(IO[bytes], sink)
    with ZipFile(stream, "w", ZIP_DEFLATED, compresslevel=NOT_PACKED) as packed:
        for stem, artifact in files:
            with packed.open(f"{stem}.{ENDINGS[artifact.media_type]}", "w") as entry:
                first = await desk.read(artifact, 0, min(artifact.size, PIECE))
                async for piece in pieces(desk, artifact, first, 0, artifact.size):
                    entry.write(piece)
                    yield sink.fetched()
    yield sink.fetched()
