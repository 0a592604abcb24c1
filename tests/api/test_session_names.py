"""Idempotency-Key on sessions: however often it is sent, and whoever dies, it is done once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.main import utc_now
from db.audit import audit
from db.engine import Database
from pricing.oracle import Oracle
from tests.runs.crash_server import ForkedServer
from tests.world.contract import refused
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import PATIENCE_S
from tests.world.scripted_agent import ScriptedAgent
from tests.world.session_fixtures import books_are_right, ceiling_sats, held, holder_of, where

MANY = 50
KEY = {"Idempotency-Key": "mine"}  # which is enough for who shows a macaroon
OWN = {"Idempotency-Key": "6d0c2f6f2f7b4a3c9a54e1f0b8d7c6a5"}


async def count(instance: Instance, table: str) -> int:
    """Return how many rows a table has."""
    row = await instance.built.db.read_one(f"SELECT count(*) AS n FROM {table}")
    assert row is not None
    return int(row["n"])


def equal(answers: list[httpx2.Response], status: int) -> dict[str, Any]:
    """Return what all of these say, which must be the same."""
    assert {answer.status_code for answer in answers} == {status}, [a.text for a in answers]
    assert len({answer.content for answer in answers}) == 1
    return dict(answers[0].json())


async def test_fifty_retries_of_a_request_are_one(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """One job, one charge, fifty equal answers; and the same one again later."""
    holder = await held(instance)
    answers = await asyncio.gather(*(holder.ask("hello", key="mine") for _ in range(MANY)))
    said = equal(answers, 200)
    assert await holder.asked("hello", key="mine") == said
    assert await count(instance, "job") == 1
    assert scripted_agent.calls == {("judge", "hello"): 1, ("work", "hello"): 1}
    status = await holder.status()
    assert status["balanceSats"] == 2_000 - said["debitedSats"] == said["balanceRemaining"]
    await books_are_right(instance)


async def test_retries_while_it_runs_find_it(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """Each is told where it stands, and none begins another one."""
    holder = await held(instance)
    scripted_agent.go.clear()
    answers = await asyncio.gather(*(holder.ask("slow", key="mine", wait=0) for _ in range(5)))
    request_id = equal(answers, 202)["requestId"]
    scripted_agent.go.set()
    assert (await holder.ended(request_id)) == await holder.asked("slow", key="mine")
    assert await count(instance, "job") == 1


async def test_fifty_retries_of_an_opening_are_one(instance: Instance) -> None:
    """One session with one invoice, and the same answer even when it is paid and used; but the
    claim, which shows the macaroon, is in one answer only."""
    body = {"amount_sats": 500}
    calls = [instance.post("/api/sessions", body, headers=OWN) for _ in range(MANY)]
    answers = await asyncio.gather(*calls)
    [first] = [answer for answer in answers if "claim" in answer.json()]
    said = equal([answer for answer in answers if answer is not first], 201)
    told = ("sessionId", "state", "invoice")
    assert [first.json()[name] for name in told] == [said[name] for name in told]
    assert "X-Payment-Preimage" in said["next"]
    assert await count(instance, "session") == await count(instance, "invoice") == 1
    await instance.pay(said["invoice"])
    await holder_of(instance, first.json())
    again = await instance.post("/api/sessions", body, headers=OWN)
    assert again.json() == said and "claim" not in again.headers["location"]
    shown = await instance.http.get(again.headers["location"])
    assert shown.status_code == 200 and "macaroon" not in shown.json()
    other = await instance.post("/api/sessions", {"amount_sats": 501}, headers=OWN)
    refused(other, 409, "Idempotency-Key")
    assert await count(instance, "session") == 1
    await books_are_right(instance)


async def test_fifty_retries_of_a_topup_are_one(instance: Instance) -> None:
    """One invoice, and the same answer even when it is paid; another key is another top-up."""
    holder = await held(instance, 100)
    body = {"amount_sats": 200}
    calls = [holder.post("topup", body, **KEY) for _ in range(MANY)]
    said = equal(await asyncio.gather(*calls), 200)
    assert await count(instance, "invoice") == 2
    await instance.pay(said["topup"])
    await holder.until(balanceSats=300)
    assert (await holder.post("topup", body, **KEY)).json() == said
    refused(await holder.post("topup", {"amount_sats": 201}, **KEY), 409, "Idempotency-Key")
    other = await holder.post("topup", body, **{"Idempotency-Key": "yours"})
    assert other.status_code == 200 and other.json() != said
    await books_are_right(instance)


async def test_a_name_is_for_one_body_at_one_address(instance: Instance) -> None:
    """Used for anything else it is a 409, and nothing is charged."""
    holder = await held(instance)
    said = await holder.asked("hello", key="mine")
    refused(await holder.ask("other", key="mine"), 409, "Idempotency-Key")
    refused(await holder.ask("hello", key="mine", maxSats=500), 409, "Idempotency-Key")
    refused(await holder.post("topup", {"amount_sats": 100}, **KEY), 409, "Idempotency-Key")
    for odd in ("", "a" * 256):
        answer = await holder.post("request", {"request": "x"}, **{"Idempotency-Key": odd})
        refused(answer, 400, "Idempotency-Key")
    assert (await holder.status())["balanceSats"] == said["balanceRemaining"]
    assert await count(instance, "job") == 1
    await books_are_right(instance)


async def test_a_name_whose_request_was_refused_is_free_again(instance: Instance) -> None:
    """Nothing is kept of what was not done: with more sats, the same request goes."""
    ceiling = await ceiling_sats(instance)
    holder = await held(instance, 100)
    child = holder.child(f"budget_sats={ceiling - 1}")
    refused(await child.ask("hello", key="mine"), 402, "budget")
    refused(await holder.ask("hello", key="mine", maxSats=ceiling - 1), 409, "maxSats")
    assert (await holder.asked("hello", key="mine"))["state"] == "complete"
    assert await count(instance, "idempotency_key") == 1


async def test_what_was_named_before_needs_no_price(database_url: str, tmp_path: Path) -> None:
    """While no bitcoin price can be had a replay is told what it was told, and all else waits."""
    async with instance_of(database_url, tmp_path) as instance:
        holder = await held(instance)
        asked = [
            ("/api/jobs", {"request": "hello"}, OWN),
            (f"{holder.path}/request?wait=55", {"request": "hello"}, holder.headers | KEY),
        ]
        told = [await instance.post(path, body, headers=shown) for path, body, shown in asked]
    nobody = Oracle((), clock=utc_now, fallback_microusd=None, development_microusd=None)
    async with instance_of(database_url, tmp_path, oracle=nobody) as poor:
        for before, (path, body, shown) in zip(told, asked, strict=True):
            again = await poor.post(path, body, headers=shown)
            assert (again.status_code, again.content) == (before.status_code, before.content)
            new = shown | {"Idempotency-Key": "another key, not used"}
            refused(await poor.post(path, body, headers=new), 503, "price")


async def test_two_sessions_may_use_one_name(instance: Instance) -> None:
    """Names belong to who gave them."""
    said = [await (await held(instance)).asked("hello", key="mine") for _ in range(2)]
    assert said[0]["requestId"] != said[1]["requestId"]


# --------------------------------------------------------------------- kill -9 in the middle


@pytest.fixture
async def mortal(database_url: str, tmp_path: Path) -> AsyncIterator[ForkedServer]:
    """A real server process, not started yet, that can be killed anywhere."""
    server = ForkedServer(tmp_path, database_url, {})
    yield server
    await server.kill()


@asynccontextmanager
async def at(server: ForkedServer) -> AsyncIterator[httpx2.AsyncClient]:
    """Speak to a server that may die."""
    async with httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE_S) as http:
        yield http


async def done(http: httpx2.AsyncClient, path: str, body: Any, **headers: str) -> Any:
    """POST with a name, and return what a good answer says."""
    answer = await http.post(path, json=body, headers=OWN | headers)
    assert answer.is_success, answer.text
    return answer.json()


async def session(http: httpx2.AsyncClient) -> tuple[str, dict[str, str]]:
    """Open a session and pay for it; return its path and its holder's headers."""
    made = await done(http, "/api/sessions", {"amount_sats": 5_000})
    await http.post(f"/api/dev/stub/pay/{made['invoice']['paymentHash']}")
    path = f"/api/sessions/{made['sessionId']}"
    shown = (await http.get(f"{where(made)}&wait=55")).json()
    return path, {"Authorization": f"Bearer {shown['macaroon']}"}


