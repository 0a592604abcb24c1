"""Sessions over real HTTP and a real Postgres: paid once, spent many times, never overdrawn."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.strict_json import moment
from statemachine.session import (
    Closed,
    Idled,
    Lapsed,
    Released,
    SessionEnd,
    SessionFacts,
    SessionState,
    decide,
)
from tests.world.clock import Clock
from tests.world.contract import refused
from tests.world.house_fixtures import Instance, instance_of
from tests.world.scripted_agent import ScriptedAgent
from tests.world.session_fixtures import books_are_right, ceiling_sats, held

pytestmark = pytest.mark.one_instance

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
    ({"amount_sats": 100, "amountSats": 100}, "'amountSats'"),
    ({}, "'amount_sats' is missing"),
    ({"amount_sats": 100, "odd": 1}, "'odd' is not known"),
    ([100], "no object"),
    (None, "empty"),
]


@pytest.mark.one_instance(False)
async def test_a_wrong_amount_is_told(instance: Instance) -> None:
    """Neither a session nor a top-up comes of it; the sentence says what is wrong."""
    for body, says in BAD_AMOUNTS:
        refused(await instance.post("/api/sessions", body), 400, says)
    assert await instance.built.db.read_all("SELECT id FROM session") == []
    holder = await held(instance, 100)
    for body, says in BAD_AMOUNTS:
        refused(await holder.post("topup", body), 400, says)
    assert "pendingTopup" not in await holder.status()


async def test_the_amount_is_read_in_both_spellings(instance: Instance) -> None:
    """`amountSats`, spelled like all other fields, means what `amount_sats` does."""
    opened = await instance.post("/api/sessions", {"amountSats": 150})
    assert opened.status_code == 201 and opened.json()["invoice"]["amountSats"] == 150
    holder = await held(instance, 100)
    topped = await holder.post("topup", {"amountSats": 125})
    assert topped.status_code == 200 and topped.json()["topup"]["amountSats"] == 125


async def test_an_expired_session_says_why(instance: Instance) -> None:
    """`expired` is its state however it ended; `expiredBecause` is closed, inactive or unpaid."""
    holder = await held(instance, 100)
    assert "expiredBecause" not in await holder.status()
    assert (await holder.post("close")).json()["expiredBecause"] == "closed"
    status = await holder.status()
    assert (status["state"], status["expiredBecause"]) == ("expired", "closed")


def test_each_end_of_a_session_has_its_reason() -> None:
    """What ends a session first is why it is expired, whatever comes back to it afterwards."""
    open_ = SessionFacts("s", SessionState.ACTIVE, 5_000, 1_000, reserved_msat=1_000)
    unpaid = SessionFacts("s", SessionState.AWAITING_PAYMENT, 0, 1_000)
    for facts, event, reason in (
        (open_, Closed(), SessionEnd.CLOSED),
        (open_, Idled(), SessionEnd.INACTIVE),
        (unpaid, Lapsed(), SessionEnd.UNPAID),
        (unpaid, Closed(), SessionEnd.CLOSED),
    ):
        assert facts.ended is None and decide(facts, event).facts.ended is reason
    closed = decide(open_, Closed()).facts
    assert decide(closed, Released(1_000, 500)).facts.ended is SessionEnd.CLOSED


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
    for wait in ("61", "-1", "x", "1.5", "1&wait=1"):
        path = f"{holder.path}/request?wait={wait}"
        # Also where nobody waits: what is wrong is not taken for right because it has no use.
        for wish in ({}, {"Prefer": "respond-async"}):
            answer = await instance.post(path, {"request": "x"}, headers=holder.headers | wish)
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


async def test_an_operator_says_how_long_and_how_low(database_url: str, tmp_path: Path) -> None:
    """The minimum balance and the idleness that ends a session are what the settings say."""
    terms: dict[str, Any] = {"SESSION_MIN_BALANCE_SATS": 77, "SESSION_IDLE_S": 600}
    clock = Clock()
    async with instance_of(database_url, tmp_path, clock=clock, **terms) as instance:
        status = await (await held(instance)).status()
    assert status["minimumBalanceSats"] == 77
    assert status["expiresAt"] == moment(clock() + timedelta(seconds=600))
