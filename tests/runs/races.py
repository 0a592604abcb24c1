"""Races between two server processes on one Postgres and one rail: each function is one round.

A round ends when all of it has ended, and the audit finds nothing: no sat lost, none paid twice.
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx2

from tests.runs import batch_races, lent_races, session_races
from tests.runs.crash_buyer import FINAL, LONG, Buyer
from tests.runs.crash_run import Databases
from tests.runs.crash_server import ForkedServer
from tests.runs.own_postgres import own_postgres
from tests.runs.race_pair import KNOWN_S, Pair, alternating, crowd, pair_on
from tests.world.patience import patiently

CLAIMS = 500
POLLS = 200
DEAD_AFTER_S = 1  # what the servers here take for death
CLEAR = (400, 409)  # a refusal that says why

# Where a worker may stand still while another one takes its promise over, and then go on.
STANDS = (
    "agent judge: before", "agent judge: after", "commit jobs.accept: before",
    "keep CreateInvoice: before", "rail create_invoice: after", "agent work: before",
    "agent work: after", "commit jobs.answer: before", "keep Work: after",
    "commit payouts.call: before", "commit payouts.call: after", "rail pay: before",
    "rail pay: after", "commit payouts.settle: before", "keep PayInvoice: after",
)  # fmt: skip

UNSENT = ("commit payouts.call: after", "rail pay: before")

# Every promise is staged twice, under two names, so that two workers keep it at once.
TWINS = """
CREATE FUNCTION twin() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO procrastinate_jobs (queue_name, task_name, lock, args, scheduled_at)
  VALUES (new.queue_name, new.task_name, new.lock || ':twin', new.args, new.scheduled_at);
  RETURN new; END $$;
CREATE TRIGGER twin AFTER INSERT ON procrastinate_jobs FOR EACH ROW
  WHEN (new.lock NOT LIKE '%:twin') EXECUTE FUNCTION twin()