async def killed(server: ForkedServer, path: str, body: Any, **headers: str) -> Any:
    """Send this, kill -9 the server where it stands still, and start it again; return its answer,
    or None when none got out."""
    async with at(server) as http:
        asking = asyncio.create_task(done(http, path, body, **headers))
        assert await server.stopped()
        await server.kill()
        answer: Any
        [answer] = await asyncio.gather(asking, return_exceptions=True)
    await server.start()
    if isinstance(answer, httpx2.TransportError):
        return None
    assert not isinstance(answer, BaseException), answer
    return answer


@pytest.mark.parametrize(
    "place",
    [
        "commit sessions.begin_reserved: before",
        "commit sessions.begin_reserved: after",
        "agent work: after",
        "commit jobs.answer: after",
    ],
)
async def test_killed_in_the_middle_of_a_request(
    mortal: ForkedServer, db: Database, place: str
) -> None:
    """Who got no answer asks again with the same name: one job, one charge, one answer."""
    await mortal.start()
    body = {"request": "hello"}
    async with at(mortal) as http:
        path, headers = await session(http)
    await mortal.kill()
    await mortal.start(pause_at=place)
    answered = await killed(mortal, f"{path}/request", body, **headers)
    async with at(mortal) as http:
        said = await done(http, f"{path}/request?wait=60", body, **headers)
        assert said["state"] == "complete"
        # From its commit on who waits is told, maybe before whoever committed hears of it.
        assert answered is None or (place == "commit jobs.answer: after" and answered == said)
        assert await done(http, f"{path}/request", body, **headers) == said
        shown = (await http.get(path, headers=headers)).json()
    assert (shown["balanceSats"], shown["reservedSats"]) == (said["balanceRemaining"], 0)
    assert said["balanceRemaining"] == 5_000 - said["debitedSats"]
    assert len(await db.read_all("SELECT id FROM job")) == 1
    entries = await db.read_all("SELECT key FROM entry WHERE key LIKE 'job:%%' ORDER BY id")
    assert [row["key"].rpartition(":")[2] for row in entries] == ["reserved", "ended"]
    assert await audit(db) == []


