"""What is paid into a session, and what time does to it: deposits, top-ups, pauses, idleness."""

from pathlib import Path
from typing import Any

import pytest

from app.plant import loops_of
from db import sessions
from db.rows import R
from payments.stub import StubRail
from tests.world.clock import Clock
from tests.world.contract import refused
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import patiently
from tests.world.scripted_agent import ScriptedAgent
from tests.world.session_fixtures import (
    all_at_once,
    books_are_right,
    ceiling_sats,
    held,
    made,
    told,
    where,
)

# ---------------------------------------------------------------------------------- deposits


async def test_a_session_is_opened_by_its_deposit(instance: Instance) -> None:
    """It awaits its payment, shows its invoice, and spends nothing before it has come."""
    session = await made(instance, 100)
    assert session["state"] == "awaiting_payment" and session["invoice"]["amountSats"] == 100
    shown = (await instance.http.get(f"/api/sessions/{session['sessionId']}")).json()
    assert shown["state"] == "awaiting_payment" and shown["balanceSats"] == 0
    assert shown["invoice"] == session["invoice"] and "macaroon" not in shown
    await instance.pay(session["invoice"])
    paid = (await instance.http.get(f"/api/sessions/{session['sessionId']}?wait=55")).json()
    assert paid["state"] == "active" and paid["balanceSats"] == 100 and "invoice" not in paid
    assert paid["minimumBalanceSats"] == 50


async def test_a_deposit_that_is_not_paid_lapses(timed: Instance, clock: Clock) -> None:
    """The session is over, nobody owes anything, and a late payment is owed back whole."""
    session = await made(timed, 150)
    path = f"/api/sessions/{session['sessionId']}"
    clock.forward(hours=2)
    await loops_of(timed.built).expiry.turn()
    shown = (await timed.http.get(path)).json()
    assert shown["state"] == "expired" and "invoice" not in shown and "refunds" not in shown
    late = {"late": True}
    paid = await timed.post(f"/api/dev/stub/pay/{session['invoice']['paymentHash']}", late)
    assert paid.status_code == 200
    async for _ in patiently("nothing is owed back"):  # the push is on its way
        shown = (await timed.http.get(where(session))).json()
        if "refunds" in shown:
            break
    assert [(r["reason"], r["amountSats"]) for r in shown["refunds"]] == [("unawaited", 150)]
    assert shown["state"] == "expired" and shown["balanceSats"] == 0
    await books_are_right(timed)


async def test_a_deposit_paid_over_owes_the_rest_back(instance: Instance) -> None:
    """The balance has what was asked for; paid again it changes nothing."""
    session = await made(instance, 100)
    await instance.pay(session["invoice"], amountSats=130)
    await instance.pay(session["invoice"], amountSats=130)
    shown = (await instance.http.get(f"{where(session)}&wait=55")).json()
    assert shown["balanceSats"] == 100
    assert [(r["reason"], r["amountSats"]) for r in shown["refunds"]] == [("overpaid", 30)]
    await books_are_right(instance)


async def test_a_rail_that_is_away_opens_no_session(instance: Instance) -> None:
    """503 says when to come back; nothing is left of it, and a name can be given again."""
    broken = {"call": "create_invoice", "fault": "5xx", "times": 2}
    await instance.post("/api/dev/stub/faults", broken)
    body, key = {"amount_sats": 100}, {"Idempotency-Key": "a key of mine alone"}
    for headers in ({}, key):
        answer = await instance.post("/api/sessions", body, headers=headers)
        refused(answer, 503, "Nothing was charged")
    for table in ("session", "invoice", "idempotency_key", "procrastinate_jobs"):
        assert await instance.built.db.read_all(f"SELECT * FROM {table}") == []
    again = await instance.post("/api/sessions", body, headers=key)
    assert again.status_code == 201
    assert len(await instance.built.db.read_all("SELECT state FROM session")) == 1


# ------------------------------------------------------------------------- top-ups and pauses


async def test_a_topup_adds_to_the_balance(instance: Instance) -> None:
    """One is pending at a time, and shown; paid, it is on the balance."""
    holder = await held(instance, 100)
    invoice = await holder.top_up(500)
    assert (await holder.status())["pendingTopup"] == invoice
    refused(await holder.post("topup", {"amount_sats": 500}), 409, "pending already")
    await instance.pay(invoice)
    status = await holder.until(balanceSats=600)
    assert "pendingTopup" not in status
    assert (await holder.top_up(100))["paymentHash"] != invoice["paymentHash"]
    await books_are_right(instance)


class PaidBetween:
    """Reads, and before the first row that is read an invoice is paid and booked."""

    def __init__(self, instance: Instance, bolt11: dict[str, Any]) -> None:
        self.instance, self.bolt11, self.is_paid = instance, bolt11, False

    async def rows(self, cls: type[R], query: str, **values: Any) -> list[R]:
        return await self.instance.built.db.rows(cls, query, **values)

    async def row(self, cls: type[R], query: str, **values: Any) -> R | None:
        db = self.instance.built.db
        if not self.is_paid:
            self.is_paid = True
            await self.instance.pay(self.bolt11)
            async for _ in patiently("the payment is not booked"):
                if not await db.read_all("SELECT id FROM invoice WHERE state = 'open'"):
                    break
        return await db.row(cls, query, **values)


