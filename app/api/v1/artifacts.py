"""Files that runs have made, at addresses that nobody guesses."""

from starlette.requests import Request
from starlette.responses import Response

from app.house import house_of
from app.http.downloads import download
from app.http.fields import path_id
from app.refusal import Refusal, Why


def _unknown() -> Refusal:
    return Refusal(Why.UNKNOWN, "There is no such file.")


async def artifact(request: Request) -> Response:
    """GET /api/v1/artifacts/{id}: the file. Whoever was given its address may read it."""
    artifact_id = path_id(request, _unknown)
    return await download(request, house_of(request).artifacts, artifact_id, artifact_id[:12])
