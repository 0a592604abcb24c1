"""Creating a job on a real LNbits, beside what LNbits itself takes to make an invoice; the same
after a million payments; and how often a whole job calls it.

One buyer at a time: what is measured is how long it waits. The calls are counted by a proxy, for a
job that is polled all along, paid twice and refunded, on a wallet that has paid out before.
"""

import asyncio
import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg

from app.settings import Settings

from .buyers import FINAL, REQUEST, watched
from .lines import Line, Wrong, request
from .polls import post
from .rows import Row, Side, Verdict, Want
from .slices import Pace, Pair, Target, closed, compare
from .stand import Process, Stand

SECRET = "a secret of the benchmark of 32 characters"
AT_LEISURE = {"SWEEP_S": Settings.model_fields["sweep_s"].default}
POLLS = 20  # in each state of the job
FULL_INVOICES: int = Settings.model_fields["lnbits_wallet_invoices"].default
FEW, MANY = 1_000, 1_000_000  # payments that the receiving wallet has had
INVOICE = '{"out":false,"amount":5,"memo":"Boltwork: evaluation of job 01234567","expiry":3600}'


def rows(stand: Stand, pace: Pace) -> list[Row]:
    """Create jobs and invoices in turn; then buy two whole jobs, and count the second."""
    lnbits = stand.process("lnbits")
    told = lnbits.ask(do="start")

    def on(url: str) -> Any:
        wallet = {"LNBITS_URL": url, "LNBITS_API_KEY": told["key"]}
        return stand.server("house", stand.database(), settings=wallet)

    ours, counted = on(told["url"]), on(told["counted_url"])
    peer = (lnbits, told["port"])
    creating = closed(ours, post("/api/jobs", "", REQUEST), status=201, connections=1)
    key = f"X-Api-Key: {told['key']}\r\n"
    alone = closed(peer, post("/api/v1/payments", key, INVOICE), status=201, connections=1)
    wants = (Want("p50", most=1.4), Want("p99"))
    pair = Pair("create a job on LNbits", creating, alone, wants, ("Boltwork", "LNbits alone"))
    row = compare(pair, stand, pace)
    cpu_ms = (row.sides["Boltwork"].cpu_us or 0) / 1000
    ours_alone = Verdict("Boltwork's CPU, ms", cpu_ms, Want("cpu", most=5))
    row = dataclasses.replace(row, verdicts=(*row.verdicts, ours_alone))
    asyncio.run(_whole_job(lnbits, counted[1]))
    lnbits.ask(do="count")
    asyncio.run(_whole_job(lnbits, counted[1]))
    calls = lnbits.ask(do="count")["calls"]
    made = {name: n for name, n in calls.items() if "/ws/" not in name}
    verdict = Verdict("calls", sum(made.values()), Want("calls", most=3))
    note = f"{4 * POLLS} polls beside them. " + ", ".join(_short(each) for each in made)
    side = Side(more={name: float(n) for name, n in made.items()})
    aged = [] if pace.quick else [_aged(stand, pace)]
    return [
        row,
        *aged,
        Row("a whole job on LNbits", {"Boltwork": side}, (verdict,), 1, 1, 0.0, note),
    ]


def _aged(stand: Stand, pace: Pace) -> Row:
    """Create jobs where a million were paid before, beside a wallet that was paid a thousand times.

    The first wallet and the one in use have had as many payments as a full one has (two for each
    invoice, at most), the others all the rest; the server and its command have opened, emptied,
    closed and deleted them.
    """
    many, few = _after_many(stand), _after_few(stand)
    names = (f"{MANY:,} past payments", f"{FEW:,} past payments")
    wants = (Want("p50", most=1.3),)
    pair = Pair("create as payments grow, LNbits", many, few, wants, names)
    return compare(pair, stand, pace)


def _after_few(stand: Stand) -> Target:
    lnbits = stand.process("lnbits", "lnbits-few")
    settings = _wallet(lnbits.ask(do="start")) | AT_LEISURE
    server = stand.server("house", stand.database(), settings=settings)
    asyncio.run(_one(server[1]))
    lnbits.ask(do="age", payments=FEW)
    return closed(server, post("/api/jobs", "", REQUEST), status=201, connections=1)


