"""One server process: Boltwork as `boltwork serve` runs it, or the ceiling it is held against.

Both stand on the same Hypercorn, the same uvloop and the same settings (app/serving.py).
The ceiling is the least that can answer from Postgres: a bare Starlette route, one indexed SELECT
with psycopg, autocommit, prepared at once, and nothing else.
"""

import asyncio
import contextlib
import gc
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import uvloop
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app import logs
from app.agents.agent import Accepted, Result
from app.main import build, make_parts
from app.serving import listening
from app.settings import Settings
from pricing.rates import Usage

BTC_USD = 100_000


class PromptAgent:
    """An agent that accepts all, and has always just finished."""

    name = "prompt"
    eval_model = work_model = "smollm2-135m-instruct"
    max_output_tokens = 1000
    max_eval_output_tokens = 100

    async def judge(self, request: str) -> Accepted:
        """Accept."""
        return Accepted(50, self.max_output_tokens, Usage(10, 5))

    async def work(self, request: str, max_output_tokens: int) -> Result:
        """Answer with some two hundred characters."""
        return Result("A Lightning invoice is a request to be paid. " * 5, Usage(50, 100))

    async def healthy(self) -> None:
        """It can always be asked."""

    async def close(self) -> None:
        """Nothing to let go of."""


def house(database_url: str, folder: Path) -> Starlette:
    """Return Boltwork: the stub rail, an agent that takes no time, and every default."""
    settings = Settings.model_validate(
        {
            "BOLTWORK_DATA": folder,
            "BTC_PRICE_SOURCES": "",
            "BTC_PRICE_USD_FALLBACK": BTC_USD,
            "CREATES_PER_MINUTE": 0,  # one address asks for all
        }
    )
    logs.configure(settings.log_level)
    return build(make_parts(settings, database_url, agent=PromptAgent()))


def ceiling(database_url: str, folder: Path) -> Starlette:
    """Return the application that does nothing but one SELECT."""
    gc.freeze()  # what this file imports for the other server is none of its collector's business
    pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]] = AsyncConnectionPool(
        database_url,
        min_size=2,
        max_size=12,  # as many as Boltwork reads with
        open=False,
        kwargs={"autocommit": True, "prepare_threshold": 0},
    )

    async def show(request: Request) -> Response:
        async with pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT id, body FROM bench_ceiling WHERE id = %s", (request.path_params["id"],)
            )
            row = await cursor.fetchone()
        assert row is not None
        return Response(orjson.dumps({"id": row[0], "body": row[1]}), media_type="application/json")

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with pool:
            yield

    return Starlette(routes=[Route("/{id}", show)], lifespan=lifespan)


async def serve(order: dict[str, Any]) -> None:
    """Serve until standard input ends."""
    make = {"house": house, "ceiling": ceiling}[order["kind"]]
    async with listening(make(order["database_url"], Path(order["folder"])), "127.0.0.1", 0) as url:
        print(json.dumps({"port": int(url.rpartition(":")[2])}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(serve(json.loads(sys.stdin.readline())))
