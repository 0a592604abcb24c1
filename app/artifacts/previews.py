"""How items look while they are made: small pictures beside the artifacts, in the same store.

The lease of who makes an item names the newest one, so that every process knows it. No row keeps
its bytes, and no artifact's row speaks of it: what is not deleted with the making is swept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.ports import NotNow, Recoded, Recoder, Store

KIB: Final = 1024
MOST_BROUGHT: Final = 512 * KIB  # bytes of one, as its maker brings it; a larger one is not kept
MOST_SHOWN: Final = 1024 * KIB  # and as it is shown
KINDS: Final = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture as we have encoded it."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Previews:
    """Where those who make items leave how these look by now."""

    store: Store
    recoder: Recoder

    async def keep(self, name: str, brought: bytes) -> bool:
        """Encode a picture anew and store it under an id of ours; False: it is none to be shown."""
        if not 0 < len(brought) <= MOST_BROUGHT:
            return False
        # It is encoded as what it turns out to be, whatever it is called.
        made = await self.recoder.recode(brought, "image/png")
        if not isinstance(made, Recoded) or len(made.data) > MOST_SHOWN:
            return False
        return await self.store.put(name, made.data) is None

    async def read(self, name: str) -> Preview | NotNow | None:
        """Return a picture by its name; None: it has been let go of."""
        data = await self.store.read(name, 0, MOST_SHOWN)
        if data is None or isinstance(data, NotNow):
            return data
        kind = next((kind for head, kind in KINDS.items() if data.startswith(head)), None)
        return Preview(data, kind) if kind is not None else None

    async def forget(self, names: Sequence[str]) -> None:
        """Delete pictures that are looked at no more; what can't be deleted now is swept."""
        if names:
            await self.store.delete(names)
