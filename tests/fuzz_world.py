"""What a fuzzer meets: a server process, and things that are really there, one in each state.

Their names go into the fuzzer's dictionaries, so that it does not only ask for what is not there.
"""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.client import FINAL, Client
from tests.crash_run import Databases
from tests.crash_server import ForkedServer
from tests.crash_world import StubSide
from tests.pay_server import PayServer

KNOWN_S = 3600
NOWHERE = "nobody@127.0.0.1:9"  # a destination at which nobody answers
REFUNDS = ("surplus", "not done", "not evaluated", "overpaid", "unawaited")


@dataclass
class World:
    """A running server, and the names of what it holds."""

    url: str
    server: ForkedServer
    side: StubSide
    destination: str
    ids: list[str] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    invoices: list[str] = field(default_factory=list)  # the buyer's, of amounts that are owed

    def dictionaries(self) -> dict[str, list[str]]:
        """Return the values that a parameter or a field takes, by its name in the contract."""
        return {
            "path.id": self.ids,
            "path.paymentHash": self.hashes,
            "path.which": [*REFUNDS],
        }

    def formats(self) -> dict[str, list[str]]:
        """Return what has the formats of the contract's own."""
        return {"bolt11": self.invoices, "refund-destination": [self.destination, NOWHERE]}

    async def furnish(self) -> None:
        """Add a job in each state that a buyer can bring one to, and invoices for what is owed."""
        async with Client(self.url) as client:
            for request, payments in (
                ("wait for me", 0), ("REJECT", 1), ("price this", 1), ("do this", 2),
                ("do that", 2), ("BREAK-JUDGE", 1), ("BREAK-WORK", 2),
            ):  # fmt: skip
                await self._add_job(client, request, payments)

    async def _add_job(self, client: Client, request: str, payments: int) -> None:
        made = await client.create(request)
        self.ids.append(made["jobId"])
        await self._pay(client, made["evalInvoice"], payments > 0)
        if not payments:
            return
        async for job in client.watch(made["jobId"]):
            if "workInvoice" in job:
                await self._pay(client, job["workInvoice"], payments > 1)
                if payments == 1:
                    return
            if job["state"] in FINAL:
                for owed in job.get("refunds", ()):
                    made_for = await self.side.make_invoice(owed["amountSats"], KNOWN_S)
                    self.invoices.append(made_for)

    async def _pay(self, client: Client, invoice: dict[str, Any], now: bool) -> None:
        self.hashes.append(invoice["paymentHash"])
        if now:
            await client.stub_pay(invoice["paymentHash"])


@asynccontextmanager
async def world_on(databases: Databases, **environment: str) -> AsyncIterator[World]:
    """Give a world, not furnished yet, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="boltwork-fuzz-") as name:
        async with databases.one() as database, PayServer().running() as stranger:
            server = ForkedServer(Path(name), database, {"DATABASE_POOL": "8", **environment})
            side = StubSide(server.folder, server.clock)
            await server.start()
            world = World(server.url, server, side, f"buyer@127.0.0.1:{stranger.port}")

            async def make(amount_msat: int) -> str:
                return await side.make_invoice(amount_msat // 1000, KNOWN_S)

            stranger.make = make
            try:
                yield world
            finally:
                await server.kill()
                await side.close()
