"""Sessions for the tests: opened and paid for, with what their holder does over HTTP."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.buyer.client import FINAL
from app.strict_json import moment
from db import ledger
from db.audit import audit
from payments.macaroon import narrow
from payments.stub import StubRail
from pricing.money import MSAT_PER_SAT
from statemachine.entries import Asset
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import patiently
from tests.world.scripted_agent import ScriptedAgent


@dataclass
class Holder:
    """Whoever holds a macaroon of a session."""

    instance: Instance
    session_id: str
    macaroon: str

    @property
    def path(self) -> str:
        """Where the session is."""
        return f"/api/sessions/{self.session_id}"

    @property
    def headers(self) -> dict[str, str]:
        """What shows the macaroon."""
        return {"Authorization": f"Bearer {self.macaroon}"}

    def child(self, *caveats: str) -> "Holder":
        """Return the holder of a macaroon that was narrowed without asking anybody."""
        smaller = narrow(self.macaroon, caveats)
        assert isinstance(smaller, str), smaller
        return Holder(self.instance, self.session_id, smaller)

    async def ask(
        self, request: str = "hello", *, key: str | None = None, wait: int = 30, **more: Any
    ) -> httpx2.Response:
        """Send a request on the session."""
        headers = self.headers | ({"Idempotency-Key": key} if key else {})
        body = {"request": request, **more}
        path = f"{self.path}/request?wait={wait}"
        return await self.instance.post(path, body, headers=headers)

    async def asked(self, request: str = "hello", **more: Any) -> dict[str, Any]:
        """Send a request that must be taken and come to an end, and return what it came to."""
        answer = await self.ask(request, **more)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def begun(self, request: str = "hello", **more: Any) -> str:
        """Send a request without waiting for it, and return its id."""
        answer = await self.ask(request, wait=0, **more)
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json()["requestId"])

    async def ended(self, request_id: str) -> dict[str, Any]:
        """Return what a request has come to, once it has."""
        path = f"{self.path}/requests/{request_id}?wait=55"
        async for _ in patiently(f"{request_id} does not end", pause_s=0):
            answer = await self.instance.http.get(path, headers=self.headers)
            assert answer.status_code == 200, answer.text
            if answer.json()["state"] in FINAL:
                break
        return dict(answer.json())

    async def post(self, what: str, body: Any = None, **headers: str) -> httpx2.Response:
        """POST to one of the session's other addresses."""
        path = f"{self.path}/{what}"
        return await self.instance.post(path, body, headers=self.headers | headers)

    async def status(self) -> dict[str, Any]:
        """Return the session as its holder sees it."""
        answer = await self.instance.http.get(self.path, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """Return the session when it shows these, woken by its changes."""
        signals = self.instance.built.signals
        changed, stop = signals.watch(self.session_id)
        try:
            async for look in patiently(f"it is not {wanted} but", pause_s=0):
                changed.clear()
                shown = self.headers if self.macaroon else {}
                answer = await self.instance.http.get(self.path, headers=shown)
                status = dict(answer.json())
                refunds = [refund["refundState"] for refund in status.get("refunds", [])]
                look.saw = told = status | {"refundStates": refunds}
                if all(told.get(name) == value for name, value in wanted.items()):
                    break
                await signals.wait(changed, 0.5)
        finally:
            stop()
        return status

    async def top_up(self, sats: int) -> dict[str, Any]:
        """Have a top-up's invoice made, and return it."""
        answer = await self.post("topup", {"amount_sats": sats})
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["topup"])


async def made(instance: Instance, sats: int = 2_000, **more: Any) -> dict[str, Any]:
    """Open a session that is not paid for."""
    answer = await instance.post("/api/sessions", {"amount_sats": sats, **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def where(session: dict[str, Any]) -> str:
    """Return where who opened a session sees its macaroon: as `Location` says."""
    return f"/api/sessions/{session['sessionId']}?claim={session['claim']}"


async def held(instance: Instance, sats: int = 2_000, **more: Any) -> Holder:
    """Open a session and pay for it."""
    session = await made(instance, sats, **more)
    await instance.pay(session["invoice"])
    return await holder_of(instance, session)


async def holder_of(instance: Instance, session: dict[str, Any]) -> Holder:
    """Return the holder of a session that is paid for, as who opened it becomes that."""
    status = (await instance.http.get(f"{where(session)}&wait=55")).json()
    assert status["state"] == "active", status
    return Holder(instance, session["sessionId"], status["macaroon"])


async def opened(instance: Instance, sats: int = 2_000, **more: Any) -> tuple[str, dict[str, str]]:
    """Open a session and pay for it; return its id and the headers of its holder."""
    holder = await held(instance, sats, **more)
    return holder.session_id, holder.headers


async def ceiling_sats(instance: Instance, request: str = "hello") -> int:
    """Return the most that a request can cost."""
    answer = await instance.post("/api/estimate", {"request": request})
    return int(answer.json()["totalSats"])


async def take_back(holder: Holder, sats: int) -> httpx2.Response:
    """Claim what the session owes with the stub's wallet."""
    mine = await holder.instance.post("/api/dev/stub/invoice", {"amountSats": sats})
    return await holder.post("refund", {"invoice": mine.json()["paymentRequest"]})


async def books_are_right(instance: Instance) -> None:
    """Hold the books to the law, to the rows, and to what the rail holds."""
    assert await audit(instance.built.db) == []
    lines = {line.account: line for line in await ledger.trial_balance(instance.built.db)}
    assert lines["rail:lightning"].kept == await instance.built.rail.balance_msat()


async def balance_sats(instance: Instance, account: str) -> int:
    """Return what rests on an account; whole sats."""
    sats, rest = divmod(await ledger.balance(instance.built.db, account, Asset.MSAT), MSAT_PER_SAT)
    assert rest == 0
    return sats


async def all_at_once(*calls: Any) -> Counter[int]:
    """Send these at once, and count their answers' statuses."""
    answers = await asyncio.gather(*calls)
    return Counter(answer.status_code for answer in answers)


@pytest.fixture
def clock() -> Clock:
    """A clock that a test moves."""
    return Clock()


@pytest.fixture
async def timed(
    database_url: str, tmp_path: Path, clock: Clock, scripted_agent: ScriptedAgent
) -> AsyncIterator[Instance]:
    """An instance that lives by the test's clock, and may ask servers on this machine."""
    rail = StubRail(tmp_path / "stub.sqlite3", clock)
    async with instance_of(
        database_url,
        tmp_path,
        rail=rail,
        clock=clock,
        agent=scripted_agent,
        ALLOW_PRIVATE_DESTINATIONS=True,
    ) as running:
        yield running


def told(at: Clock) -> str:
    """Return the time of a clock as the wire writes it."""
    return moment(at.now)
