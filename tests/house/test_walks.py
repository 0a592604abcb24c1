"""The five ways that are gone most often, as the README tells them, file by file.

A way that grows a stop, or loses one, fails here until the README says so.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.loops.turns import Loops
from app.main import assemble, build, utc_now
from app.plant import keeper_of, loops_of
from payments.rail import Settled
from payments.stub import StubRail
from tests.world.house_fixtures import fixed_oracle, settings_for
from tests.world.patience import patiently
from tests.world.scripted_agent import ScriptedAgent
from tests.world.walks import ROOT, followed, written

WAYS = (
    "A job's request",
    "A session's request",
    "A refund claim",
    "A settled push",
    "An expiry",
)


class Quiet(StubRail):
    """Tells of no payment by itself: a test does."""

    async def pushes(self) -> AsyncIterator[Settled | None]:
        """See Rail."""
        yield None
        await asyncio.Event().wait()


class Later:
    """The time, which can be moved."""

    ahead = timedelta(0)

    def __call__(self) -> Any:
        return utc_now() + self.ahead


class House:
    """A whole house that is called in this task, and no socket between."""

    def __init__(
        self, http: httpx2.AsyncClient, rail: StubRail, clock: Later, loops: Loops
    ) -> None:
        self.http, self.rail, self.clock, self.loops = http, rail, clock, loops

    async def post(self, path: str, body: Any = None, **headers: str) -> Any:
        """POST what must be answered well, and return the answer."""
        answer = await self.http.post(path, json=body, headers=headers)
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def until(self, path: str, field: str) -> Any:
        """Wait until what is at a path has a field, and return it."""
        async for _ in patiently(f"{path} never had {field}"):
            seen = (await self.http.get(path + ("&" if "?" in path else "?") + "wait=5")).json()
            if seen.get(field):
                break
        return seen

    async def paid(self, invoice: dict[str, Any], more_sats: int = 0) -> Settled:
        """Pay an invoice; the rail keeps quiet about it."""
        sats = invoice["amountSats"] + more_sats
        body = {"amountSats": sats}
        await self.http.post(f"/api/dev/stub/pay/{invoice['paymentHash']}", json=body)
        settled = await self.rail.look_up_invoice(invoice["paymentHash"])
        assert isinstance(settled, Settled)
        return settled

    async def settle(self, invoice: dict[str, Any], more_sats: int = 0) -> None:
        """Pay an invoice, and have it heard."""
        await self.loops.hearing.heard(await self.paid(invoice, more_sats))


@pytest.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """A house whose loops do nothing by themselves while a test looks."""
    clock = Later()
    rail = Quiet(tmp_path / "stub.sqlite3", clock)
    built = assemble(
        settings_for(tmp_path, SWEEP_S=3600),
        database_url,
        rail=rail,
        agent=ScriptedAgent(),
        oracle=fixed_oracle(clock),
        clock=clock,
    )
    app = build(built)
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://boltwork.test") as http,
    ):
        loops = loops_of(built, keeper_of(built))
        await loops.receiving.refresh()
        yield House(http, rail, clock, loops)


async def job_request(house: House) -> Awaitable[Any]:
    """POST /api/jobs, to the invoice of the evaluation."""
    return house.post("/api/jobs", {"request": "hello"})


async def session_request(house: House) -> Awaitable[Any]:
    """POST /api/sessions/{id}/request, to where it stands, without waiting for its end."""
    opened = await house.http.post("/api/sessions", json={"amount_sats": 500})
    await house.settle(opened.json()["invoice"])
    macaroon = (await house.until(opened.headers["location"], "macaroon"))["macaroon"]
    path = f"/api/sessions/{opened.json()['sessionId']}/request?wait=0"
    return house.post(path, {"request": "hello"}, Authorization=f"Bearer {macaroon}")


async def refund_claim(house: House) -> Awaitable[Any]:
    """POST /api/jobs/{id}/refund with an invoice, to the payout that is staged."""
    made = await house.post("/api/jobs", {"request": "hello"})
    await house.settle(made["evalInvoice"], more_sats=50)
    [refund] = (await house.until(f"/api/jobs/{made['jobId']}", "refunds"))["refunds"]
    invoice = await house.rail.buyer_invoice(refund["amountSats"] * 1000, "mine", 3600)
    return house.post(f"/api/jobs/{made['jobId']}/refund", {"invoice": invoice.bolt11})


async def settled_push(house: House) -> Awaitable[Any]:
    """The rail tells of a payment, to the job that goes on."""
    made = await house.post("/api/jobs", {"request": "hello"})
    return house.loops.hearing.heard(await house.paid(made["evalInvoice"]))


async def expiry(house: House) -> Awaitable[Any]:
    """An invoice that nobody paid has had its time, to the job that ends."""
    await house.post("/api/jobs", {"request": "hello"})
    house.clock.ahead += timedelta(hours=2)
    return house.loops.expiry.turn()


GONE = dict(
    zip(WAYS, (job_request, session_request, refund_claim, settled_push, expiry), strict=True)
)


def test_what_is_looked_for_is_where_the_readme_says() -> None:
    """Each file of the table holds the name that the table gives."""
    table = (ROOT / "README.md").read_text().partition("### Where is what")[2].partition("\n## ")[0]
    rows = re.findall(r"\| `([a-z_/]+\.py)`: `(\w+)` \|", table)
    assert len(rows) == 10
    for path, name in rows:
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text()), (path, name)


@pytest.mark.parametrize("name", WAYS)
async def test_a_way_is_as_the_readme_tells_it(house: House, name: str) -> None:
    """Each file in whose coroutines it stops, in the order in which it comes to them."""
    stops = await followed(await GONE[name](house))
    assert written((ROOT / "README.md").read_text(), name) == stops
