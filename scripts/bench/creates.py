"""Creating a job on a real LNbits, beside what LNbits itself takes to make an invoice; the same on
a wallet that was paid a million times before; and how often a whole job calls it.

One buyer at a time: what is measured is how long it waits. The calls are counted by a proxy, for a
job that is polled all along, paid twice and refunded, on a wallet that has paid out before.
"""

import asyncio
from typing import Any

from .buyers import FINAL, REQUEST, watched
from .lines import Line, Wrong, request
from .polls import post
from .rows import Row, Side, Verdict, Want
from .slices import Pace, Pair, closed, compare
from .stand import Process, Stand

POLLS = 20  # in each state of the job
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
    wants = (Want("p50", most=1.15), Want("p99"))
    pair = Pair("create a job on LNbits", creating, alone, wants, ("Boltwork", "LNbits alone"))
    row = compare(pair, stand, pace)
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
    """Create jobs on a wallet that was paid a million times, beside one that was a thousand."""
    creating = []
    for payments in (MANY, FEW):
        lnbits = stand.process("lnbits", f"lnbits-{payments}")
        told = lnbits.ask(do="start")
        wallet = {"LNBITS_URL": told["url"], "LNBITS_API_KEY": told["key"]}
        server = stand.server("house", stand.database(), settings=wallet)
        asyncio.run(_one(server[1]))
        lnbits.ask(do="age", payments=payments)
        creating.append(closed(server, post("/api/jobs", "", REQUEST), status=201, connections=1))
    names = (f"{MANY:,} past payments", f"{FEW:,} past payments")
    wants = (Want("p50", most=1.3),)
    return compare(Pair("create as payments grow, LNbits", *creating, wants, names), stand, pace)


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
