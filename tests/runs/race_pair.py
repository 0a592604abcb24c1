"""Two server processes on one Postgres and one rail, and what surrounds them."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.runs.crash_buyer import Buyer
from tests.runs.crash_run import Databases
from tests.runs.crash_server import ForkedServer
from tests.runs.crash_world import Books, StubSide, audit
from tests.world.patience import PATIENCE_S
from tests.world.pay_server import PayServer

KNOWN_S = 3600
IDLE_S = 7200  # what the servers here take for a session that was left alone


@dataclass
class Pair:
    """Two servers on one database and one rail, and what surrounds them."""

    servers: tuple[ForkedServer, ForkedServer]
    side: StubSide
    books: Books
    stranger: PayServer
    pay_may_rest: bool = False  # of workers of the network

    @property
    def clock(self) -> Any:
        """The clock that all of them read."""
        return self.servers[0].clock

    async def state(self) -> list[tuple[int | None, str]]:
        """Return how each server ended, if it has, and what it said last: for who must find out."""
        return [(await server.exit_code(0), server.log[-2000:]) for server in self.servers]

    @asynccontextmanager
    async def buyer(self, at: int = 0) -> AsyncIterator[Buyer]:
        """Give a new buyer, who speaks to one of the two."""
        buyer = Buyer(self.side, self.books, self.clock, self.servers[at].command)
        buyer.key = f"round {time.monotonic_ns()}"
        buyer.url = self.servers[at].url
        try:
            yield buyer
        finally:
            await buyer.close()

    async def calm(self) -> None:
        """Wait until nothing is due, and hold the books to account."""
        due = await self.books.due(fetching=True)
        until_s = time.monotonic() + PATIENCE_S
        while due and time.monotonic() < until_s:
            await asyncio.sleep(0.1)
            due = await self.books.due(fetching=True)
        # What falls due from here on is a later promise, which finds that it was kept.
        found = await audit(self.books, self.side, pay_may_rest=self.pay_may_rest)
        wrong = [*found, *map(str, due)]
        assert not wrong, wrong
        # Rows are locked in one order: Postgres never had to break two transactions apart.
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert await self.books.ask(query) == [{"deadlocks": 0}]


@asynccontextmanager
async def pair_on(
    databases: Databases, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Pair]:
    """Give two running servers for as long as the block lasts; `settings`: and others of theirs."""
    with tempfile.TemporaryDirectory(prefix="boltwork-race-") as name:
        folder = Path(name)
        async with databases.one() as url, PayServer().running() as stranger:
            environment = {
                "DATABASE_POOL": "8",
                "WORKER_CONCURRENCY": "8",
                "SESSION_IDLE_S": str(IDLE_S),
                "DEMO_PER_HOUR": "100000",
                "FREE_SATS_PER_DAY": "100000000",
                "SETTLE_WAIT_S": "60",  # a crowd is answered slowly, and none of it is told to poll
                **(settings or {}),
            }
            servers = (
                ForkedServer(folder, url, environment),
                ForkedServer(folder, url, environment),
            )
            side, pays = StubSide(folder, servers[0].clock), "WORKERS" in (settings or {})
            pair = Pair(servers, side, Books(url), stranger, pay_may_rest=pays)

            async def make(amount_msat: int) -> str:
                return await pair.side.make_invoice(amount_msat // 1000, KNOWN_S)

            stranger.make = make
            try:
                for server in servers:
                    await server.start()
                yield pair
            finally:
                for server in servers:
                    await server.kill()
                await pair.books.close()
                await pair.side.close()


def alternating(pair: Pair, requests: int) -> list[str]:
    """Return the two servers' addresses by turns."""
    return [pair.servers[n % 2].url for n in range(requests)]


@asynccontextmanager
async def crowd() -> AsyncIterator[httpx2.AsyncClient]:
    """Give a client that holds as many connections as it likes."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx2.AsyncClient(limits=limits, timeout=PATIENCE_S, verify=False) as http:
        yield http
