"""Sessions over real HTTP and a real Postgres: paid once, spent many times, never overdrawn."""

from typing import Any

from db.audit import audit
from tests.house_fixtures import Instance


async def opened(instance: Instance, sats: int = 2_000, **more: Any) -> tuple[str, dict[str, str]]:
    """Open a session and pay for it; return its id and the headers of its holder."""
    made = (await instance.post("/api/sessions", {"amount_sats": sats, **more})).json()
    paid = await instance.post(f"/api/dev/stub/pay/{made['invoice']['paymentHash']}")
    assert paid.status_code == 200, paid.text
    status = (await instance.http.get(f"/api/sessions/{made['sessionId']}?wait=10")).json()
    assert status["state"] == "active", status
    return made["sessionId"], {"Authorization": f"Bearer {status['macaroon']}"}


async def test_a_request_is_paid_from_the_balance(instance: Instance) -> None:
    """It costs what it used, and the rest of its ceiling is on the balance again."""
    session_id, holder = await opened(instance)
    answer = await instance.post(
        f"/api/sessions/{session_id}/request", {"request": "hello"}, headers=holder
    )
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["state"] == "complete" and said["result"] == "done: hello"
    assert said["balanceRemaining"] == 2_000 - said["debitedSats"]
    assert said["cost"]["totalSats"] == said["debitedSats"]
    status = (await instance.http.get(f"/api/sessions/{session_id}", headers=holder)).json()
    assert (status["balanceSats"], status["reservedSats"]) == (said["balanceRemaining"], 0)
    assert await audit(instance.parts.db) == []


async def test_a_rejected_request_costs_the_eval_fee_and_a_failed_one_nothing(
    instance: Instance,
) -> None:
    """What the agent declines has been read; what breaks has not been done."""
    session_id, holder = await opened(instance)
    path = f"/api/sessions/{session_id}/request"
    rejected = (await instance.post(path, {"request": "REJECT"}, headers=holder)).json()
    assert rejected["state"] == "rejected" and rejected["debitedSats"] == 5
    failed = (await instance.post(path, {"request": "BREAK-WORK"}, headers=holder)).json()
    assert failed["state"] == "failed" and failed["debitedSats"] == 0
    assert failed["balanceRemaining"] == 1_995
    assert await audit(instance.parts.db) == []


async def test_closing_owes_the_rest_back(instance: Instance) -> None:
    """Nothing is kept, and the session takes no more requests."""
    session_id, holder = await opened(instance)
    closed = await instance.post(f"/api/sessions/{session_id}/close", headers=holder)
    assert closed.json()["state"] == "expired", closed.text
    assert closed.json()["refunds"][0]["amountSats"] == 2_000
    gone = await instance.post(
        f"/api/sessions/{session_id}/request", {"request": "hello"}, headers=holder
    )
    assert gone.status_code == 410
    assert await audit(instance.parts.db) == []
