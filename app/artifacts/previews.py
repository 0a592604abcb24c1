"""How items look while they are made: the newest picture of each, in the memory of one process.

Nothing of it is written: a step costs the database nothing. What a maker brought is encoded anew by
the first who looks at it, once; and all of it goes when the item ends, or its process does.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from app.ports import NotNow, Recoded, Recoder, Unfit

KIB: Final = 1024
MOST_BROUGHT: Final = 512 * KIB  # bytes of one, as its maker brings it; a larger one is not kept
MOST_SHOWN: Final = 1024 * KIB  # and as it is shown
MOST_ITEMS: Final = 32  # that have one at a time


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture as we have encoded it."""

    data: bytes
    media_type: str
    sha256: str  # of the data, hex


@dataclass(slots=True)
class _Kept:
    """What is known of one item's look."""

    number: int  # of the newest picture that was brought
    brought: bytes
    encoded: int = 0  # up to which number all was encoded, or could not be
    preview: Preview | None = None
    encoding: asyncio.Lock = field(default_factory=asyncio.Lock)


class Previews:
    """The newest picture of each item that is made here, of the most recently seen items."""

    def __init__(self, most: int = MOST_ITEMS) -> None:
        self._most = most
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def keep(self, item_id: str, brought: bytes) -> None:
        """Keep how an item looks now, and let the one go that was seen longest ago where there is
        no room. It never waits: steps are reported to it.
        """
        if not 0 < len(brought) <= MOST_BROUGHT:
            return
        kept = self._kept.setdefault(item_id, _Kept(0, b""))
        kept.number, kept.brought = kept.number + 1, brought
        self._kept.move_to_end(item_id)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def forget(self, item_id: str) -> None:
        """Let go of what is known of an item's look: it is not made here any more."""
        self._kept.pop(item_id, None)

    def number(self, item_id: str) -> int | None:
        """Return how many pictures an item has had so far; None: there is none to be seen."""
        kept = self._kept.get(item_id)
        return kept.number if kept is not None else None

    async def show(self, item_id: str, recoder: Recoder) -> Preview | None:
        """Return the newest picture of an item that could be encoded anew; None: there is none."""
        kept = self._kept.get(item_id)
        if kept is None:
            return None
        self._kept.move_to_end(item_id)
        async with kept.encoding:
            if kept.encoded < kept.number:
                kept.encoded, brought = kept.number, kept.brought
                # It is encoded as what it turns out to be, whatever it is called.
                kept.preview = _fit(await recoder.recode(brought, "image/png")) or kept.preview
        return kept.preview if self._kept.get(item_id) is kept else None


def _fit(made: Recoded | Unfit | NotNow) -> Preview | None:
    """Return what can be shown of what came of encoding a picture anew."""
    if not isinstance(made, Recoded) or len(made.data) > MOST_SHOWN:
        return None
    return Preview(made.data, made.media_type, sha256(made.data).hexdigest())