@pytest.mark.parametrize("what", ["begin", "ask_topup"])
@pytest.mark.parametrize("place", ["commit sessions.{what}: after", "rail create_invoice: after"])
async def test_killed_while_an_invoice_is_made(
    mortal: ForkedServer, db: Database, what: str, place: str
) -> None:
    """A session that was being opened, or a top-up, is found again under its name, or is made
    anew where it was not written down yet: the invoice that was made for it nobody has seen."""
    path, body, invoices = "/api/sessions", {"amount_sats": 5_000}, 1
    headers: dict[str, str] = {}
    await mortal.start()
    if what == "ask_topup":
        async with at(mortal) as http:
            path, headers = await session(http)
        path, body, invoices = f"{path}/topup", {"amount_sats": 300}, 2
    await mortal.kill()
    await mortal.start(pause_at=place.format(what=what))
    headers["Idempotency-Key"] = "this, and no other of its kind"
    assert await killed(mortal, path, body, **headers) is None
    async with at(mortal) as http:
        found = await done(http, path, body, **headers)
        again = await done(http, path, body, **headers)
        told_once = ("claim", "next")  # who asks again is not told what shows the macaroon
        for name in found.keys() - told_once:
            assert again[name] == found[name]
    assert len(await db.read_all("SELECT id FROM session")) == 1
    assert len(await db.read_all("SELECT id FROM invoice")) == invoices
    assert await audit(db) == []
