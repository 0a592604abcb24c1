"""The stub's store is shared by processes, and survives that they are stopped or killed."""

import asyncio
import os
import signal
import sqlite3
import sys
import textwrap
from pathlib import Path

from payments.bolt11 import decode
from payments.rail import Opened, Pending, Settled, Unavailable, Unknown
from payments.stub import StubRail
from pricing.money import Msat
from tests.world.patience import PATIENCE_S
from tests.world.rail_fixtures import RailClock, next_push

ROOT = Path(__file__).parents[2]


async def invoice(rail: StubRail, key: str = "k") -> Opened:
    """Return an invoice of ours."""
    opened = await rail.create_invoice(key, Msat(5_000), "x", 600)
    assert isinstance(opened, Opened)
    return opened


async def child(script: str, *args: object) -> asyncio.subprocess.Process:
    """Start a process of ours that runs a script."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(script), *map(str, args),
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def line(process: asyncio.subprocess.Process) -> str:
    """Return the next line that a process prints."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        return (await process.stdout.readline()).decode().strip()


BUYER = """
    import asyncio, sys
    from datetime import UTC, datetime
    from payments.stub import StubRail
    from payments.rail import Settled

    async def main():
        rail = StubRail(sys.argv[1], lambda: datetime(2026, 11, 22, 12, 0, tzinfo=UTC))
        print("ready", flush=True)
        for text in sys.stdin:
            await rail.script_fault("balance", "5xx")
            outcome = await rail.receive(text.strip())
            print(outcome.preimage if isinstance(outcome, Settled) else outcome, flush=True)

    asyncio.run(main())
"""


async def test_a_payment_through_another_process_is_pushed(
    stub_rail: StubRail, tmp_path: Path
) -> None:
    """What another process with this store receives, and what it scripts, is seen here."""
    buyer = await child(BUYER, tmp_path / "stub.sqlite")
    assert await line(buyer) == "ready"
    assert buyer.stdin is not None
    pushes = stub_rail.pushes()
    assert await next_push(pushes) is None
    for key in ("one", "two"):
        opened = await invoice(stub_rail, key)
        buyer.stdin.write(f"{opened.payment_hash}\n".encode())
        preimage = await line(buyer)
        assert await next_push(pushes) == Settled(opened.payment_hash, Msat(5_000), preimage)
        assert isinstance(await stub_rail.balance_msat(), Unknown)
    buyer.stdin.close()
    await buyer.wait()


BUSY = """
    import asyncio, sys
    from datetime import UTC, datetime
    from payments.stub import StubRail

    async def main():
        rail = StubRail(sys.argv[1], lambda: datetime(2026, 11, 22, 12, 0, tzinfo=UTC))
        for number in range(1_000_000):
            ours = await rail.create_invoice(f"{sys.argv[2]} {number}", 3_000, "x", 600)
            await rail.receive(ours.payment_hash)
            theirs = await rail.buyer_invoice(1_000, "x", 600)
            await rail.pay(theirs.bolt11, 1_000)
            print(ours.payment_hash, theirs.payment_hash, flush=True)

    asyncio.run(main())
"""


async def test_kill_9_loses_nothing_that_was_answered(
    tmp_path: Path, rail_clock: RailClock
) -> None:
    """Killed in the middle of work, a process leaves every answered payment, and a sound store."""
    path = tmp_path / "killed.sqlite"
    answered: list[tuple[str, str]] = []
    for generation in range(4):
        busy = [await child(BUSY, path, f"{generation}.{number}") for number in range(2)]
        for process in busy:
            for _ in range(15):
                ours, other = (await line(process)).split()
                answered.append((ours, other))
        for process in busy:
            os.kill(process.pid, signal.SIGKILL)
            rest, _ = await process.communicate()
            complete = [text.split() for text in rest.decode().split("\n")[:-1]]
            answered += [(ours, other) for ours, other in complete]

    rail = StubRail(path, rail_clock)
    for ours, other in answered:
        assert isinstance(await rail.look_up_invoice(ours), Settled)
        assert isinstance(await rail.look_up_payment(other), Settled)
    with sqlite3.connect(path) as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        received = store.execute("SELECT sum(amount_msat) FROM receipts").fetchone()[0]
        paid = store.execute("SELECT sum(amount_msat) FROM payments").fetchone()[0]
    assert await rail.balance_msat() == received - paid
    assert len(answered) >= 4 * 2 * 15
    await rail.close()


async def test_many_processes_may_open_a_new_store_at_once(
    tmp_path: Path, rail_clock: RailClock
) -> None:
    """Processes that start together agree on one store with one key."""
    path = tmp_path / "new.sqlite"
    busy = [await child(BUSY, path, number) for number in range(4)]
    hashes = [(await line(process)).split()[0] for process in busy]
    for process in busy:
        os.kill(process.pid, signal.SIGKILL)
        await process.communicate()
    rail = StubRail(path, rail_clock)
    for payment_hash in hashes:
        assert isinstance(await rail.look_up_invoice(payment_hash), Settled)
    with sqlite3.connect(path) as store:
        invoices = store.execute("SELECT bolt11 FROM invoices WHERE node = 'ours'").fetchall()
    assert len({decode(text).payee for (text,) in invoices}) == 1
    await rail.close()


async def test_a_stopped_process_that_holds_the_lock_stops_nobody(
    tmp_path: Path, rail_clock: RailClock
) -> None:
    """While another process sits on the write lock, calls end in time and the loop goes on."""
    path = tmp_path / "locked.sqlite"
    rail = StubRail(path, rail_clock, timeout_s=2.4)
    patient = StubRail(path, rail_clock, timeout_s=PATIENCE_S)
    opened = await invoice(rail)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert isinstance(await rail.create_invoice("other", Msat(1_000), "x", 60), Unavailable)
    assert isinstance(await rail.pay(opened.bolt11, Msat(0)), Unknown)
    assert isinstance(await rail.balance_msat(), Unknown)
    assert await rail.look_up_invoice(opened.payment_hash) == Pending()  # readers never wait
    await rail.close()
    # Held up by a call, this loop would never come to let go of the lock that it waits for.
    waiting = asyncio.create_task(patient.create_invoice("other", Msat(1_000), "x", 60))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    holder.execute("ROLLBACK")
    assert isinstance(await waiting, Opened)
    holder.close()
    await patient.close()
