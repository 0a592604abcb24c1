"""Runs the server on a Postgres that is running: HTTP, and a clean end."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator

from hypercorn.config import Config
from starlette.applications import Starlette

from app.main import assemble, build, running
from app.operator.key_rotation import check_secret
from app.ports import Prices
from app.serving import banner, connections
from app.serving.connection import OF_PROXIES, Patience
from app.serving.connections import Places, places_for
from app.serving.listener import BACKLOG, open_listener, written
from app.settings import Settings
from app.settings.problems import strangers
from app.telemetry import library_log, tracing
from app.web.metrics import build_metrics
from db.engine import Database
from payments.seal import Seal

DRAIN_S = 20.0


@contextlib.asynccontextmanager
async def listening(
    app: Starlette,
    host: str,
    port: int,
    *,
    behind_proxies: bool = False,
    patience: Patience | None = None,
    places: Places | None = None,
    variable: str = "PORT",
) -> AsyncIterator[str]:
    """Serve the application for as long as the block lasts; yield its base URL."""
    listener = open_listener(host, port, variable)
    bound_port = listener.getsockname()[1]
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.backlog = BACKLOG  # it is set anew when the socket is served
    config.h11_max_incomplete_size = 32 * 1024
    config.graceful_timeout = DRAIN_S
    config.shutdown_timeout = DRAIN_S + 10
    # What was imported stays: no collection needs to walk it again while requests wait.
    gc.collect()
    gc.freeze()
    gc.enable()  # a start goes without
    stop = asyncio.Event()
    serving = asyncio.create_task(
        connections.serve(
            app,
            listener,
            config,
            stop,
            places=places_for(behind_proxies) if places is None else places,
            patience=patience or (OF_PROXIES if behind_proxies else Patience()),
        )
    )
    try:
        yield f"http://{written(host, bound_port)}"
    finally:
        stop.set()
        await serving


async def serve(settings: Settings, database_url: str, *, worker: bool) -> None:
    """Serve until SIGINT or SIGTERM, then drain: who looks is told first, and has time to."""
    stop = stop_signal()
    tracing.configure(settings.otel_exporter_otlp_endpoint)
    built = assemble(settings, database_url)
    await _open_keys(database_url, built.credentials.seal)
    app, proxied = build(built, worker=worker), settings.trusted_proxies > 0
    async with contextlib.AsyncExitStack() as stack:
        await _metrics(settings, stack, build_metrics(lambda: getattr(app.state, "house", None)))
        url = await stack.enter_async_context(
            listening(app, settings.host, settings.port, behind_proxies=proxied)
        )
        lines = (*banner.notes(settings), *strangers(os.environ))
        say(f"Boltwork listens on {url}", *(f"  {line}" for line in lines))
        asking = asyncio.create_task(_say_price(built.oracle))
        await stop.wait()
        asking.cancel()
        await _leave(app, stop, settings.shutdown_delay_s)
        say("Draining: what is under way is finished first.")
        built.signals.release()
    await asyncio.to_thread(tracing.close)


async def _leave(app: Starlette, stop: asyncio.Event, delay_s: int) -> None:
    """Say that this server is not ready any more, and serve on for so long, or until told again."""
    app.state.house.health.leave()
    if delay_s:
        say(f"Not ready any more, and still listening for {delay_s} s; the next signal ends it.")
        stop.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await stop.wait()


async def _metrics(
    settings: Settings, stack: contextlib.AsyncExitStack, metrics: Starlette
) -> None:
    """Answer metrics at a port of their own, where there is one, until the stack is closed."""
    if settings.metrics_port is not None:
        port = listening(metrics, settings.host, settings.metrics_port, variable="METRICS_PORT")
        say(f"Metrics are at {await stack.enter_async_context(port)}/metrics")


async def _say_price(oracle: Prices) -> None:
    async for line in banner.of_price(oracle):
        say(f"  {line}")


async def work(settings: Settings, database_url: str) -> None:
    """Keep promises, without HTTP, until SIGINT or SIGTERM."""
    stop = stop_signal()
    tracing.configure(settings.otel_exporter_otlp_endpoint)
    built = assemble(settings, database_url)
    await _open_keys(database_url, built.credentials.seal)
    async with contextlib.AsyncExitStack() as stack:
        house = await stack.enter_async_context(running(built))
        await _metrics(settings, stack, build_metrics(lambda: house))
        say("A Boltwork worker keeps promises.")
        await stop.wait()
    await asyncio.to_thread(tracing.close)


async def _open_keys(database_url: str, seal: Seal) -> None:
    """Check that the operator's secret opens the stored keys, before anything is served."""
    db = Database(database_url, 1)
    try:
        await db.open()
        await check_secret(db, seal)
    finally:
        await db.close()


def say(*lines: str) -> None:
    """Print a line for the operator, if standard output is still open."""
    with contextlib.suppress(OSError, ValueError):
        print(*lines, sep="\n", flush=True)


def stop_signal() -> asyncio.Event:
    """Return what SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    library_log.watch(loop)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop
