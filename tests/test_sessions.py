"""Sessions over real HTTP and a real Postgres: paid once, spent many times, never overdrawn."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.loops import Loops
from app.promises import Keeper
from payments.stub import StubRail
from tests.contract import refused
from tests.house_fixtures import Instance, instance_of
from tests.scripted_agent import ScriptedAgent
from tests.session_fixtures import (
    all_at_once,
    books_are_right,
    ceiling_sats,
    held,
    made,
    opened,
    told,
)
from tests.test_time import Clock

__all__ = ["opened"]

# --------------------------------------------------------------------------------- requests


async def test_a_request_is_paid_from_the_balance(instance: Instance) -> None:
    """It costs what it used, and the rest of its ceiling is on the balance again."""
    holder = await held(instance)
    said = await holder.asked("hello")
    assert said["state"] == "complete" and said["result"] == "done: hello"
    assert said["balanceRemaining"] == 2_000 - said["debitedSats"]
    assert said["cost"]["totalSats"] == said["debitedSats"]
    assert said["cost"]["evalSats"] == 5 and said["cost"]["btcPriceUsd"] == 100_000
    status = await holder.status()
    assert (status["balanceSats"], status["reservedSats"]) == (said["balanceRemaining"], 0)
    await books_are_right(instance)


async def test_a_rejected_request_costs_the_eval_fee_and_a_failed_one_nothing(
    instance: Instance,
) -> None:
    """What the agent declines has been read; what breaks has not been done."""
    holder = await held(instance)
    rejected = await holder.asked("REJECT")
    assert rejected["state"] == "rejected" and rejected["debitedSats"] == 5
    assert "not done here" in rejected["reason"] and "result" not in rejected
    for broken in ("BREAK-JUDGE", "BREAK-WORK"):
        failed = await holder.asked(broken)
        assert failed["state"] == "failed" and failed["debitedSats"] == 0
        assert failed["balanceRemaining"] == 1_995 and failed["errorMessage"]
    await books_are_right(instance)


async def test_while_a_request_runs_its_ceiling_is_set_aside(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """It can't be spent twice; the 202 says how much it is, and where to look."""
    holder = await held(instance)
    scripted_agent.go.clear()
    answer = await holder.instance.post(
        f"{holder.path}/request",
        {"request": "slow"},
        headers=holder.headers | {"Prefer": "return=minimal, respond-async; foo"},
    )
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "respond-async"
    running = answer.json()
    assert running["state"] == "evaluating"
    assert running["reservedSats"] == await ceiling_sats(instance, "slow")
    status = await holder.status()
    assert status["reservedSats"] == running["reservedSats"]
    assert status["balanceSats"] == 2_000 - running["reservedSats"]
    polled = await instance.http.get(answer.headers["location"], headers=holder.headers)
    assert polled.status_code == 202 and "preference-applied" not in polled.headers
    await books_are_right(instance)
    scripted_agent.go.set()
    done = await holder.ended(running["requestId"])
    assert done["state"] == "complete" and done["debitedSats"] <= running["reservedSats"]
    assert (await holder.status())["reservedSats"] == 0
    await books_are_right(instance)


