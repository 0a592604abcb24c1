"""How an item looks while it is made, over HTTP."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from app.artifacts.keeping import Artifacts
from app.http.downloads import RUNS_NOTHING, is_known
from app.ports import NotNow
from app.refusal import LEAST_RETRY_S, Refusal, Why, unavailable
from db.casts import StepView
from db.items import ItemView
from statemachine.item import ItemState

BEING_MADE: Final = (ItemState.CLAIMED, ItemState.PROCESSING)
# It is another one in a moment, and then gone.
HEADERS: Final = {"Cache-Control": "private, no-cache", "Content-Security-Policy": RUNS_NOTHING}


def preview_path(batch_id: str, item_id: str) -> str:
    """Return where the API shows how an item looks while it is made."""
    return f"/api/jobs/{batch_id}/previews/{item_id}"


def is_seen(item: ItemView | StepView) -> bool:
    """Say whether there is a picture of how an item looks by now."""
    return item.preview is not None and item.state in BEING_MADE


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
    if item is None or item.preview is None or not is_seen(item):
        raise no_preview()
    headers = HEADERS | {"ETag": f'"{item.preview}"'}
    if is_known(request, headers["ETag"]):
        return Response(None, 304, headers)
    seen = await desk.previews.read(item.preview)
    if isinstance(seen, NotNow):
        raise unavailable(Why.NOT_WELL, "The preview can't be read just now.", LEAST_RETRY_S)
    if seen is None:
        raise no_preview()
    return Response(seen.data, 200, headers, seen.media_type)
