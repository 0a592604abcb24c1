"""An account as programs see it: what it has, what it was spent on, and the way out."""

from pathlib import Path
from typing import Any

import pytest

from tests.world.account_fixtures import buyers_invoice, gone, has, paid_in, right, signed_in
from tests.world.batch_doors import batch, ended, sold_by
from tests.world.clock import Clock
from tests.world.contract import refused
from tests.world.house_fixtures import Instance
from tests.world.scripted_maker import ScriptedMaker

pytestmark = pytest.mark.one_instance

ME, DASHBOARD = "/api/v1/user/me", "/api/v1/user/dashboard"
HISTORY, WITHDRAW = "/api/v1/user/history", "/api/v1/user/withdraw"


async def told(at: Instance, path: str, holder: dict[str, str], **query: str) -> dict[str, Any]:
    """Ask as a holder."""
    answer = await at.http.get(path, headers=holder, params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def keyed(at: Instance, sats: int) -> dict[str, str]:
    """Open an account with so much on it; return the headers of its key."""
    holder = await signed_in(at)
    made = await at.post("/api/v1/user/apikeys", {}, headers=holder)
    key = {"x-api-key": str(made.json()["apiKey"])}
    if sats:
        await paid_in(at, key, sats)
        await has(at, key, sats)
    return key


async def buy(at: Instance, key: dict[str, str], *prompts: str) -> int:
    """Buy pictures to their end; return what they cost."""
    bought = await at.post("/api/jobs", batch(*prompts), headers=key)
    assert bought.status_code == 201, bought.text
    token = key["x-api-key"]
    job = (await ended(at, bought.json()["jobId"], token=token))["job"]
    return int(job["costSats"]) if "costSats" in job else -1


async def test_a_new_account_has_nothing(instance: Instance) -> None:
    """A point is one sat; what was never spent is an empty history."""
    key = await keyed(instance, 0)
    me = await told(instance, ME, key)
    assert (me["points"], me["balanceSats"], me["balanceUsdc"]) == (0, 0, 0)
    assert me["username"] == "agent" and me["wallets"] == []
    seen = await told(instance, DASHBOARD, key)
    assert (seen["recent"], seen["openDeposits"], seen["openWithdrawals"]) == ([], 0, 0)
    spent = await told(instance, HISTORY, key)
    assert (spent["days"], spent["tools"], spent["points"], spent["count"]) == ([], [], 0, 0)


async def test_what_was_spent_is_told_by_the_day_and_by_the_tool(
    database_url: str, tmp_path: Path
) -> None:
    """And it is what the balance is less; what was not delivered was not spent."""
    clock = Clock()
    async with sold_by(database_url, tmp_path, ScriptedMaker(), clock=clock) as at:
        key = await keyed(at, 10_000)
        await buy(at, key, "one", "two", "REFUSE three")
        first = 10_000 - (await told(at, ME, key))["points"]
        clock.forward(days=1)
        await buy(at, key, "four")
        both = 10_000 - (await told(at, ME, key))["points"]
        spent = await told(at, HISTORY, key, timeUnit="month", offset="0")
        assert [day["points"] for day in spent["days"]] == [first, both - first]
        assert [day["date"] for day in spent["days"]] == ["2026-06-01", "2026-06-02"]
        assert (spent["points"], spent["sats"], spent["count"]) == (both, both, 2)
        [tool] = spent["tools"]
        assert (tool["toolId"], tool["runs"]) == ("scene-1", 3)
        assert both - 2 < tool["sats"] <= both
        today = await told(at, HISTORY, key, timeUnit="day")
        assert (today["points"], len(today["days"])) == (both - first, 1)
        before = await told(at, HISTORY, key, timeUnit="day", offset="1")
        assert before["points"] == first and before["to"] == today["from"]
        later = await told(at, HISTORY, key, timeUnit="week", offset="1")
        assert later["points"] == 0
        seen = await told(at, DASHBOARD, key)
        assert [each["points"] for each in seen["recent"]] == [both - first, first]
        assert seen["lastMonth"]["points"] == both
        await right(at)


async def test_a_history_is_asked_for_as_it_is_said(instance: Instance) -> None:
    """In units and steps back that there are."""
    key = await keyed(instance, 0)
    for query, says in (
        ("timeUnit=fortnight", "day, week, month, year"),
        ("timeUnit=day&timeUnit=week", "given twice"),
        ("offset=-1", "whole number"),
        ("offset=1001", "to 1000"),
        ("offset=", "whole number"),
    ):
        refused(await instance.http.get(f"{HISTORY}?{query}", headers=key), 400, says)


async def test_money_is_taken_out_by_a_key(instance: Instance) -> None:
    """To an invoice, by the same engine as any payout; too little is a 402."""
    key = await keyed(instance, 1_000)
    invoice = await buyers_invoice(instance, 300)
    sent = await instance.post(WITHDRAW, {"invoice": invoice}, headers=key)
    assert sent.status_code == 201, sent.text
    await gone(instance, key)
    await has(instance, key, 700)
    short = await instance.post(WITHDRAW, {"amountSats": 701}, headers=key)
    refused(short, 402, "your account has 700")
    assert short.json()["error"]["code"] == "INSUFFICIENT_BALANCE"
    assert short.json()["error"]["balanceSats"] == 700
    waits = await instance.post(WITHDRAW, {"amountSats": 700}, headers=key)
    assert waits.json()["withdrawal"]["lnurlWithdraw"].startswith("LNURL")
    assert (await told(instance, DASHBOARD, key))["openWithdrawals"] == 1
    await right(instance)
