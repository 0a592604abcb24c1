"""The commands for the books, run beside a living server as an operator runs them."""

import asyncio
import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
import pytest

from app.buyer.answers import Job
from app.buyer.client import Client
from db import ledger
from db.embedded import running_url
from db.engine import Database
from statemachine.entries import REVENUE_WORK, Account, Asset, Entry, Kind, Posting, of_job
from statemachine.public_id import public_id
from tests.world.command import Terminal
from tests.world.messages_server import CLIENT_KEY, MessagesServer
from tests.world.server_process import ServerProcess


@dataclass
class Desk:
    """A running instance in which one job was bought, and the operator's terminal."""

    server: ServerProcess
    job: Job
    terminal: Terminal

    @property
    def database_url(self) -> str:
        """The database of the running server."""
        url = running_url(self.server.folder)
        assert url is not None
        return url

    @property
    def owed(self) -> str:
        """The name under which the job's only payout is shown."""
        return f"{self.name}:surplus"

    @property
    def name(self) -> str:
        """The job's public id, as every command shows it."""
        return public_id(self.job["jobId"])

    async def says(self, *words: str, code: int = 0) -> str:
        """Run `boltwork …`; return what it printed, after a look at its exit code."""
        ended, printed = await asyncio.to_thread(self.terminal.run, *words)
        assert ended == code, printed
        return printed

    def tamper(self, statement: str) -> None:
        """Do what a person with SQL can do."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")
            assert connection.execute(statement.encode()).rowcount > 0


async def _reviewed(server: ServerProcess) -> None:
    """Wait until the server's first review knows what the rail holds, as nothing moves yet.

    What is bought in that moment keeps it from seeing the books stand still; then it is a later
    review, or the operator's, that sees the rail for the first time.
    """
    url = running_url(server.folder)
    assert url is not None
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while True:
            seen = await connection.execute("SELECT 1 FROM rail_baseline")
            if await seen.fetchone():
                return
            await asyncio.sleep(0.05)


@pytest.fixture
async def desk(server: ServerProcess, messages_server: MessagesServer) -> Desk:
    """A complete job, whose surplus is owed."""
    server.environment |= {
        "ANTHROPIC_API_KEY": CLIENT_KEY,
        "ANTHROPIC_BASE_URL": messages_server.url,
        "EVAL_MODEL": "claude-haiku-4-5",
        "WORK_MODEL": "claude-haiku-4-5",
    }
    await asyncio.to_thread(server.start)
    await _reviewed(server)
    async with Client(server.url) as client:
        made = await client.create("hello")
        await client.stub_pay(made["evalInvoice"]["paymentHash"])
        async for job in client.watch(made["jobId"]):
            if "workInvoice" in job:
                await client.stub_pay(job["workInvoice"]["paymentHash"])
    assert job["state"] == "complete"
    here = {"BOLTWORK_DATA": str(server.folder), "BOLTWORK_URL": server.url}
    return Desk(server, job, Terminal(**here))


async def test_the_ledger_shows_accounts_and_the_entries_of_a_job(desk: Desk) -> None:
    """Plain lines and JSON, amounts in msat; a job that nothing was paid for is said so."""
    owed_msat = desk.job["costLedger"]["refundAmountSats"] * 1000
    accounts = await desk.says("ledger")
    assert f"refund:{desk.owed}" in accounts and f" {owed_msat:,} msat" in accounts
    told = json.loads(await desk.says("ledger", "--json"))
    balances = {each["account"]: each["balanceMsat"] for each in told["accounts"]}
    assert balances[f"refund:{desk.owed}"] == owed_msat
    assert balances["rail:lightning"] == owed_msat + sum(
        balances[name] for name in ("revenue:eval", "revenue:work")
    )
    lines = [" ".join(line.split()) for line in accounts.splitlines()]
    earned_msat = balances["revenue:eval"] + balances["revenue:work"]
    assert f"asset all together {earned_msat + owed_msat:,} msat" in lines
    assert f"liability all together {owed_msat:,} msat" in lines
    assert f"income all together {earned_msat:,} msat" in lines
    entries = await desk.says("ledger", desk.name)
    assert f"job:{desk.name}:charged" in entries and f"-{owed_msat:,} msat" in entries
    told = json.loads(await desk.says("ledger", desk.name, "--json"))
    assert len(told["entries"]) == 4
    for name in (desk.job["jobId"], desk.name[:12]):  # as its buyer knows it, and as the log does
        assert await desk.says("ledger", name) == entries
    for entry in told["entries"]:
        assert sum(leg["amountMsat"] for leg in entry["postings"]) == 0
    assert "know nothing" in await desk.says("ledger", "0" * 32, code=1)


async def test_the_ledger_names_the_asset_of_every_amount(desk: Desk) -> None:
    """An account that holds two assets is two lines, in plain and in JSON; what no row explains is
    wrong in either."""
    job, rail = of_job(desk.job["jobId"]), Account("rail:x402", Kind.ASSET)
    sold = [
        Entry("usdc:1", Asset.MICROUSDC, (Posting(rail, 2_500_000), Posting(job, -2_500_000))),
        Entry("usdc:2", Asset.MICROUSDC, (Posting(job, 900), Posting(REVENUE_WORK, -900))),
    ]
    db = Database(desk.database_url)
    await db.open()
    await db.run("sold", lambda tx: ledger.post(tx, sold, datetime.now(UTC)))
    await db.close()
    lines = [" ".join(line.split()) for line in (await desk.says("ledger")).splitlines()]
    assert "asset rail:x402 2,500,000 microusdc" in lines
    of_work = [line for line in lines if "revenue:work" in line]
    assert [line.split()[-1] for line in of_work] == ["microusdc", "msat"]
    told = json.loads(await desk.says("ledger", "--json"))["accounts"]
    [held] = [each for each in told if each["account"] == "rail:x402"]
    assert held == {"account": "rail:x402", "kind": "asset", "balanceMicrousdc": 2_500_000}
    entries = await desk.says("ledger", desk.name)
    assert "-2,500,000 microusdc" in entries and " msat " in entries
    wrong = await desk.says("reconcile", code=1)
    assert "invariant 5: usdc:1: no row explains" in wrong and "2499100 microusdc" in wrong


async def test_reconcile_names_what_is_wrong(desk: Desk) -> None:
    """Exit code 0 while the books are right; 1 with invariant and account when they are not."""
    right = await desk.says("reconcile")
    assert "invariants 1 to 8 hold" in right and "to the msat" in right
    account = f"refund:{desk.job['jobId']}:surplus"
    desk.tamper(f"UPDATE account SET balance = balance + 1 WHERE name = '{account}'")
    wrong = await desk.says("reconcile", code=1)
    assert f"invariant 1: refund:{desk.owed}: the balance kept is" in wrong
    assert f"invariant 7: refund:{desk.owed}: it holds" in wrong
    told = json.loads(await desk.says("reconcile", "--json", code=1))
    assert {"invariant": 7, "who": f"refund:{desk.owed}"}.items() <= told["findings"][-1].items()
    desk.tamper(f"UPDATE account SET balance = balance - 1 WHERE name = '{account}'")
    await desk.says("reconcile")
    desk.tamper("DELETE FROM entry WHERE key LIKE '%:charged'")
    wrong = await desk.says("reconcile", code=1)
    assert f"invariant 6: job:{desk.name}:charged: an entry of this key" in wrong
    assert f"invariant 1: job:{desk.name}: " in wrong


async def test_no_command_shows_the_id_of_a_job(desk: Desk) -> None:
    """What an operator copies from a terminal opens nobody's page and takes nobody's refund."""
    commands = (("ledger",), ("ledger", desk.name), ("payouts",), ("reconcile",))
    desk.tamper("UPDATE account SET balance = balance + 1 WHERE name LIKE 'refund:%'")
    for command in commands:
        code = int(command[0] == "reconcile")
        for words in (command, (*command, "--json")):
            shown = await desk.says(*words, code=code)
            assert desk.name[:8] in shown and desk.job["jobId"][:8] not in shown, words


async def test_a_rail_that_differs_can_be_explained(desk: Desk) -> None:
    """Money that somebody took is found; once its reason is written down, it is compared anew."""
    await desk.says("reconcile")
    store = desk.server.folder / "stub.sqlite3"
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE receipts SET amount_msat = amount_msat - 2000 WHERE seq = 1")
    connection.close()
    assert "invariant 3: rail stub: it holds 2 sats less" in await desk.says("reconcile", code=1)
    assert "to the msat" in await desk.says("reconcile", "--accept", "taken out by its owner")
    with psycopg.connect(desk.database_url) as database:
        rows = database.execute(
            "SELECT beyond, reason FROM rail_baseline WHERE identity NOT LIKE 'eip155%'"
            " ORDER BY number"
        )
        assert rows.fetchall() == [(0, "first seen"), (-2000, "taken out by its owner")]


async def test_payouts_are_shown_and_go_elsewhere(desk: Desk) -> None:
    """Owed ones are listed; one is sent to another destination, and what can't be is refused."""
    shown = await desk.says("payouts")
    assert f"owed       {desk.owed}" in shown and "  no destination was named yet;" in shown
    [row] = json.loads(await desk.says("payouts", "--json"))["payouts"]
    assert (row["id"], row["standing"], row["refundTo"]) == (desk.owed, "owed", None)
    assert row["amountMsat"] == desk.job["costLedger"]["refundAmountSats"] * 1000
    assert "redirect" in await desk.says("payouts", "retry", desk.owed, code=1)
    assert "no payout nowhere" in await desk.says("payouts", "retry", "nowhere", code=1)
    refused = await desk.says("payouts", "redirect", desk.owed, "not a destination", code=1)
    assert refused.startswith("boltwork: ")
    went = await desk.says("payouts", "redirect", desk.owed, "me@unknown.example")
    assert "me@unknown.example" in went
    [row] = json.loads(await desk.says("payouts", "--json"))["payouts"]
    assert row["refundTo"] == "me@unknown.example"
    desk.tamper("UPDATE payout SET failures = 3")
    assert f"stuck      {desk.owed}" in await desk.says("payouts")
    await desk.says("payouts", "retry", desk.owed)
    [row] = json.loads(await desk.says("payouts", "--json"))["payouts"]
    assert row["standing"] == "owed" and row["failures"] == 0


