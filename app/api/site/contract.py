"""The contract itself: `openapi.yaml`, and the same as JSON.

It lies at the root of the project; `app/openapi.yaml` is a link to it, and in an installed package
the file itself.
"""

import asyncio
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import yaml
from starlette.requests import Request
from starlette.responses import Response

CONTRACT = Path(__file__).parents[2] / "openapi.yaml"


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """Return the contract, read once."""
    read: dict[str, Any] = yaml.load(
        CONTRACT.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    return read


@lru_cache(maxsize=1)
def _as_json() -> bytes:
    return orjson.dumps(document())


async def openapi_yaml(request: Request) -> Response:
    """GET /openapi.yaml."""
    return Response(CONTRACT.read_bytes(), media_type="application/yaml")


async def openapi_json(request: Request) -> Response:
    """GET /openapi.json."""
    return Response(await asyncio.to_thread(_as_json), media_type="application/json")
