"""The contract itself: `openapi.yaml`, as it lies at the root of the project."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

CONTRACT = Path(__file__).parents[2] / "openapi.yaml"


async def openapi_yaml(request: Request) -> Response:
    """GET /openapi.yaml."""
    return Response(CONTRACT.read_bytes(), media_type="application/yaml")
