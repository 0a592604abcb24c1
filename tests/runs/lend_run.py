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

import httpx2

from db.embedded import EmbeddedPostgres
from db.migrate import migrate
from tests.runs.crash_run import Databases
from tests.runs.crash_server import MAKES_NOTHING, PAINTS, ForkedServer
from tests.runs.crash_world import Books, LnbitsSide
from tests.runs.lend_backends import CHECKPOINT, lying, slow, waiting
from tests.runs.lend_buyers import CREDIT_MSAT, Account
from tests.runs.lend_machines import MODELS, Machine
from tests.world.lnbits_server import LnbitsServer
from tests.world.patience import PATIENCE_S, patiently

A_WEEK_S = 8 * 86_400
BUYERS = 4
CANARY_EVERY = "4"
ENDED = "SELECT count(*) AS n FROM item WHERE ended_at IS NOT NULL"
HELD = "SELECT count(*) AS n FROM lease WHERE state = 'held' AND worker = '{}'"
EARNED = (
    "SELECT coalesce(sum(amount), 0)::bigint AS n FROM earning WHERE worker_id = '{}'"
    " AND asset = 'msat'"
)
AMENDS = "SELECT coalesce(sum(amount), 0)::bigint AS n FROM amends WHERE state = 'made'"
FORFEITED = "SELECT coalesce(sum(forfeited_msat), 0)::bigint AS n FROM canary"
UNJUDGED = (
    "SELECT c.worker_id, i.state, i.asked FROM canary c JOIN item i ON i.id = c.item_id"
    " WHERE c.state = 'given'"
    " UNION ALL SELECT batch_id, state, NULL FROM amends WHERE state = 'due'"
)
UNBALANCED = "SELECT entry_id FROM posting GROUP BY 1 HAVING sum(amount) <> 0"


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
        lent["WORKER_CANARY_EVERY"] = "0"
        if not plan.is_cheap:  # what was brought is compared with what the house itself makes
            lent |= {"WORKER_CANARY_EVERY": CANARY_EVERY, PAINTS: "1"}
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
            others = (at.liar, at.slow)
            await _started(at, at.honest, *(() if plan.is_cheap else others))
            for buyer in at.buyers:
                await buyer.open(at.side, plan.jobs // BUYERS)
            buying = asyncio.create_task(_bought(at, plan.jobs))
            await _killed(at, 0 if plan.is_cheap else plan.jobs // 4)
            at.go.set()
            if plan.is_cheap:  # else nothing might be left for the one that is to be killed
                await _started(at, *others)
            await buying
            for buyer in at.buyers:
                await buyer.see()
            for machine in at.machines:
                await machine.stop()
            if not plan.is_cheap:
                await _judged(at)
                wrong += await _wrong_with_liar(at)
            wrong += await _wrong_with_buyers(at, judged=not plan.is_cheap)
            withdrawn_msat = await _withdrawn(at)
            earned = {each.name: await _earned(at, each) for each in at.machines}
            wrong += await _wrong_with_books(at, earned, withdrawn_msat)
            honest = at.machines if plan.is_cheap else (at.honest, at.slow)
            wrong += [f"{each.name} ended with {each.codes}" for each in honest if any(each.codes)]
            delivered = {each.name: await _delivered(at, each) for each in at.machines}
    completed = sum(buyer.delivered for buyer in at.buyers)
    took_s = round(time.monotonic() - began_s, 1)
    told = completed, plan.jobs - completed, delivered, earned, withdrawn_msat
    return Told(*told, tuple(wrong), took_s)


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
    """Kill the honest machine at work, once so many jobs have ended, and lend it again."""
    held = HELD.format(await at.worker_id(at.honest))
    async for look in patiently("the honest machine holds nothing", pause_s=0.01):
        look.saw = ended, holds = await at.count(ENDED), await at.count(held)
        if ended >= after and holds:
            break
    await at.honest.kill()
    at.honest.start()


async def _judged(at: Town) -> None:
    """Wait until all canaries are judged, and amends are made."""
    async for look in patiently("not all is judged"):
        left = await at.books.ask(UNJUDGED)
        if not left:
            break
        look.saw = left, [line for line in at.server.log.splitlines() if "canary" in line][-3:]


async def _wrong_with_liar(at: Town) -> list[str]:
    """Return what the liar has that it should not have: it is found out, and loses what is held."""
    me = await at.liar.asks(at.http, "GET")
    earnings, forfeited_msat = me["earnings"]["msat"], await at.count(FORFEITED)
    wrong = [] if me["state"] == "banned" else [f"the liar is {me['state']}"]
    if at.liar.codes != [1] or "banned" not in at.liar.said:
        wrong.append(f"the liar ended with {at.liar.codes}: {at.liar.said[-300:]}")
    if earnings["held"] or earnings["paid"] or earnings["forfeited"] != forfeited_msat:
        wrong.append(f"the liar has {earnings}, and has forfeited {forfeited_msat}")
    return wrong if forfeited_msat else [*wrong, "the liar has forfeited nothing"]


async def _wrong_with_buyers(at: Town, *, judged: bool) -> list[str]:
    """Return who has neither a picture nor the credits for it; amends for junk come on top."""
    wrong, amends_msat = [], 0
    for buyer in at.buyers:
        batches = ", ".join(f"'{job.replace('-', '')}'" for job in buyer.jobs)
        theirs = f"{AMENDS} AND batch_id IN ({batches})"
        theirs_msat = await at.count(theirs) if judged else 0
        due_msat = buyer.paid_msat - buyer.delivered * CREDIT_MSAT + theirs_msat
        has_sats = await buyer.balance_sats()
        amends_msat += theirs_msat
        if has_sats != due_msat // 1_000:
            wrong.append(f"{buyer.name} has {has_sats} sats, and should have {due_msat} msat")
    if judged and amends_msat != await at.count(AMENDS):
        wrong.append("amends went to somebody else")
    return wrong


async def _withdrawn(at: Town) -> int:
    """Have the honest machine's sats sent to its wallet; return how much has arrived there.

    A week passes for the house alone, so that what is held back is freed: the rail lives by the
    real time, and so must whoever sends.
    """
    before_msat = await at.lnbits.balance_msat(at.lnbits.us)
    me = await at.honest.asks(at.http, "GET")
    if me["delivered"] >= me["trustedAfter"]["items"]:
        at.server.clock.forward(A_WEEK_S)
        async for look in patiently("what is held is never freed"):
            look.saw = me = await at.honest.asks(at.http, "GET")
            if me["trusted"] and me["earnings"]["msat"]["held"] == 0:
                break
        at.server.clock.forward(-A_WEEK_S)
    key = {"Idempotency-Key": "the honest machine takes its sats"}
    await at.honest.asks(at.http, "POST", "/payouts", json={}, headers=key)
    async for look in patiently("the sats never arrive"):
        look.saw = earnings = (await at.honest.asks(at.http, "GET"))["earnings"]["msat"]
        if earnings["sending"] == 0 and earnings["paid"]:
            break
    arrived_msat = await at.lnbits.balance_msat(at.lnbits.us) - before_msat
    assert arrived_msat == earnings["paid"], (arrived_msat, earnings)
    assert earnings["free"] < 1_000 and (not me["trusted"] or earnings["held"] == 0), earnings
    return arrived_msat


async def _earned(at: Town, machine: Machine) -> int:
    """Return what a machine has earned, as its worker reads it; it adds up."""
    me = (await machine.asks(at.http, "GET"))["earnings"]["msat"]
    parts = ("held", "free", "sending", "paid", "forfeited")
    assert me["earned"] == sum(me.get(part, 0) for part in parts), me
    return int(me["earned"])


async def _delivered(at: Town, machine: Machine) -> int:
    return int((await machine.asks(at.http, "GET"))["delivered"])


async def _wrong_with_books(at: Town, earned: dict[str, int], withdrawn_msat: int) -> list[str]:
    """Return what does not agree: rows, sums, the rail, and the product's own review."""
    wrong = [f"{row} does not balance" for row in await at.books.ask(UNBALANCED)]
    for machine in at.machines:
        rows_msat = await at.count(EARNED.format(await at.worker_id(machine)))
        if rows_msat != earned[machine.name]:
            wrong.append(f"{machine.name} earned {earned[machine.name]}, its rows say {rows_msat}")
    held_msat = await at.side.held_msat()
    if held_msat != at.side.paid_msat - withdrawn_msat:
        wrong.append(f"the rail holds {held_msat} of {at.side.paid_msat} - {withdrawn_msat}")
    code, said = await at.server.command("reconcile")
    return wrong if code == 0 else [*wrong, f"reconcile: {said}"]


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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="boltwork-lend-") as folder:
        Path(folder).chmod(0o711)  # as root, the server is another user and must get in
        cluster = EmbeddedPostgres(Path(folder) / "data", fast_for_tests=True)
        url = cluster.start()
        try:
            migrate(url)
            return asyncio.run(_main(url, Plan(options.jobs, options.pause)))
        finally:
            cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