async def test_what_is_on_the_balance_is_not_to_be_paid(instance: Instance) -> None:
    """A top-up that is booked while a session is read is on the balance, and pending no more."""
    holder = await held(instance, 100)
    reads = PaidBetween(instance, await holder.top_up(500))
    row, invoices = await sessions.with_invoices(reads, holder.session_id)
    assert row is not None and row.balance_msat == 600_000 and reads.is_paid
    assert [invoice.to_pay for invoice in invoices] == [None]


async def test_two_topups_at_once_are_one(instance: Instance) -> None:
    """One is made, all others are told that it is pending."""
    holder = await held(instance, 100)
    calls = [holder.post("topup", {"amount_sats": 100 + n}) for n in range(8)]
    assert await all_at_once(*calls) == {200: 1, 409: 7}


async def test_a_session_pauses_below_its_minimum_and_a_topup_resumes_it(
    instance: Instance,
) -> None:
    """A paused one takes no requests, and says what to do."""
    holder = await held(instance, 100)
    while (await holder.status())["state"] == "active":
        await holder.asked("hello")
    paused = await holder.status()
    assert paused["state"] == "paused" and 0 < paused["balanceSats"] < 50
    assert "macaroon" in paused
    answer = await holder.ask("hello")
    refused(answer, 409, "paused")
    assert "topup" in answer.json()["next"]
    await instance.pay(await holder.top_up(100))
    resumed = await holder.until(state="active")
    assert resumed["balanceSats"] == paused["balanceSats"] + 100
    assert (await holder.asked("hello"))["state"] == "complete"
    await books_are_right(instance)


async def test_what_comes_back_keeps_a_session_from_pausing(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """What is set aside counts: it pauses when requests are over, and not while they run."""
    ceiling = await ceiling_sats(instance)
    holder = await held(instance, 4 * ceiling + 30)
    scripted_agent.go.clear()
    running = [await holder.begun() for _ in range(4)]
    status = await holder.status()
    assert status["balanceSats"] < status["minimumBalanceSats"] and status["state"] == "active"
    scripted_agent.go.set()
    for request_id in running:
        await holder.ended(request_id)
    await books_are_right(instance)


async def test_a_topup_that_is_not_paid_lapses(timed: Instance, clock: Clock) -> None:
    """Another one can be asked for then; a late payment of the first is on the balance too."""
    holder = await held(timed, 100)
    first = await holder.top_up(200)
    clock.forward(hours=2)
    await loops_of(timed.built).expiry.turn()
    assert "pendingTopup" not in await holder.status()
    second = await holder.top_up(300)
    await timed.pay(first, late=True)
    await timed.pay(second)
    status = await holder.until(balanceSats=600)
    assert "refunds" not in status
    await books_are_right(timed)


@pytest.mark.parametrize("what", ["topup", "request"])
async def test_before_its_deposit_nothing_can_be_asked(instance: Instance, what: str) -> None:
    """There is no macaroon to ask with."""
    session = await made(instance, 100)
    path = f"/api/sessions/{session['sessionId']}/{what}"
    body = {"amount_sats": 100} if what == "topup" else {"request": "hello"}
    answer = await instance.post(path, body)
    refused(answer, 401, "macaroon")
    assert answer.headers["www-authenticate"].startswith("Bearer")


# ------------------------------------------------------------------------------ limits and time


async def test_opening_and_topping_up_are_limited(database_url: str, tmp_path: Path) -> None:
    """They count together with jobs: each of them makes an invoice that nobody has paid for."""
    async with instance_of(database_url, tmp_path, CREATES_PER_MINUTE=3) as instance:
        holder = await held(instance, 100)
        await holder.top_up(100)
        await instance.create()
        for answer in (
            await instance.post("/api/sessions", {"amount_sats": 100}),
            await holder.post("topup", {"amount_sats": 100}),
        ):
            assert answer.status_code == 429 and answer.headers["x-ratelimit-limit"] == "3"


async def test_a_session_lives_by_being_used(timed: Instance, clock: Clock) -> None:
    """Each request, and each top-up that is paid, gives it another day."""
    holder = await held(timed, 500)
    begun = clock.now
    assert (await holder.status())["expiresAt"] != told(clock)
    clock.forward(hours=23)
    await holder.asked("hello")
    clock.forward(hours=23)
    await timed.pay(await holder.top_up(100))
    await holder.until(pendingTopup=None, state="active")
    clock.forward(hours=23)
    await loops_of(timed.built).expiry.turn()
    assert (await holder.status())["state"] == "active" and (clock.now - begun).days == 2
    clock.forward(hours=2)
    await loops_of(timed.built).expiry.turn()
    assert (await holder.until(state="expired"))["balanceSats"] == 0
    await books_are_right(timed)


async def test_a_session_is_not_idle_while_a_request_runs(
    database_url: str, tmp_path: Path, clock: Clock, scripted_agent: ScriptedAgent
) -> None:
    """However long it takes, its session waits for it."""
    rail = StubRail(tmp_path / "stub.sqlite3", clock)
    async with instance_of(
        database_url, tmp_path, rail=rail, clock=clock, agent=scripted_agent
    ) as timed:
        holder = await held(timed, 500)
        scripted_agent.go.clear()
        request_id = await holder.begun("slow")
        clock.forward(hours=25)
        await loops_of(timed.built).expiry.turn()
        assert (await holder.status())["state"] == "active"
        scripted_agent.go.set()
        assert (await holder.ended(request_id))["state"] == "complete"
        await holder.until(state="expired")
        await books_are_right(timed)
