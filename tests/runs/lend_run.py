"""Three lent machines make what buyers pay for: one is killed in the middle, one lies, one is slow.

`scripts/lend` has them make two hundred pictures on the real LNbits. Every job ends with a picture
or with the credits back; the honest machine takes its sats to a wallet of its own; the books, the
balances and the rail agree to the msat.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.runs.crash_run import Databases
from tests.runs.crash_server import MAKES_NOTHING, PAINTS, ForkedServer, MovableClock
from tests.runs.crash_world import Books, LnbitsSide
from tests.runs.lend_backends import CHECKPOINT, lying, slow, waiting
from tests.runs.lend_buyers import Account
from tests.runs.lend_checks import (
    CANARIES,
    wrong_with_amends,
    wrong_with_books,
    wrong_with_buyers,
    wrong_with_honest,
    wrong_with_liar,
)
from tests.runs.lend_machines import MODELS, Machine
from tests.runs.own_postgres import own_postgres
from tests.world.lnbits_server import LnbitsServer
from tests.world.patience import PATIENCE_S, patiently

EIGHT_DAYS_S = 8 * 86_400
BUYERS = 4
SPARE = 15  # pictures that each may buy beyond the plan, until the liar has had a canary
ENDED = (
    "SELECT count(*) AS n FROM item i JOIN batch b ON b.id = i.batch_id"
    " WHERE i.ended_at IS NOT NULL AND b.funding = 'account'"
)
HELD = "SELECT id FROM lease WHERE state = 'held' AND worker = '{}' AND id IS NOT NULL"
FACES_ONE = (
    "SELECT (canary_due OR EXISTS (SELECT FROM canary WHERE worker_id = w.id"
    " AND state <> 'void'))::int AS n FROM worker w WHERE id = '{}'"
)
BROUGHT = (
    "SELECT c.item_id FROM canary c JOIN item i ON i.id = c.item_id"
    " WHERE c.worker_id = '{}' AND c.state = 'given' AND i.state = 'completed'"
)
UNJUDGED = (
    "SELECT c.worker_id, i.state, i.asked FROM canary c JOIN item i ON i.id = c.item_id"
    " WHERE c.state = 'given'"
    " UNION ALL SELECT batch_id, state, NULL FROM amends WHERE state = 'due'"
)


@dataclass(frozen=True)
class Plan:
    """How many pictures are bought, how long the slow machine takes for one, and whether it is all
    cheap: then nobody paints, and the honest machine works when it was killed."""

    jobs: int
    pause_s: float
    is_cheap: bool = False


@dataclass(frozen=True)
class Told:
    """What came of it."""

    completed: int
    failed: int
    delivered: dict[str, int]
    earned_msat: dict[str, int]
    canaries: dict[str, tuple[int, int]]  # passed, failed
    kills: int
    withdrawn_msat: int
    wrong: tuple[str, ...]
    took_s: float


@dataclass
class Town:
    """The server, those who buy, those who lend, and the rail between them."""

    server: ForkedServer
    books: Books
    side: LnbitsSide
    lnbits: LnbitsServer
    http: httpx2.AsyncClient
    buyers: list[Account]
    honest: Machine
    liar: Machine
    slow: Machine
    go: asyncio.Event  # the honest machine may work

    @property
    def machines(self) -> tuple[Machine, ...]:
        """All that are lent."""
        return self.honest, self.liar, self.slow

    @property
    def last_words(self) -> str:
        """What everybody said last, for who must find out what went wrong."""
        said = {each.name: each.said for each in self.machines if each.log.exists()}
        said["server"] = self.server.log
        lines = (f"--- {name}:\n{text[-2_000:]}" for name, text in said.items())
        return "\n".join(lines)

    async def count(self, query: str) -> int:
        """Return what a query counts."""
        [row] = await self.books.ask(query)
        return int(row["n"])

    async def worker_id(self, machine: Machine) -> str:
        """Return the worker that a machine is."""
        return str((await machine.asks(self.http, "GET"))["workerId"])


@asynccontextmanager
async def town(
    databases: Databases, lnbits: LnbitsServer, folder: Path, plan: Plan
) -> AsyncIterator[Town]:
    """Give a server with three machines that are lent to it, and buyers with nothing yet."""
    async with AsyncExitStack() as stack:
        database_url = await stack.enter_async_context(databases.one())
        side = await LnbitsSide.on(lnbits)
        stack.push_async_callback(side.close)
        lent = {"WORKERS": "true", "WORKER_PAYOUT_SATS": "0", MAKES_NOTHING: "1"}
        lent |= {"DATABASE_POOL": "8"}  # machines and buyers wait at it all the time
        if plan.is_cheap:
            lent["WORKER_CANARY_EVERY"] = "0"
        else:  # what was brought is compared with what the house itself makes
            lent[PAINTS] = "1"
        MovableClock(folder / "clock").forward(-EIGHT_DAYS_S)  # until the honest one is registered
        server = ForkedServer(folder, database_url, {**side.environment(), **lent})
        await server.start()
        stack.push_async_callback(server.kill)
        http = httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE_S, trust_env=False)
        stack.push_async_callback(http.aclose)
        books = Books(database_url)
        stack.push_async_callback(books.close)
        go = asyncio.Event()
        stack.callback(go.set)
        lies = await stack.enter_async_context(lying(plan.pause_s / 4))
        pieces = waiting(go) if plan.is_cheap else slow(plan.pause_s)
        waits = await stack.enter_async_context(pieces)
        to = f"boltwork@127.0.0.1:{lnbits.port}"  # the wallet that nobody buys with

        def machine(name: str, *backend: str) -> Machine:
            return Machine(name, folder, server.url, to, backend)

        models = [word for each in MODELS for word in ("--model", f"{each}={CHECKPOINT}")]
        with_ui = (*models, "--backend")
        works = waits if plan.is_cheap else await stack.enter_async_context(slow(0))
        yield Town(
            server, books, side, lnbits, http,
            [Account(http, f"buyer{number}") for number in range(BUYERS)],
            machine("honest", *with_ui, f"a1111:{works}", "--at-once", "2"),
            machine("liar", *with_ui, f"a1111:{lies}"),
            machine("slow", *with_ui, f"a1111:{waits}"),
            go,
        )  # fmt: skip


async def lent(databases: Databases, lnbits: LnbitsServer, plan: Plan) -> Told:
    """Buy so many pictures, and see what comes of them."""
    began_s, wrong = time.monotonic(), list[str]()
    with tempfile.TemporaryDirectory(prefix="boltwork-lend-") as folder:
        async with town(databases, lnbits, Path(folder), plan) as at:
            try:
                await _worked(at, plan)
                if not plan.is_cheap:
                    wrong += await wrong_with_liar(at)
                    wrong += await wrong_with_amends(at)
                withdrawn_msat = await _withdrawn(at)
                told = await _told(at)
                honest = at.machines if plan.is_cheap else (at.honest, at.slow)
                wrong += await wrong_with_honest(at, *honest)
                wrong += await wrong_with_buyers(at)
                books = await wrong_with_books(at, told["earned_msat"], withdrawn_msat, at.machines)
            except BaseException:
                print(at.last_words, file=sys.stderr, flush=True)
                raise
    took_s = round(time.monotonic() - began_s, 1)
    return Told(
        **told, withdrawn_msat=withdrawn_msat, wrong=(*wrong, *books), took_s=took_s,
        kills=at.honest.kills,
    )  # fmt: skip


async def _worked(at: Town, plan: Plan) -> None:
    """Have all machines lent, and all jobs bought and made; the honest machine is killed meanwhile.

    The honest one has been there for a week: what is held back of its pay is freed once it has
    delivered enough.
    """
    others = (at.liar, at.slow)
    await _started(at, at.honest)
    at.server.clock.forward(EIGHT_DAYS_S)
    if not plan.is_cheap:
        await _started(at, *others)
    for buyer in at.buyers:
        await buyer.open(at.side, plan.jobs // BUYERS + SPARE)
    async with asyncio.TaskGroup() as group:
        group.create_task(_bought(at, plan.jobs))
        await _killed(at, 0 if plan.is_cheap else plan.jobs // 4)
        at.go.set()
        if plan.is_cheap:  # else nothing might be left for the one that is to be killed
            await _started(at, *others)
    for buyer in at.buyers:
        await buyer.see()
    if not plan.is_cheap:
        await _found_out(at, plan.jobs)
    for machine in at.machines:
        await machine.stop()
    if not plan.is_cheap:
        await _judged(at)


async def _started(at: Town, *machines: Machine) -> None:
    """Lend these, and wait until they are registered."""
    for machine in machines:
        machine.start()
    for machine in machines:
        await machine.there(at.http)


async def _bought(at: Town, jobs: int) -> None:
    """Buy all jobs, each buyer as many at once as one may."""
    assert jobs % BUYERS == 0, "each buyer has as many"

    async def bought(buyer: Account, first: int) -> None:
        for number in range(first, jobs, BUYERS):
            await buyer.buy(number)

    await asyncio.gather(*(bought(buyer, first) for first, buyer in enumerate(at.buyers)))


async def _killed(at: Town, after: int) -> None:
    """Kill the honest machine at work, once so many jobs have ended, and lend it again: it goes on
    with what it held. Where that had just been brought it is killed once more."""
    held, before = HELD.format(await at.worker_id(at.honest)), -1
    while before < after:
        async for look in patiently("no job ends", pause_s=0.1):
            look.saw = ended = await at.count(ENDED)
            if ended > before:
                break
        before = ended
    while not await _killed_once(at, held):
        continue


async def _killed_once(at: Town, query: str) -> bool:
    """Kill the honest machine while it holds something; say whether it goes on with that."""
    async for _ in patiently("the honest machine holds nothing", pause_s=0.01):
        if await at.books.ask(query):
            break
    await at.honest.kill()
    held = {row["id"] for row in await at.books.ask(query)}
    at.honest.start()
    async for look in patiently("it does not come back", pause_s=0.01):
        look.saw = at.honest.said[-500:]
        if "Going on with: " in at.honest.said:
            return True
        if not held & {row["id"] for row in await at.books.ask(query)}:
            break
    return False


async def _found_out(at: Town, jobs: int) -> None:
    """Buy on until the liar faces a canary, and the honest machine has some pay that is free; wait
    until the liar was found out."""
    query, more = FACES_ONE.format(await at.worker_id(at.liar)), 0
    while more < SPARE and not (await at.count(query) and await _is_paid(at)):
        for place, buyer in enumerate(at.buyers):
            await buyer.buy(jobs + more * BUYERS + place)
        for buyer in at.buyers:
            await buyer.see()
        more += 1
    async for look in patiently("the liar is not found out", pause_s=0.5):
        look.saw = state = (await at.liar.asks(at.http, "GET"))["state"]
        if state == "banned":
            break


async def _is_paid(at: Town) -> bool:
    """Say whether the honest machine has pay that can be sent, once it is known what it has made of
    its canaries."""
    query = BROUGHT.format(await at.worker_id(at.honest))
    async for look in patiently("its canary is not judged"):
        look.saw = rows = await at.books.ask(query)
        if not rows:
            break
    me = await at.honest.asks(at.http, "GET")
    return bool(me["earnings"]["msat"]["free"] >= 1_000)


async def _judged(at: Town) -> None:
    """Wait until all canaries are judged, and amends are made."""
    left = -1
    while left:
        before = left
        async for look in patiently("not all is judged"):
            rows = await at.books.ask(UNJUDGED)
            left = len(rows)
            if not left or left != before:
                break
            look.saw = rows, [line for line in at.server.log.splitlines() if "canary" in line][-3:]


async def _withdrawn(at: Town) -> int:
    """Have the honest machine's sats sent to its wallet, by its own command; return how much has
    arrived there."""
    before_msat = await at.lnbits.balance_msat(at.lnbits.us)
    me = await at.honest.asks(at.http, "GET")
    assert me["trusted"] == (me["delivered"] >= me["trustedAfter"]["items"]), me
    free_msat = me["earnings"]["msat"]["free"]
    code, said = await at.honest.withdraw()
    assert code == 0 and said.startswith("Your pay is on its way to "), said
    async for look in patiently("the sats never arrive"):
        look.saw = earnings = (await at.honest.asks(at.http, "GET"))["earnings"]["msat"]
        if earnings["sending"] == 0 and earnings["paid"]:
            break
    arrived_msat = await at.lnbits.balance_msat(at.lnbits.us) - before_msat
    assert arrived_msat == earnings["paid"] == free_msat // 1_000 * 1_000, (arrived_msat, earnings)
    assert earnings["free"] < 1_000 and (not me["trusted"] or earnings["held"] == 0), earnings
    return arrived_msat


async def _told(at: Town) -> dict[str, Any]:
    """Return what was made by whom, and what each has earned for it, as its worker reads it."""
    delivered, earned, canaries = {}, {}, {}
    for machine in at.machines:
        me = await machine.asks(at.http, "GET")
        each = me["earnings"]["msat"]
        parts = ("held", "free", "sending", "paid", "forfeited")
        assert each["earned"] == sum(each[part] for part in parts), each
        delivered[machine.name], earned[machine.name] = int(me["delivered"]), int(each["earned"])
        [row] = await at.books.ask(CANARIES.format(await at.worker_id(machine)))
        canaries[machine.name] = int(row["passed"]), int(row["failed"])
    completed = sum(buyer.delivered for buyer in at.buyers)
    bought = sum(len(buyer.jobs) for buyer in at.buyers)
    return {
        "completed": completed,
        "failed": bought - completed,
        "delivered": delivered,
        "earned_msat": earned,
        "canaries": canaries,
    }


async def _main(template_url: str, plan: Plan) -> int:
    async with LnbitsServer.running() as lnbits:
        told = await lent(Databases(template_url), lnbits, plan)
    print(f"{told}", flush=True)
    return 1 if told.wrong else 0


def main() -> int:
    """Lend three machines as the command line asks for, on a Postgres of its own."""
    parser = argparse.ArgumentParser(prog="scripts/lend", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--pause", type=float, default=2.0, help="seconds of the slow machine")
    parser.add_argument("--cheap", action="store_true", help="nobody paints, and nobody is checked")
    options = parser.parse_args()
    with own_postgres("lend") as (url, _):
        plan = Plan(options.jobs, options.pause, options.cheap)
        return asyncio.run(_main(url, plan))


if __name__ == "__main__":
    sys.exit(main())
