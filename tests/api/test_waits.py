"""How long an answer is held: until its caller has something to do, and not longer than proxies."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.http.fields import DEFAULT_HOLD_S, HELD_S
from tests.world.house_fixtures import Instance
from tests.world.scripted_agent import ScriptedAgent

pytestmark = pytest.mark.one_instance

README = Path(__file__).parents[2] / "README.md"
PROXY_S = 60  # after which proxies, as they come, give an answer up


def recipe() -> str:
    """Return the shell recipe of the README."""
    _, _, rest = README.read_text().partition("Try it against `scripts/run`, on the stub rail:\n")
    lines = rest.partition("\n`boltwork ask")[0].splitlines()
    return "\n".join(line.removeprefix("    ") for line in lines)


async def test_the_recipe_of_the_readme_buys_a_job(instance: Instance) -> None:
    """In a shell, word by word, again and again: each wait ends with what its next line needs."""
    script = recipe().replace("http://127.0.0.1:8402", instance.url)
    assert script.count("wait=30") == 2 and instance.url in script
    for _ in range(10):
        shell = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", script, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await shell.communicate()
        assert shell.returncode == 0
        assert b'"state":"complete"' in told and b'"result":"done: Say hello."' in told


async def held(instance: Instance, job_id: str, **headers: str) -> dict[str, Any]:
    """Return what a held GET is answered."""
    answer = await instance.http.get(f"/api/jobs/{job_id}?wait=55", headers=headers)
    return dict(answer.json())


async def test_a_wait_ends_when_there_is_something_to_do(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """Not at `evaluating`, not at `awaiting_work_payment` before its invoice, not at `executing`:
    at an invoice that was not there before, or at the end, also for one who began to wait early.
    """
    scripted_agent.go.clear()
    made = await instance.create()
    job_id = made["jobId"]
    early = asyncio.create_task(held(instance, job_id))
    await instance.pay(made["evalInvoice"])
    await instance.until(job_id, "evaluating")
    later = asyncio.create_task(held(instance, job_id))
    # The wallet is slow to make the invoice of the work.
    fault = {"call": "create_invoice", "fault": "5xx", "times": 1}
    assert (await instance.post("/api/dev/stub/faults", fault)).status_code == 200
    scripted_agent.go.set()
    for waiting in (early, later):
        job = await waiting
        assert job["state"] == "awaiting_work_payment" and "workInvoice" in job
    scripted_agent.go.clear()
    unpaid = asyncio.create_task(held(instance, job_id))
    await instance.pay(job["workInvoice"])
    await instance.until(job_id, "executing")
    at_work = asyncio.create_task(held(instance, job_id))
    scripted_agent.go.set()
    for waiting in (unpaid, at_work):
        assert (await waiting)["state"] == "complete"
    assert (await held(instance, job_id))["state"] == "complete"


async def test_who_names_a_version_sees_the_next_one(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """With If-None-Match each change ends the wait, whatever it is."""
    scripted_agent.go.clear()
    made = await instance.create()
    path = f"/api/jobs/{made['jobId']}"
    etag = (await instance.http.get(path)).headers["etag"]
    waiting = asyncio.create_task(held(instance, made["jobId"], **{"If-None-Match": etag}))
    await instance.pay(made["evalInvoice"])
    assert (await waiting)["state"] == "evaluating"


async def test_a_wait_is_over_when_its_time_is(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """Then the job is answered as it is, and asked about again it goes on from there."""
    scripted_agent.go.clear()
    made = await instance.create()
    path = f"/api/jobs/{made['jobId']}?wait=1"
    assert (await instance.http.get(path)).json()["state"] == "awaiting_eval_payment"
    await instance.pay(made["evalInvoice"])
    await instance.until(made["jobId"], "evaluating")
    assert (await instance.http.get(path)).json()["state"] == "evaluating"
    scripted_agent.go.set()
    assert "workInvoice" in await held(instance, made["jobId"])


def test_nothing_is_held_as_long_as_a_proxy_waits() -> None:
    """Paid calls are held for less than half of it by themselves, and never for all of it."""
    assert DEFAULT_HOLD_S * 2 < PROXY_S and HELD_S < PROXY_S
    assert f"proxy_read_timeout {PROXY_S + 15}s" in README.read_text()
