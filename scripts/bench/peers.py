"""The peers: the least that can do the same on the same Hypercorn, with nothing else in it.

Each is bare Starlette and psycopg: prepared at once, and no more connections than Boltwork has.
"""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from typing import Any

import orjson
import psycopg
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

HEARTBEAT_S = 15

Pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]


def _over(pool: Pool, *routes: Route) -> Starlette:
    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        gc.freeze()  # what was imported for the other servers is none of its collector's business
        async with pool:
            yield

    return Starlette(routes=routes, lifespan=lifespan)


def _pool(order: dict[str, Any], most: int, autocommit: bool) -> Pool:
    return AsyncConnectionPool(
        order["database_url"],
        min_size=2,
        max_size=most,
        open=False,
        kwargs={"autocommit": autocommit, "prepare_threshold": 0},
    )


def ceiling(order: dict[str, Any]) -> Starlette:
    """Return the application that does nothing but one indexed SELECT."""
    pool = _pool(order, 12, autocommit=True)  # as many as Boltwork reads with

    async def show(request: Request) -> Response:
        async with pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT id, body FROM bench_ceiling WHERE id = %s", (request.path_params["id"],)
            )
            row = await cursor.fetchone()
        assert row is not None
        return Response(orjson.dumps({"id": row[0], "body": row[1]}), media_type="application/json")

    return _over(pool, Route("/{id}", show))


_DEBIT = (
    "UPDATE bench_balance SET msat = msat - %(msat)s WHERE id = %(id)s AND msat >= %(msat)s"
    " RETURNING msat"
)
_POSTINGS = (
    "INSERT INTO bench_posting (account, msat) VALUES (%(id)s, -%(msat)s), ('revenue', %(msat)s)"
)


def debits(order: dict[str, Any]) -> Starlette:
    """Return the application that debits: a guarded UPDATE and two postings, in a transaction.

    `/twice/{id}` does it in two, as whoever sets a ceiling aside first and charges afterwards.
    """
    pool = _pool(order, 8, autocommit=False)  # as many as Boltwork writes with

    async def move(id: str, msat: int) -> None:
        async with pool.connection() as connection:
            values = {"id": id, "msat": msat}
            row = await (await connection.execute(_DEBIT, values)).fetchone()
            assert row is not None, "a balance has run dry"
            await connection.execute(_POSTINGS, values)

    async def once(request: Request) -> Response:
        await move(request.path_params["id"], 1_000)
        return Response(b'{"charged":true}', media_type="application/json")

    async def twice(request: Request) -> Response:
        await move(request.path_params["id"], 2_000)
        await move(request.path_params["id"], -1_000)
        return Response(b'{"charged":true}', media_type="application/json")

    return _over(
        pool,
        Route("/once/{id}", once, methods=["POST"]),
        Route("/twice/{id}", twice, methods=["POST"]),
    )


def streams(order: dict[str, Any]) -> Starlette:
    """Return the application that holds streams open: a first event, and a heartbeat."""

    async def beats() -> AsyncIterator[bytes]:
        yield b"id: 1\nevent: state\ndata: {}\n\n"
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            yield b": heartbeat\n\n"

    async def stream(request: Request) -> Response:
        return StreamingResponse(beats(), media_type="text/event-stream")

    return Starlette(routes=[Route("/{id}", stream)])
