"""A user of our own in the real LNbits, whose wallets fill up."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from db import ledger
from payments.lnbits import LnbitsRail
from statemachine.entries import Asset
from tests.world.fault_proxy import FaultProxy
from tests.world.house_fixtures import Instance, instance_of
from tests.world.lnbits_server import Account, LnbitsServer
from tests.world.patience import patiently
from tests.world.rail_fixtures import wall_clock

OPENING = "/api/v1/wallet"
PAYMENTS = "/api/v1/payments"


@dataclass
class Stage:
    """An LNbits user of our own, behind a proxy, and instances that receive there."""

    database_url: str
    folder: Path
    server: LnbitsServer
    proxy: FaultProxy
    account: Account
    ahead = timedelta(0)
    timeout_s = 10.0  # for an answer of LNbits'

    def clock(self) -> datetime:
        """Return the real time, or later."""
        return wall_clock() + self.ahead

    def rail(self) -> LnbitsRail:
        """Return a rail over our user's first wallet."""
        key, token = self.account.first.adminkey, self.account.token
        return LnbitsRail(
            self.proxy.url, key, clock=self.clock, timeout_s=self.timeout_s, token=token
        )

    @contextlib.asynccontextmanager
    async def running(self, most: int = 2, **settings: Any) -> AsyncIterator[Instance]:
        """Run an instance whose wallets are full after so many invoices."""
        token = {"LNBITS_URL": self.proxy.url, "LNBITS_API_KEY": "the-rail-is-given"}
        token |= {"LNBITS_TOKEN": self.account.token, "LNBITS_WALLET_INVOICES": str(most)}
        options = token | settings
        async with instance_of(
            self.database_url, self.folder, rail=self.rail(), clock=self.clock, **options
        ) as instance:
            yield instance

    async def pays(self, invoice: dict[str, Any]) -> None:
        """Have the buyer pay."""
        await self.server.pay(self.server.buyer, invoice["paymentRequest"])

    async def buys(self, instance: Instance, request: str = "hello") -> dict[str, Any]:
        """Buy a whole job."""
        made = await instance.create(request)
        await self.pays(made["evalInvoice"])
        job = await instance.until(made["jobId"], "awaiting_work_payment", field="workInvoice")
        await self.pays(job["workInvoice"])
        return await instance.until(made["jobId"], "complete", "failed")

    async def takes_refund(self, instance: Instance, job: dict[str, Any]) -> None:
        """Have the buyer's wallet take what was overpaid."""
        sats = job["costLedger"]["refundAmountSats"]
        invoice = await self.server.create_invoice(self.server.buyer, sats)
        await instance.post(f"/api/jobs/{job['jobId']}/refund", {"invoice": invoice})
        await until_row(
            instance,
            f"SELECT 1 AS n FROM payout WHERE state = 'paid' AND job_id = '{job['jobId']}'",
        )

    async def is_right(self, instance: Instance) -> None:
        """Our user's wallets hold what the books say, to the msat."""
        held = await self.server.held_msat(self.account)
        assert held == await ledger.balance(instance.built.db, "rail:lightning", Asset.MSAT)

    def opened(self) -> int:
        """Return how often LNbits was asked for a wallet."""
        return sum(n for (method, path), n in self.proxy.calls.items() if (method, path) == OPENS)


OPENS = ("POST", OPENING)


@pytest.fixture
async def stage(
    database_url: str, tmp_path: Path, lnbits: LnbitsServer, fault_proxy: FaultProxy
) -> Stage:
    """A user of our own in the real LNbits."""
    return Stage(database_url, tmp_path, lnbits, fault_proxy, await lnbits.new_account())


async def until_row(instance: Instance, query: str) -> Any:
    """Wait until a query has a row, and return it."""
    async for _ in patiently(f"there is still nothing where {query}"):
        if row := await instance.built.db.read_one(query):
            break
        await instance.http.get("/api/healthz")
    return row
