"""An operator stops selling, or paying out, without a restart; nothing is lost meanwhile."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.commands.doctor_expenses import of_expenses
from app.commands.findings import Level
from app.main import utc_now
from app.plant import loops_of
from db import switches
from db.switches import Name
from payments.stub import StubRail
from pricing.money import Msat
from statemachine.public_id import public_id
from tests.world.contract import refused
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import PATIENCE_S, patiently
from tests.world.pay_server import PayServer
from tests.world.refund_fixtures import wallet_of
from tests.world.session_fixtures import books_are_right, held, take_back


async def switched(instance: Instance, name: Name, on: bool) -> None:
    """Do what the command does, and have it seen."""
    built = instance.built
    await built.db.run("switch", lambda tx: switches.turn(tx, name, on, built.clock()))
    async for _ in patiently(f"{name} is not seen to be {on}"):  # the page can't tell by itself
        ready = (await instance.http.get("/api/readyz")).json()
        if ready["switches"][name.value] is on:
            return


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/jobs", {"request": "hello"}),
        ("/api/ask", {"request": "hello"}),
        ("/api/sessions", {"amount_sats": 500}),
    ],
)
async def test_nothing_new_is_sold_while_selling_is_off(
    instance: Instance, path: str, body: dict[str, object]
) -> None:
    """503 with a sentence before any invoice, and what was paid for goes on to its end."""
    job = await instance.to_work_invoice()
    holder = await held(instance)
    await switched(instance, Name.SELLING, False)
    answer = await instance.post(path, body)
    refused(answer, 503, "stopped selling")
    assert answer.headers["retry-after"] == "60"
    refused(await holder.post("topup", {"amount_sats": 500}), 503, "stopped selling")
    demo = await instance.http.get("/api/demo", params={"request": "hello"})
    refused(demo, 503, "stopped selling")
    await instance.pay(job["workInvoice"])
    assert (await instance.until(job["jobId"], "complete"))["result"] == "done: hello"
    assert (await holder.asked())["state"] == "complete"
    await switched(instance, Name.SELLING, True)
    assert (await instance.post(path, body)).status_code in (201, 402)


async def test_what_is_owed_waits_while_paying_out_is_off(instance: Instance) -> None:
    """A claim is told so, the status shows it, and afterwards the same claim is paid."""
    done = await instance.to_end()
    await switched(instance, Name.PAYING_OUT, False)
    sats = done["refunds"][0]["amountSats"]
    mine = (await instance.post("/api/dev/stub/invoice", {"amountSats": sats})).json()
    claim = {"invoice": mine["paymentRequest"]}
    path = f"/api/jobs/{done['jobId']}/refund"
    refused(await instance.post(path, claim), 400, "paused by the operator")
    shown = (await instance.job(done["jobId"]))["refunds"][0]
    assert shown["refundState"] == "pending" and "paused by the operator" in shown["lastOutcome"]
    metrics = (await instance.http.get("/metrics")).text
    assert 'boltwork_switch_on{switch="paying-out"} 0.0' in metrics
    await switched(instance, Name.PAYING_OUT, True)
    assert (await instance.post(path, claim)).status_code == 200
    await books_are_right(instance)


async def test_a_destination_gets_its_refund_once_payouts_go_on(
    lenient: Instance, stranger: PayServer
) -> None:
    """By itself, and the pause counts as no failure of it."""
    wallet_of(lenient, stranger)
    holder = await held(lenient, 300, refundTo=stranger.url)
    await switched(lenient, Name.PAYING_OUT, False)
    await holder.post("close")
    [refund] = (await holder.status())["refunds"]
    assert refund["refundState"] == "pending" and refund["destination"] == "known"
    await switched(lenient, Name.PAYING_OUT, True)
    status = await holder.until(refundStates=["paid"])
    assert status["refunds"][0]["attempts"] == 1
    row = await lenient.built.db.read_one("SELECT failures FROM payout")
    assert row is not None and row["failures"] == 0
    await books_are_right(lenient)


async def test_the_operators_page_shows_and_turns_the_switches(
    database_url: str, tmp_path: Path
) -> None:
    """With the token, and for nobody else."""
    token = "the-operators-own-token"
    async with (
        instance_of(database_url, tmp_path, OPERATOR_TOKEN=token) as instance,
        httpx2.AsyncClient(base_url=instance.url, timeout=PATIENCE_S) as pages,
    ):
        form = {"switch": "selling", "to": "off"}
        path, ours = "/operator/switches", {"Authorization": f"Bearer {token}"}
        assert (await pages.post(path, data=form)).status_code == 401
        answer = await pages.post(path, data=form, headers=ours)
        assert answer.status_code == 303, answer.text
        shown = (await pages.get("/operator", headers=ours)).text
        assert "Selling is switched off." in shown and "Paying out is on." in shown
        refused(await instance.post("/api/jobs", {"request": "hello"}), 503, "stopped selling")
        wrong = await pages.post(path, data={"switch": "x", "to": "on"}, headers=ours)
        assert wrong.status_code == 404


async def test_the_operators_page_shows_who_was_given_routing(
    database_url: str, tmp_path: Path
) -> None:
    """Beside what he paid for work; nearly all of a day's is an alarm, for the doctor too."""
    token = "the-operators-own-token"
    rail = StubRail(tmp_path / "stub.sqlite3", utc_now, routing_fee_msat=Msat(20_000))
    more: dict[str, Any] = {"OPERATOR_TOKEN": token, "ROUTING_FREE_SATS_PER_DAY": 20}
    async with (
        instance_of(database_url, tmp_path, rail=rail, **more) as instance,
        httpx2.AsyncClient(base_url=instance.url, timeout=PATIENCE_S) as pages,
    ):
        await held(instance)
        holder = await held(instance)
        await holder.post("close")
        assert (await take_back(holder, 2_000)).status_code == 200
        ours = {"Authorization": f"Bearer {token}"}
        shown = (await pages.get("/operator", headers=ours)).text
        assert "Nearly all of today’s free routing allowance is used." in shown
        assert f"{public_id(holder.session_id)[:8]}" in shown
        assert holder.session_id not in shown
        today = utc_now().date()
        routing, _ = await of_expenses(instance.built.settings, instance.built.db, today)
        assert routing.level is Level.WARN and "20 of 20 sats are given today" in routing.said
        tomorrow = today + timedelta(days=1)
        routing, _ = await of_expenses(instance.built.settings, instance.built.db, tomorrow)
        assert routing.level is Level.OK and "0 of 20 sats are given today" in routing.said
        await loops_of(instance.built).books.turn()
        assert "boltwork_routing_given_msat 20000.0" in (await instance.http.get("/metrics")).text
