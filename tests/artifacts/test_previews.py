"""How items look while they are made: encoded anew, and stored where every process finds it."""

import io

from obstore.store import MemoryStore
from PIL import Image

from app.artifacts import pictures
from app.artifacts.bounds import Refused
from app.artifacts.object_store import ObjectStore
from app.artifacts.previews import MOST_BROUGHT, Previews
from app.ports import NotNow, Recoded, Unfit

NAME, OTHER = "a" * 32, "b" * 32


def picture(colour: str, kind: str = "PNG") -> bytes:
    """Return a small picture."""
    kept = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(kept, kind)
    return kept.getvalue()


class Press:
    """What encodes pictures anew, here and not in a process of its own."""

    async def recode(self, data: bytes, media_type: str) -> Recoded | Unfit | NotNow:
        """See Recoder."""
        try:
            made = pictures.press(data)
        except Refused as refused:
            return Unfit(str(refused))
        return Recoded(made.data, made.media_type, made.width, made.height)

    async def close(self) -> None:
        """Nothing is held."""


async def test_a_picture_is_found_by_its_name_by_whoever_has_the_store() -> None:
    """As what it turned out to be, whatever it was called; until it is let go of."""
    store = ObjectStore(MemoryStore(), None, 1, 1)
    here, elsewhere = Previews(store, Press()), Previews(store, Press())
    for kind in ("PNG", "JPEG", "WEBP"):
        given = picture("red", kind)
        assert await here.keep(NAME, given + b"<script>")
        seen = await elsewhere.read(NAME)
        assert seen is not None and not isinstance(seen, NotNow)
        assert seen.media_type == f"image/{kind.lower()}" and b"<script>" not in seen.data
        assert Image.open(io.BytesIO(seen.data)).format == kind
        await here.forget([NAME])
        assert await elsewhere.read(NAME) is None


async def test_what_is_no_picture_is_not_kept() -> None:
    """Nor one that is too large; and a store that is away is said."""
    previews = Previews(ObjectStore(MemoryStore(), None, 1, 1), Press())
    for odd in (b"", b"<svg onload=alert(1)>", picture("red") + b"\0" * MOST_BROUGHT):
        assert not await previews.keep(NAME, odd) and await previews.read(NAME) is None
    await previews.forget([])
    away = Previews(ObjectStore(MemoryStore(), None, 0, 0), Press())
    assert not await away.keep(OTHER, picture("red"))
    assert isinstance(await away.read(OTHER), NotNow)