async def test_a_payout_that_is_paid_or_in_flight_is_left_alone(desk: Desk) -> None:
    """Neither is sent again; when all are paid, that is said."""
    async with Client(desk.server.url) as client:
        await client.call("POST", "/api/dev/stub/faults", json={"call": "pay", "fault": "pending"})
        invoice = await client.stub_invoice(desk.job["costLedger"]["refundAmountSats"])
        assert (await client.refund(desk.job["jobId"], invoice))["ok"] is False
        assert f"in_flight  {desk.owed}" in await desk.says("payouts")
        assert "never sent twice" in await desk.says("payouts", "retry", desk.owed, code=1)
        assert "to the msat" in await desk.says("reconcile")  # the stub deducts what has settled
        await client.call("DELETE", "/api/dev/stub/faults")
        while (await client.show(desk.job["jobId"]))["costLedger"]["refundState"] != "paid":
            await asyncio.sleep(0.2)  # the poll of a final job does not hold
    assert "Every payout is paid." in await desk.says("payouts")
    elsewhere = ("payouts", "redirect", desk.owed, "me@unknown.example")
    assert "it is paid" in await desk.says(*elsewhere, code=1)
    await desk.says("reconcile")


async def test_verify_checks_a_receipt_without_the_server(desk: Desk) -> None:
    """With a saved set of keys, or the instance's own; one byte changed says no, exit code 1."""
    receipt, jwks = desk.server.folder / "receipt.json", desk.server.folder / "jwks.json"
    async with Client(desk.server.url) as client:
        served = await client.call("GET", f"/api/jobs/{desk.job['jobId']}/receipt")
        jwks.write_text(json.dumps(await client.call("GET", "/.well-known/jwks.json")))
    receipt.write_text(json.dumps(served))
    told = await desk.says("verify", str(receipt))
    assert f"job {desk.name}: complete" in told and "Genuine" in told
    shown = desk.server.url + "/.well-known/jwks.json"
    assert await desk.says("verify", str(receipt), "--jwks", shown) == told
    await asyncio.to_thread(desk.server.stop)
    assert await desk.says("verify", str(receipt), "--jwks", str(jwks)) == told
    assert "--jwks" in await desk.says("verify", str(receipt), code=1)
    compact = desk.server.folder / "compact"
    compact.write_text(served["receipt"])
    assert await desk.says("verify", str(compact), "--jwks", str(jwks)) == told
    paid = str(served["payload"]["paidMsat"])
    receipt.write_text(json.dumps(served).replace(paid, paid[:-1] + "1"))
    assert "NOT genuine" in await desk.says("verify", str(receipt), "--jwks", str(jwks), code=1)
    for missing in ("nothing.json", str(desk.server.folder)):
        assert "can't be read" in await desk.says("verify", missing, code=1)
        wrong = ("verify", str(compact), "--jwks", missing)
        assert "can't be read" in await desk.says(*wrong, code=1)


async def test_the_books_can_be_looked_at_while_nothing_runs(desk: Desk) -> None:
    """After the server has stopped, the commands start its database for themselves."""
    await asyncio.to_thread(desk.server.stop)
    assert "invariants 1 to 8 hold" in await desk.says("reconcile")
    assert f"refund:{desk.owed}" in await desk.says("ledger")
