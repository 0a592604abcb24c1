"""How an item looks while it is made, over HTTP."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from app.artifacts.keeping import Artifacts
from app.http.downloads import RUNS_NOTHING, is_known
from app.refusal import Refusal, Why
from db.items import ItemView
from statemachine.item import ItemState

BEING_MADE: Final = (ItemState.CLAIMED, ItemState.PROCESSING)
# It is another one in a moment, and then gone.
HEADERS: Final = {"Cache-Control": "private, no-cache", "Content-Security-Policy": RUNS_NOTHING}


def preview_path(batch_id: str, item_id: str) -> str:
    """Return where the API shows how an item looks while it is made."""
    return f"/api/jobs/{batch_id}/previews/{item_id}"


def no_preview() -> Refusal:
    """Return what is said where there is none."""
    return Refusal(
        Why.UNKNOWN,
        "There is no preview of this now.",
        "A preview is there while an item is being made, where its maker shows one.",
    )


async def preview(request: Request, desk: Artifacts, item: ItemView | None) -> Response:
    """Answer a GET of how an item looks; whoever asks may see it, its door has seen to that.

    Raises Refusal.
    """
    if item is None or item.state not in BEING_MADE:
        raise no_preview()
    seen = await desk.previews.show(item.id, desk.recoder)
    if seen is None:
        raise no_preview()
    headers = HEADERS | {"ETag": f'"{seen.sha256}"'}
    if is_known(request, headers["ETag"]):
        return Response(None, 304, headers)
    return Response(seen.data, 200, headers, seen.media_type)