async def test_what_takes_longer_than_its_sender_waits_is_a_202(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """The request goes on, and its answer is fetched later."""
    holder = await held(instance)
    scripted_agent.go.clear()
    answer = await holder.ask("slow", wait=1)
    assert answer.status_code == 202 and "preference-applied" not in answer.headers
    scripted_agent.go.set()
    assert (await holder.ended(answer.json()["requestId"]))["result"] == "done: slow"


async def test_a_request_of_a_session_is_a_job(instance: Instance) -> None:
    """Its own address shows it too: nothing is to be paid, cancelled or refunded there."""
    holder = await held(instance)
    job_id = (await holder.asked())["requestId"]
    job = await instance.job(job_id)
    assert job["state"] == "complete" and "refunds" not in job
    refused(await instance.post(f"/api/jobs/{job_id}/cancel"), 409)
    refused(await instance.post(f"/api/jobs/{job_id}/refund", {"invoice": "lnbc1"}), 400)
    receipt = (await instance.http.get(f"/api/jobs/{job_id}/receipt")).json()["payload"]
    assert receipt["chargedMsat"] == (await holder.ended(job_id))["debitedSats"] * 1000


async def test_a_request_beyond_the_balance_is_402(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """What is set aside is not there; the answer says how much is needed and how much there is."""
    needed = await ceiling_sats(instance)
    holder = await held(instance, 5 * needed - 1)
    scripted_agent.go.clear()
    running = [await holder.begun() for _ in range(4)]
    answer = await holder.ask()
    assert answer.status_code == 402
    said = answer.json()
    assert (said["neededSats"], said["balanceSats"]) == (needed, needed - 1)
    assert f"up to {needed} sats" in said["error"] and "topup" in said["next"]
    scripted_agent.go.set()
    for request_id in running:
        await holder.ended(request_id)
    assert (await holder.asked())["state"] == "complete"
    await books_are_right(instance)


async def test_a_request_beyond_its_own_limit_is_409(instance: Instance) -> None:
    """`maxSats` holds for evaluation and work together, and is looked at before anything."""
    holder = await held(instance)
    ceiling = await ceiling_sats(instance)
    refused(await holder.ask(maxSats=ceiling - 1), 409, "maxSats")
    assert (await holder.asked(maxSats=ceiling))["debitedSats"] <= ceiling
    await books_are_right(instance)


BAD_AMOUNTS: list[tuple[Any, str]] = [
    ({"amount_sats": 99}, "greater than or equal to 100"),
    ({"amount_sats": 10_001}, "less than or equal to 10000"),
    ({"amount_sats": 0}, "greater than or equal to 100"),
    ({"amount_sats": -100}, "greater than or equal to 100"),
    ({"amount_sats": 1.5}, "'amount_sats'"),
    ({"amount_sats": 100.0}, "'amount_sats'"),
    ({"amount_sats": "100"}, "'amount_sats'"),
    ({"amount_sats": True}, "'amount_sats'"),
    ({"amount_sats": None}, "'amount_sats'"),
    ({"amount_sats": [100]}, "'amount_sats'"),
    ({"amountSats": 100}, "'amount"),
    ({}, "'amount_sats' is missing"),
    ({"amount_sats": 100, "odd": 1}, "'odd' is not known"),
    ([100], "no object"),
    (None, "empty"),
]


async def test_a_wrong_amount_is_told(instance: Instance) -> None:
    """Neither a session nor a top-up comes of it; the sentence says what is wrong."""
    for body, says in BAD_AMOUNTS:
        refused(await instance.post("/api/sessions", body), 400, says)
    assert await instance.parts.db.read_all("SELECT id FROM session") == []
    holder = await held(instance, 100)
    for body, says in BAD_AMOUNTS:
        refused(await holder.post("topup", body), 400, says)
    assert "pendingTopup" not in await holder.status()


async def test_a_wrong_destination_opens_no_session(instance: Instance) -> None:
    """It is looked at before anything is written."""
    body = {"amount_sats": 100, "refundTo": "nobody"}
    refused(await instance.post("/api/sessions", body), 400, "no refund destination")
    holder = await held(instance, 100)
    refused(await holder.post("close", {"refundTo": "nobody"}), 400, "no refund destination")
    assert (await holder.status())["state"] == "active"


BAD_REQUESTS: list[tuple[Any, str]] = [
    ({"request": ""}, "empty"),
    ({"request": "  "}, "empty"),
    ({"request": 7}, "'request'"),
    ({}, "'request' is missing"),
    ({"request": "x", "maxSats": 0}, "'maxSats'"),
    ({"request": "x", "maxSats": 1.0}, "'maxSats'"),
    ({"request": "x" * 20_001}, "20001 characters"),
]


async def test_a_wrong_request_is_told(instance: Instance) -> None:
    """It costs nothing, and says what is wrong with it."""
    holder = await held(instance, 100)
    for body, says in BAD_REQUESTS:
        refused(await holder.post("request", body), 400, says)
    for wait in ("61", "-1", "x", "1.5"):
        path = f"{holder.path}/request?wait={wait}"
        answer = await instance.post(path, {"request": "x"}, headers=holder.headers)
        refused(answer, 400, "'wait'")
    assert (await holder.status())["balanceSats"] == 100


async def test_an_unknown_session_or_request_is_404(instance: Instance) -> None:
    """Whatever stands in its place."""
    holder = await held(instance, 100)
    for odd in ("0" * 32, "0" * 31, "G" * 32, "%2e%2e", "%00", "0" * 33, "%ff"):
        answer = await instance.http.get(f"/api/sessions/{odd}")
        assert answer.status_code == 404 and answer.json()["error"].startswith("There is no")
        asked = await instance.http.get(f"{holder.path}/requests/{odd}", headers=holder.headers)
        assert asked.status_code == 404


# ---------------------------------------------------------------------------------- deposits


async def test_a_session_is_opened_by_its_deposit(instance: Instance) -> None:
    """It awaits its payment, shows its invoice, and spends nothing before it has come."""
    session = await made(instance, 100)
    assert session["state"] == "awaiting_payment" and session["invoice"]["amountSats"] == 100
    shown = (await instance.http.get(f"/api/sessions/{session['sessionId']}")).json()
    assert shown["state"] == "awaiting_payment" and shown["balanceSats"] == 0
    assert shown["invoice"] == session["invoice"] and "macaroon" not in shown
    await instance.pay(session["invoice"])
    paid = (await instance.http.get(f"/api/sessions/{session['sessionId']}?wait=10")).json()
    assert paid["state"] == "active" and paid["balanceSats"] == 100 and "invoice" not in paid
    assert paid["minimumBalanceSats"] == 50


async def test_a_deposit_that_is_not_paid_lapses(timed: Instance, clock: Clock) -> None:
    """The session is over, nobody owes anything, and a late payment is owed back whole."""
    session = await made(timed, 150)
    path = f"/api/sessions/{session['sessionId']}"
    clock.forward(hours=2)
    await Loops(timed.parts, Keeper(timed.parts)).expire()
    shown = (await timed.http.get(path)).json()
    assert shown["state"] == "expired" and "invoice" not in shown and "refunds" not in shown
    late = {"late": True}
    paid = await timed.post(f"/api/dev/stub/pay/{session['invoice']['paymentHash']}", late)
    assert paid.status_code == 200
    for _ in range(100):
        shown = (await timed.http.get(path)).json()
        if "refunds" in shown:
            break
        await asyncio.sleep(0.05)  # the push is on its way
    assert [(r["reason"], r["amountSats"]) for r in shown["refunds"]] == [("unawaited", 150)]
    assert shown["state"] == "expired" and shown["balanceSats"] == 0
    await books_are_right(timed)


async def test_a_deposit_paid_over_owes_the_rest_back(instance: Instance) -> None:
    """The balance has what was asked for; paid again it changes nothing."""
    session = await made(instance, 100)
    await instance.pay(session["invoice"], amountSats=130)
    await instance.pay(session["invoice"], amountSats=130)
    path = f"/api/sessions/{session['sessionId']}"
    shown = (await instance.http.get(f"{path}?wait=10")).json()
    assert shown["balanceSats"] == 100
    assert [(r["reason"], r["amountSats"]) for r in shown["refunds"]] == [("overpaid", 30)]
    await books_are_right(instance)


async def test_a_rail_that_is_away_opens_no_session(instance: Instance) -> None:
    """503 says when to come back; nothing is left of it, and a name finds it again."""
    broken = {"call": "create_invoice", "fault": "5xx", "times": 2}
    await instance.post("/api/dev/stub/faults", broken)
    body, key = {"amount_sats": 100}, {"Idempotency-Key": "mine"}
    for headers in ({}, key):
        answer = await instance.post("/api/sessions", body, headers=headers)
        refused(answer, 503, "Nothing was charged")
    rows = await instance.parts.db.read_all("SELECT state FROM session ORDER BY state")
    assert [row["state"] for row in rows] == ["awaiting_payment", "expired"]
    again = await instance.post("/api/sessions", body, headers=key)
    assert again.status_code == 201
    assert len(await instance.parts.db.read_all("SELECT state FROM session")) == 2


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
    await Loops(timed.parts, Keeper(timed.parts)).expire()
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
    await Loops(timed.parts, Keeper(timed.parts)).expire()
    assert (await holder.status())["state"] == "active" and (clock.now - begun).days == 2
    clock.forward(hours=2)
    await Loops(timed.parts, Keeper(timed.parts)).expire()
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
        await Loops(timed.parts, Keeper(timed.parts)).expire()
        assert (await holder.status())["state"] == "active"
        scripted_agent.go.set()
        assert (await holder.ended(request_id))["state"] == "complete"
        await holder.until(state="expired")
        await books_are_right(timed)