def _after_many(stand: Stand) -> Target:
    full = 2 * FULL_INVOICES
    lnbits = stand.process("lnbits", "lnbits-many")
    settings, database = _wallet(lnbits.ask(do="start")), stand.database()
    with stand.apart():
        _, port = stand.server("house", database, settings=settings)
        for number, payments in enumerate((full, MANY - 2 * full), start=1):
            asyncio.run(_one_on(number, database, port))
            lnbits.ask(do="age", payments=payments)
            _open_next(stand, database, settings)
        # The time that a wallet waits for late payments, and the payments of its invoices.
        asyncio.run(_until(database, _LONG_AGO))
    with stand.apart():
        stand.server("house", database, settings=settings)
        asyncio.run(_until(database, "SELECT 1 FROM receiving_wallet WHERE deleted_at IS NOT NULL"))
    server = stand.server("house", database, settings=settings | AT_LEISURE)
    asyncio.run(_one_on(3, database, server[1]))
    lnbits.ask(do="age", payments=full)
    return closed(server, post("/api/jobs", "", REQUEST), status=201, connections=1)


_LONG_AGO = """
WITH paid AS (UPDATE invoice SET state = 'settled', check_at = NULL)
UPDATE receiving_wallet SET retired_at = retired_at - interval '2 days' RETURNING 1
"""


async def _one_on(number: int, database: str, port: int) -> None:
    """Create jobs until one has its invoice on the wallet of this number: a server takes it up."""
    made = (
        "SELECT 1 FROM receiving_wallet w JOIN invoice i ON i.wallet = w.identity"
        f" WHERE w.number = {number}"
    )
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        for _ in range(60):
            await _one(port)
            if await (await connection.execute(made.encode())).fetchone():
                return
            await asyncio.sleep(0.2)
    raise Wrong(f"no invoice is made on wallet {number}")


def _wallet(told: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a server that may open wallets in this LNbits."""
    keys = {"LNBITS_API_KEY": told["account_key"], "LNBITS_TOKEN": told["token"]}
    return {"LNBITS_URL": told["url"], **keys, "SWEEP_S": 1, "BOLTWORK_SECRET": SECRET}


def _open_next(stand: Stand, database: str, settings: dict[str, Any]) -> None:
    """Run the command that opens the next wallet, and moves there what the others hold."""
    there = {"DATABASE_URL": database, "BTC_PRICE_SOURCES": ""}
    values = {name: str(value) for name, value in settings.items()}
    command = [str(Path(sys.executable).with_name("boltwork")), "receiving", "next"]
    environment = {"PATH": os.defpath, "BOLTWORK_DATA": str(stand.folder / "command")}
    subprocess.run(command, env=environment | there | values, check=True, capture_output=True)


async def _until(database: str, query: str) -> None:
    """Ask until a query has a row."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        for _ in range(600):
            if await (await connection.execute(query.encode())).fetchone():
                return
            await asyncio.sleep(0.2)
    raise Wrong(f"there is still nothing where {query}")


async def _one(port: int) -> None:
    line = Line(port)
    made = await line.ask(request("POST", "/api/jobs", REQUEST))
    line.close()
    if made.status != 201:
        raise Wrong(f"{made.status}: {made.body[:300]!r}")


def _short(call: str) -> str:
    return " ".join(part if len(part) < 40 else f"{part[:36]}…" for part in call.split())


async def _whole_job(lnbits: Process, port: int) -> None:
    """Buy a job and take its refund, the buyer's wallet paying through LNbits' own API."""
    line = Line(port)
    made = (await line.ask(request("POST", "/api/jobs", REQUEST))).json()
    job_id = made["jobId"]
    await _polled(line, job_id)
    lnbits.ask(do="pay", bolt11=made["evalInvoice"]["paymentRequest"])
    job, etag = await watched(line, job_id, '""')
    while "workInvoice" not in job:
        job, etag = await watched(line, job_id, etag)
    await _polled(line, job_id)
    lnbits.ask(do="pay", bolt11=job["workInvoice"]["paymentRequest"])
    while job["state"] not in FINAL:
        job, etag = await watched(line, job_id, etag)
    await _polled(line, job_id)
    sats = job["costLedger"]["refundAmountSats"]
    claim = f'{{"invoice":"{lnbits.ask(do="invoice", sats=sats)["bolt11"]}"}}'
    taken = await line.ask(request("POST", f"/api/jobs/{job_id}/refund", claim))
    if taken.status != 200:
        raise Wrong(f"the refund: {taken.status} {taken.body[:300]!r}")
    await _polled(line, job_id)
    line.close()


async def _polled(line: Line, job_id: str) -> None:
    for _ in range(POLLS):
        answer = await line.ask(request("GET", f"/api/jobs/{job_id}"))
        if answer.status != 200:
            raise Wrong(f"{answer.status}: {answer.body[:300]!r}")
