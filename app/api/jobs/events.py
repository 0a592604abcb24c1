"""A job as it goes on, as server-sent events: what is stored has an id, and is never sent twice."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.house import House, house_of
from app.http.event_stream import last_event_id
from app.http.fields import path_id
from app.http.job_status import unknown_job
from app.http.links import base_url
from app.strict_json import BadInput
from app.watch.streams import Watcher
from db import job_events
from statemachine.job import JOB


async def events(request: Request) -> Response:
    """GET /api/jobs/{id}/events: 200 and all that happens; 204 when all was sent already."""
    house = house_of(request)
    job_id = path_id(request, unknown_job)
    after = last_event_id(request)
    row = await job_events.standing(house.db, job_id)
    if row is None:
        raise unknown_job()
    if after > row.version:
        raise BadInput("The last event id is not that of an event of this job.")
    if after == row.version and JOB.final(row.state):
        return Response(status_code=204)  # a browser comes back after anything else
    if request.method == "HEAD":
        return Response(headers=_headers(request.scope), media_type=_MEDIA_TYPE)
    caller, base = house.throttle.address(request), base_url(request, house.settings.public_url)
    house.streams.admit(caller)
    return _Stream(house, Watcher(job_id, after, caller, base))


_MEDIA_TYPE = "text/event-stream"


def _headers(scope: Scope) -> dict[str, str]:
    # A proxy that collects, keeps or compresses the answer would hold back what happens.
    headers = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
    if scope["http_version"].startswith("1"):
        headers["Connection"] = "close"  # after the last event there is nothing to keep it for
    return headers


class _Stream(Response):
    """Stays open until the job has come to its end: begun here, and gone on with at the edge."""

    media_type = _MEDIA_TYPE

    def __init__(self, house: House, watcher: Watcher) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._house, self._watcher = house, watcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        self.headers.update(_headers(scope))
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        scope["state"]["stays"] = partial(self._house.streams.serve, self._watcher)
