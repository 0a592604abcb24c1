"""All connections of a process: how many there may be, whose they are, and a clean end of them.

An idle connection costs a file. Each caller may have a few, and loses the oldest for a new one;
when all places are taken, the oldest of all is closed. Requests under way are never cut off.
"""

import asyncio
import resource
import socket
from asyncio import StreamReader, StreamWriter
from collections import Counter

from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import LifespanState
from hypercorn.utils import wrap_app
from starlette.applications import Starlette

from app.http.throttle import caller_address
from app.serving.connection import Connection, Patience, Site, Wire

# Connections of one caller that wait for a request. A busy agent opens hundreds at once; those
# that stay silent are closed within seconds, and one caller never has more than half of all places.
IDLE_EACH = 512
MOST_FILES = 65_536
OTHER_FILES = 128  # that the process opens beside them: Postgres, wallets, models, logs
LEAST_PLACES = 64


class Places:
    """The open connections: at most `most` in all, and half of that for one caller."""

    def __init__(self, most: int, idle_each: int, *, behind_proxies: bool = False) -> None:
        self._most, self._idle_each = most, idle_each
        # A proxy is one caller for all that come through it, and bounds them itself.
        self._most_each = most if behind_proxies else most // 2
        self._behind_proxies = behind_proxies
        self._of: dict[Connection, str] = {}
        self._held = Counter[str]()
        # Of each caller and of all, in the order in which they came to rest.
        self._idle: dict[str, dict[Connection, None]] = {}
        self._all_idle: dict[Connection, None] = {}

    def enters(self, connection: Connection) -> bool:
        """Give a new connection a place; return whether there was one."""
        caller = caller_address(connection.peer, (), 0)
        if self._held[caller] >= self._most_each and not self._drop_first(self._idle.get(caller)):
            return False
        if len(self._of) >= self._most and not self._drop_first(self._all_idle):
            return False
        self._of[connection] = caller
        self._held[caller] += 1
        return True

    def rests(self, connection: Connection) -> None:
        """Note that it waits for a request."""
        caller = self._of.get(connection)
        if caller is None:
            return
        self._all_idle.pop(connection, None)
        self._all_idle[connection] = None
        mine = self._idle.setdefault(caller, {})
        mine.pop(connection, None)
        mine[connection] = None
        if len(mine) > self._idle_each and not self._behind_proxies:
            self._drop_first(mine)

    def works(self, connection: Connection) -> None:
        """Note that it has a request."""
        caller = self._of.get(connection)
        if caller is None:
            return
        self._all_idle.pop(connection, None)
        mine = self._idle.get(caller)
        if mine is not None:
            mine.pop(connection, None)
            if not mine:
                del self._idle[caller]

    def leaves(self, connection: Connection) -> None:
        """Note that it has ended."""
        self.works(connection)
        caller = self._of.pop(connection, None)
        if caller is not None:
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]

    def close_idle(self) -> None:
        """Close those that wait for a request."""
        for connection in list(self._all_idle):
            connection.drop()

    def _drop_first(self, idle: dict[Connection, None] | None) -> bool:
        """Close the one of these that has waited longest. Return whether there was one."""
        for connection in idle or ():
            if connection.drop():
                self.works(connection)  # it leaves in a moment, and must not be chosen again
                return True
        return False


def places_for(behind_proxies: bool) -> Places:
    """Return as many places as the process may open files, of which it may open all it can."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    most = max(LEAST_PLACES, files - OTHER_FILES)
    return Places(most, IDLE_EACH, behind_proxies=behind_proxies)


async def serve(
    app: Starlette,
    listener: socket.socket,
    config: Config,
    stop: asyncio.Event,
    *,
    places: Places,
    patience: Patience,
) -> None:
    """Serve an application on a socket until `stop`, then finish what is under way."""
    loop = asyncio.get_running_loop()
    state: LifespanState = {}
    wrapped = wrap_app(app, config.wsgi_max_body_size, "asgi")  # type: ignore[arg-type]
    lifespan = Lifespan(wrapped, config, loop, state)
    living = loop.create_task(lifespan.handle_lifespan())
    await lifespan.wait_for_startup()
    if living.done():
        living.result()
    context = WorkerContext(None)
    site = Site(
        wrapped, config, context, state, patience, places.rests, places.works, places.leaves
    )
    serving: set[asyncio.Task[None]] = set()

    def accept(reader: StreamReader, writer: StreamWriter) -> None:
        connection = Connection(site, reader, writer)
        if not places.enters(connection):
            writer.transport.abort()
            return
        task = loop.create_task(connection.serve())
        serving.add(task)
        task.add_done_callback(serving.discard)

    def wire() -> Wire:
        return Wire(StreamReader(loop=loop), accept, loop=loop)

    server = await loop.create_server(wire, sock=listener, backlog=config.backlog)
    try:
        await stop.wait()
    finally:
        await context.terminated.set()
        server.close()
        places.close_idle()
        if serving:
            _, late = await asyncio.wait(serving, timeout=config.graceful_timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await lifespan.wait_for_shutdown()
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
