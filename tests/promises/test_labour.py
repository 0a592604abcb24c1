"""What becomes of a job whose agent refuses, has too much to do, or breaks; and who bears it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.agents.agent import Accepted, Broke, Progress, Rejected, Result, unwatched
from app.commands.doctor_expenses import of_expenses
from app.commands.findings import Level
from app.main import utc_now
from app.plant import books_of, keeper_of
from app.trade.selling import FAILURES_A_FREE_ONE
from db import ledger
from db.audit import audit
from db.promises import TryAgain
from pricing.rates import Usage
from statemachine.entries import Asset
from statemachine.promises import Judge, Promise, Work
from tests.world.contract import refused
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import PATIENCE_S
from tests.world.scripted_agent import ScriptedAgent

BUSY = Broke("The agent has too much to do.", retryable=True, busy=True, retry_after_s=7)
NONSENSE = Broke("The agent said nonsense.", retryable=True, usage=Usage(100_000, 5_000))
UNKEEPABLE = Usage(10**30, 1)  # more than any column holds


class MoodyAgent(ScriptedAgent):
    """Answers as the test has laid out, and then as any scripted agent."""

    def __init__(self) -> None:
        super().__init__()
        self.verdicts: list[Accepted | Rejected | Broke] = []
        self.works: list[Result | Rejected | Broke] = []
        self.asked = 0

    async def judge(self, request: str) -> Accepted | Rejected | Broke:
        """See Agent."""
        self.asked += 1
        return self.verdicts.pop(0) if self.verdicts else await super().judge(request)

    async def work(
        self, request: str, max_output_tokens: int, progress: Progress = unwatched
    ) -> Result | Rejected | Broke:
        """See Agent."""
        self.asked += 1
        if self.works:
            return self.works.pop(0)
        return await super().work(request, max_output_tokens, progress)


@pytest.fixture
def moody() -> MoodyAgent:
    """The agent of `still`."""
    return MoodyAgent()


@pytest.fixture
async def still(database_url: str, tmp_path: Path, moody: MoodyAgent) -> AsyncIterator[Instance]:
    """An instance whose promises are kept when the test says so."""
    async with instance_of(database_url, tmp_path, agent=moody, worker=False) as running:
        yield running


async def paid(still: Instance) -> str:
    """Return a job that waits to be judged."""
    made = await still.create("hello")
    await still.pay(made["evalInvoice"])
    await still.until(made["jobId"], "evaluating")
    return str(made["jobId"])


async def executing(still: Instance) -> str:
    """Return a job that waits to be done."""
    job_id = await paid(still)
    await keep(still, Judge(job_id))
    await keeper_of(still.built).create_invoice(f"{job_id}:work")
    job = await still.job(job_id)
    await still.pay(job["workInvoice"])
    await still.until(job_id, "executing")
    return job_id


async def keep(still: Instance, promise: Promise, tries: int = 0, later_s: int = 0) -> None:
    """Keep a promise, as a worker would after so many tries, and so much later."""
    built = replace(still.built, clock=lambda: utc_now() + timedelta(seconds=later_s))
    await keeper_of(built).keep(promise, tries)


async def balance(still: Instance, account: str) -> int:
    """Return what an account of the books holds."""
    assert await audit(still.built.db) == []
    return int(await ledger.balance(still.built.db, account, Asset.MSAT))


async def test_a_refusal_at_work_costs_the_evaluation(still: Instance, moody: MoodyAgent) -> None:
    """The model was asked and will not: rejected, its fee kept, the work's price owed back."""
    job_id = await executing(still)
    moody.works = [Rejected("The agent declines to do this work.", Usage(50, 3))]
    await keep(still, Work(job_id))
    job = await still.job(job_id)
    assert job["state"] == "rejected" and job["reason"] == "The agent declines to do this work."
    [refund] = job["refunds"]
    assert refund["amountSats"] == job["pricingBreakdown"]["totalSats"]
    assert await balance(still, "revenue:eval") == 5_000
    assert await balance(still, "expense:failed") == 0


async def test_who_fails_all_day_waits_for_the_next(still: Instance, moody: MoodyAgent) -> None:
    """Far beyond what is free, a payer is refused before any invoice, until the day is over."""
    most = still.built.settings.free_failures_per_day * FAILURES_A_FREE_ONE
    for _ in range(most + 1):
        assert (await fail(still, moody))["state"] in ("failed", "rejected")
    for path in ("/api/jobs", "/api/ask"):
        answer = await still.post(path, {"request": "hello"})
        refused(answer, 429, "have failed today")
        assert 0 < int(answer.headers["retry-after"]) <= 86_400