"""


# ------------------------------------------------------------------------------- the races


async def claims(pair: Pair, count: int = 40) -> Counter[int]:
    """Many claims on one refund, each with an invoice of its own: one payout is paid."""
    async with pair.buyer() as buyer, crowd() as http:
        made = await buyer.create("hello")
        await buyer.pay(made["evalInvoice"])
        job = await buyer.to_the_end()
        [refund] = job["refunds"]
        bolt11s = [
            await pair.side.make_invoice(refund["amountSats"], KNOWN_S) for _ in range(count)
        ]
        path = f"/api/jobs/{job['jobId']}/refund"
        given = await asyncio.gather(
            *(
                http.post(url + path, json={"invoice": bolt11})
                for url, bolt11 in zip(alternating(pair, count), bolt11s, strict=True)
            ),
            return_exceptions=True,
        )
        answers = [answer for answer in given if isinstance(answer, httpx2.Response)]
        broken = Counter(repr(each) for each in given if isinstance(each, BaseException))
        assert not broken, (broken, Counter(map(str, answers)), await pair.state())
        told = Counter(answer.status_code for answer in answers)
        won = [answer for answer in answers if answer.status_code in (200, 202)]
        assert len(won) == 1, told
        assert set(told) <= {200, 202, *CLEAR}, told
        assert all(answer.json()["error"] for answer in answers if answer not in won)
        await buyer.take_refunds()
        [attempts] = await pair.books.ask(
            f"SELECT count(*) AS n FROM payout_attempt WHERE payout_id LIKE '{job['jobId']}%'"
        )
        assert attempts["n"] == 1
    return told


async def polls(pair: Pair, count: int = POLLS) -> None:
    """A payment is seen by many polls, by two pushes and by two sweeps: it is booked once."""
    async with pair.buyer() as buyer, crowd() as http:
        made = await buyer.create("hello")
        await buyer.pay(made["evalInvoice"])
        answers = await asyncio.gather(
            *(http.get(f"{url}/api/jobs/{made['jobId']}") for url in alternating(pair, count))
        )
        assert {answer.status_code for answer in answers} == {200}
        await buyer.to_the_end()
        await buyer.take_refunds()


async def cancel_against_payment(pair: Pair) -> str:
    """Cancelled, or paid for and done; a payment that came too late is owed back."""
    async with pair.buyer() as buyer, pair.buyer(1) as other:
        made = await buyer.create("hello")
        job_id, invoice = made["jobId"], made["evalInvoice"]
        if random.random() < 0.5:  # the other invoice
            await buyer.pay(invoice)
            job = await buyer.until(lambda job: "workInvoice" in job)
            invoice = job["workInvoice"]

        async def cancel() -> httpx2.Response:
            await asyncio.sleep(random.uniform(0, 0.25))  # a payment is seen after about so long
            return await other.call("POST", f"/api/jobs/{job_id}/cancel")

        cancelled, _ = await asyncio.gather(cancel(), buyer.pay(invoice))
        assert cancelled.status_code in (200, 409), cancelled.text
        if cancelled.status_code == 409:
            job = await buyer.to_the_end()
            assert job["state"] == "complete"
        else:
            job = cancelled.json()
            assert job["state"] == "failed"
            await _booked(pair, invoice)
        await buyer.take_refunds()
    return str(job["state"])


async def _booked(pair: Pair, invoice: dict[str, Any]) -> None:
    """Wait until a payment is seen."""
    bolt11 = invoice["paymentRequest"]
    query = f"SELECT 1 FROM invoice WHERE bolt11 = '{bolt11}' AND settled_at IS NOT NULL"
    async for _ in patiently("a payment was never seen", pause_s=0.1):
        if await pair.books.ask(query):
            return


async def expiry_against_payment(pair: Pair) -> str:
    """Paid in time and done, or lapsed, and the payment owed back."""
    async with pair.buyer() as buyer:
        made = await buyer.create("hello")

        pair.clock.forward(LONG)
        await asyncio.sleep(random.uniform(0, 1.2))  # it is let lapse within a second
        await buyer.pay(made["evalInvoice"])
        job = await buyer.until(lambda job: job["state"] == "failed" or "workInvoice" in job)
        if "workInvoice" in job:
            job = await buyer.to_the_end()
        else:
            job = await buyer.until(lambda job: "refunds" in job)
        await buyer.take_refunds()
    return str(job["state"])


async def claim_against_automatic_refund(pair: Pair) -> str:
    """A refund goes by itself to where its owner said, or to the invoice that is claimed with."""
    async with pair.buyer() as buyer, pair.buyer(1) as other:
        made = await buyer.create("hello", refundTo=pair.stranger.url)
        await buyer.pay(made["evalInvoice"])
        job = await buyer.until(lambda job: "workInvoice" in job)
        surplus = await pair.books.ask("SELECT amount FROM payout WHERE reason = 'surplus'")
        sats = surplus[0]["amount"] // 1000 if surplus else 1
        mine = await pair.side.make_invoice(sats, KNOWN_S)
        path = f"/api/jobs/{job['jobId']}/refund"

        async def insist() -> int:
            async for _ in patiently("a refund is never owed", random.uniform(0, 0.1)):
                answer = await other.call("POST", path, json={"invoice": mine})
                assert answer.status_code < 500, answer.text
                if "No refund is owed" not in answer.text:
                    break
            return answer.status_code

        await buyer.pay(job["workInvoice"])
        code, _ = await asyncio.gather(insist(), buyer.to_the_end())
        await buyer.take_refunds()
    return str(code)


async def two_workers_on_one_promise(pair: Pair) -> None:
    """Each promise is kept twice at once, by two workers: the job is charged once."""
    if not await pair.books.ask("SELECT 1 FROM pg_trigger WHERE tgname = 'twin'"):
        for statement in TWINS.split(";\nCREATE TRIGGER"):
            prefix = "" if "FUNCTION twin() RETURNS" in statement else "CREATE TRIGGER"
            await pair.books.ask(prefix + statement)
    try:
        async with pair.buyer() as buyer:
            made = await buyer.create("hello", refundTo=pair.stranger.url)
            await buyer.pay(made["evalInvoice"])
            await buyer.to_the_end()
            await buyer.take_refunds()
    finally:
        await pair.books.ask("DROP TRIGGER twin ON procrastinate_jobs")
        await pair.books.ask("DROP FUNCTION twin")


async def paused(pair: Pair, place: str) -> None:
    """A worker stands still for longer than its death takes, is replaced, and goes on."""
    first, second = pair.servers
    await second.kill()
    await second.start(worker=False)
    await first.kill()
    await first.start(pause_at=place)
    async with pair.buyer(1) as buyer:
        made = await buyer.create("hello")
        await buyer.pay(made["evalInvoice"])
        going = asyncio.create_task(_buy_on(buyer))
        assert await first.stopped(), f"it never passed {place}"
        third = ForkedServer(first.folder, first.database_url, first.environment)
        await third.start()
        try:
            if place in UNSENT:  # so long that the refund was owed again, and paid elsewhere
                await going
            else:
                await asyncio.sleep(2 * DEAD_AFTER_S)  # for this long it is dead to the others
            first.go_on()
            await going
            await _still_works(pair)
        finally:
            await third.kill()
            await second.kill()
            await second.start()


async def _buy_on(buyer: Buyer) -> None:
    await buyer.to_the_end()
    await buyer.take_refunds()


async def _still_works(pair: Pair) -> None:
    """The one that stood still keeps promises again: alone, it brings a job to its end."""
    async with pair.buyer() as buyer:
        made = await buyer.create("and again")
        await buyer.pay(made["evalInvoice"])
        job = await buyer.to_the_end()
        assert job["state"] in FINAL
        await buyer.take_refunds()


Race = Callable[[Pair], Awaitable[Any]]
RACES: dict[str, Race] = {
    "claims": claims,
    "polls of a just-paid job": polls,
    "cancel against payment": cancel_against_payment,
    "expiry against payment": expiry_against_payment,
    "claim against the automatic refund": claim_against_automatic_refund,
    "two workers on one promise": two_workers_on_one_promise,
    **session_races.RACES,
    **batch_races.RACES,
}


async def _main(options: argparse.Namespace, template_url: str) -> None:
    async with pair_on(Databases(template_url)) as pair:
        began_s = time.monotonic()
        told = await claims(pair, options.claims)
        print(f"{options.claims} claims at once: {dict(told)}, {time.monotonic() - began_s:.1f} s")
        await _run(pair, RACES, options.rounds)
        began_s = time.monotonic()
        pauses = [STANDS[n % len(STANDS)] for n in range(options.rounds)]
        for place in pauses:
            await paused(pair, place)
        await pair.calm()
        print(f"paused workers: {len(pauses)} rounds, {time.monotonic() - began_s:.1f} s")
        began_s, stands = time.monotonic(), (*batch_races.MAKER_STANDS, *batch_races.SENDER_STANDS)
        for n in range(options.rounds):
            await batch_races.paused(pair, stands[n % len(stands)])
        await pair.calm()
        print(f"paused makers: {options.rounds} rounds, {time.monotonic() - began_s:.1f} s")
    async with pair_on(Databases(template_url), lent_races.ENVIRONMENT) as pair:
        await _run(pair, lent_races.RACES, options.rounds)


async def _run(pair: Pair, races: Mapping[str, Race], rounds: int) -> None:
    """Run so many rounds of each of these races."""
    for name, race in races.items():
        began_s, ends = time.monotonic(), Counter[str]()
        for _ in range(rounds):
            ends[str(await race(pair))] += 1
        await pair.calm()
        took_s = time.monotonic() - began_s
        print(f"{name}: {rounds} rounds, {took_s:.1f} s, {dict(ends)}", flush=True)


def main() -> int:
    """Run the long run, on a Postgres of its own."""
    parser = argparse.ArgumentParser(prog="scripts/races", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="rounds of each race")
    parser.add_argument("--claims", type=int, default=CLAIMS, help="claims on one refund at once")
    options = parser.parse_args()
    with own_postgres("race") as (url, _):
        asyncio.run(_main(options, url))
    return 0


if __name__ == "__main__":
    sys.exit(main())
