"""A batch as it goes on, as server-sent events: its counts, and each item as it changes."""

from contextlib import aclosing
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from app.api.polling import readable, seen_of
from app.house import House, house_of
from app.http.batch_status import Seen, Window, unknown_batch
from app.http.event_stream import Events, EventStream, last_event_id
from app.http.fields import path_id
from app.http.links import base_url
from db.batches import Mark
from statemachine.batch import MOST_ITEMS

HOLD_S = 30.0  # between two looks at a batch that nobody reports a change of
ALL = Window(0, MOST_ITEMS)
# A proxy that collects, keeps or compresses the answer would hold back what happens.
HEADERS: Final = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}


async def events(request: Request) -> Response:
    """GET /api/jobs/{id}/events: first where all of it stands, then what changes, to its end."""
    house, batch_id = house_of(request), path_id(request, unknown_batch)
    last_event_id(request)  # one that is none is refused; a batch's stream begins with all of it
    await readable(request, house, batch_id)
    if request.method == "HEAD":
        return Response(headers=HEADERS, media_type=EventStream.media_type)
    base, caller = base_url(request, house.settings.public_url), house.throttle.address(request)
    house.streams.admit(caller)
    stream = EventStream(_seated(house, batch_id, base, caller))
    stream.headers.update(HEADERS)
    return stream


async def _seated(house: House, batch_id: str, base: str | None, caller: str) -> Events:
    with house.streams.seat(caller):
        async with aclosing(_changes(house, batch_id, base)) as changes:
            async for change in changes:
                yield change


async def _changes(house: House, batch_id: str, base: str | None) -> Events:
    told: dict[str, object] = {}
    last: Mark | None = None
    while True:
        before = last

        def is_seen(mark: Mark, before: Mark | None = before) -> bool:
            return mark == before

        last = await house.waiting.for_mark(batch_id, is_seen, HOLD_S)
        if last is None or (last == before and house.waiting.is_released):
            return
        if last == before:
            continue
        row, seen = await seen_of(house, batch_id, ALL)
        changed = [item for item in seen.items if told.get(item.id) != item]
        told |= {item.id: item for item in changed}
        only = Seen(changed, seen.invoice, seen.pace, seen.before)
        yield house.batch_shapes.bulk(row, only, ALL, base)
        if row.is_final:
            return