async def test_a_cut_result_says_so(still: Instance, moody: MoodyAgent) -> None:
    """Work that reached its ceiling is delivered, and marked wherever it is told."""
    job_id = await executing(still)
    moody.works = [Result("half a s", Usage(50, 1000), cut=True)]
    await keep(still, Work(job_id))
    job = await still.job(job_id)
    assert job["state"] == "complete" and job["truncated"] is True
    async with httpx2.AsyncClient(base_url=still.url, timeout=PATIENCE_S) as browser:
        assert "cut off" in (await browser.get(f"/jobs/{job_id}")).text
    whole = await executing(still)
    await keep(still, Work(whole))
    assert "truncated" not in await still.job(whole)


@pytest.mark.parametrize("begin", [paid, executing], ids=["judging", "working"])
async def test_a_model_with_too_much_to_do_is_waited_for(
    still: Instance, moody: MoodyAgent, begin: Any
) -> None:
    """Pauses grow, as long as was asked for at least; no try is used up; then it is given back."""
    job_id = await begin(still)
    promise: Promise = Judge(job_id) if begin is paid else Work(job_id)
    moody.verdicts, moody.works = [BUSY] * 9, [BUSY] * 9
    pauses = []
    for tries in range(8):
        with pytest.raises(TryAgain) as again:
            await keep(still, promise, tries)
        pauses.append(again.value.after_s)
    assert pauses == [7, 7, 7, 8, 16, 32, 60, 60]
    await keep(still, promise, 8, later_s=still.built.settings.agent_patience_s)
    job = await still.job(job_id)
    assert job["state"] == "failed" and job["errorMessage"] == BUSY.reason and job["refunds"]
    assert await balance(still, "expense:failed") == 0


@pytest.mark.parametrize("begin", [paid, executing], ids=["judging", "working"])
async def test_no_error_buys_an_answer_without_end(
    still: Instance, moody: MoodyAgent, begin: Any
) -> None:
    """An answer that can't be written down is asked for AGENT_TRIES times, then given up."""
    job_id = await begin(still)
    promise: Promise = Judge(job_id) if begin is paid else Work(job_id)
    moody.asked = 0
    moody.verdicts = [Rejected("no", UNKEEPABLE)] * 9
    moody.works = [Result("text", UNKEEPABLE)] * 9
    most = still.built.settings.agent_tries
    for tries in range(most):
        with pytest.raises(Exception) as unforeseen:
            await keep(still, promise, tries)
        assert not isinstance(unforeseen.value, TryAgain)
    await keep(still, promise, most)
    assert moody.asked == most
    job = await still.job(job_id)
    assert job["state"] == "failed" and job["refunds"]
    assert await audit(still.built.db) == []


async def fail(still: Instance, moody: MoodyAgent) -> dict[str, Any]:
    """Have a job fail after its model was paid, as often as it is asked."""
    job_id = await paid(still)
    moody.verdicts = [NONSENSE] * 3
    for tries in range(2):
        with pytest.raises(TryAgain):
            await keep(still, Judge(job_id), tries)
    await keep(still, Judge(job_id), 2)
    return await still.job(job_id)


async def test_what_failures_cost_is_booked_and_bounded(still: Instance, moody: MoodyAgent) -> None:
    """The house bears a few failures of one payer a day, and says so in its books, its metrics and
    to the doctor; of those after them the evaluation is charged."""
    most = still.built.settings.free_failures_per_day
    for _ in range(most):
        job = await fail(still, moody)
        assert job["state"] == "failed" and job["errorMessage"] == NONSENSE.reason
    spent_msat = await balance(still, "expense:failed")
    assert spent_msat > 0 and await balance(still, "revenue:free") == spent_msat
    await books_of(still.built).turn()
    told = (await still.http.get("/metrics")).text
    [shown] = [line for line in told.splitlines() if 'expense_msat{account="failed"}' in line]
    assert float(shown.split()[1]) == spent_msat
    settings, db, today = still.built.settings, still.built.db, utc_now().date()
    _, failures = await of_expenses(settings, db, today)
    assert (
        failures.level is Level.OK and f"has cost {-(-spent_msat // 1_000):,} sats" in failures.said
    )
    job = await fail(still, moody)
    _, failures = await of_expenses(settings, db, today)
    assert failures.level is Level.WARN and f"more than {most} failures today" in failures.said
    assert job["state"] == "rejected" and "The evaluation was charged" in job["reason"]
    assert await balance(still, "expense:failed") == spent_msat
    assert await balance(still, "revenue:eval") == 5_000
