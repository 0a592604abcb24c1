"""What strangers made is encoded anew in a process of its own, which is started once.

Whatever comes of it is a value with a sentence: bytes of a stranger's raise nothing here.
"""

import asyncio
import re
from typing import Final

import structlog

from app.artifacts.bounds import FILM, MIB, MOST_ANSWER, PICTURE, VECTOR
from app.confined import Means
from app.confining import Closed, Confining, Died, Late, Overdone
from app.ports import NotNow, Recoded, Unfit

AT_ONCE: Final = 2  # so many pieces are decoded at a time; the rest wait
KINDS: Final = {
    "image/png": ("picture", PICTURE),
    "image/jpeg": ("picture", PICTURE),
    "image/webp": ("picture", PICTURE),
    "video/mp4": ("film", FILM),
    "image/svg+xml": ("vector", VECTOR),
}
_CUT: Final = re.compile("([a-z0-9/+]+); cut=([0-9]{1,4})x([0-9]{1,4})")
EMPTY: Final = Unfit("The file is empty.")
NO_KIND: Final = Unfit("Only PNG, JPEG and WebP pictures and MP4 films are taken.")
TOO_MUCH: Final = Unfit(
    "To decode this takes more time or memory than is given to one file: send a smaller one."
)
NOT_NOW: Final = NotNow("Files can't be decoded just now.")
CLOSED: Final = NotNow("The server is being stopped.")

log = structlog.get_logger("boltwork.artifacts")


class Pressing:
    """Keeps the process that decodes: started with the first piece, and again should it die."""

    def __init__(self) -> None:
        self._press = Confining("app.artifacts.press")
        self._room = asyncio.Semaphore(AT_ONCE)

    async def recode(self, data: bytes, media_type: str) -> Recoded | Unfit | NotNow:
        """See Recoder."""
        known = _known(media_type)
        if known is None:
            return NO_KIND
        kind, means = known
        if not data:
            return EMPTY
        if len(data) > means.input_bytes:
            return Unfit(f"The file is larger than {means.input_bytes // MIB} MiB.")
        async with self._room:
            try:
                head, made = await self._press.ask(kind, means, data, MOST_ANSWER)
            except Closed:
                return CLOSED
            except Overdone:
                return TOO_MUCH
            except (Late, Died):
                return NOT_NOW
            except OSError as error:  # the process could not be started, or is just dying
                log.error("press_broke", error=type(error).__name__)
                return NOT_NOW
        if "error" in head:
            log.warning("press_refused", error=head["error"])
        if "refused" in head:
            return Unfit(str(head["refused"]))
        size = head["width"], head["height"], head["duration_ms"]
        return Recoded(made, head["media_type"], *size, head["look"])

    async def close(self) -> None:
        """See Recoder."""
        await self._press.close()


def _known(media_type: str) -> tuple[str, Means] | None:
    """Return what is done with a media type, as the process that decodes is asked for it."""
    found = _CUT.fullmatch(media_type)
    known = KINDS.get(found[1] if found else media_type)
    if found is None or known is None:
        return known
    kind, means = known
    return (f"{kind} {found[2]} {found[3]}", means) if kind == "picture" else None
