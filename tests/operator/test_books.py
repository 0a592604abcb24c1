"""The review of the books: the rail's own balance held against them, by hand and by itself."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from app.operator.books import ASKED_AT_ONCE
from app.plant import books_of, loops_of
from payments.lnbits import LnbitsRail
from payments.rail import Opened, Outcome
from payments.stub import StubRail
from pricing.money import sats_to_msat
from tests.world.clock import Clock
from tests.world.fault_proxy import FaultProxy
from tests.world.house_fixtures import Instance, instance_of
from tests.world.lnbits_server import LnbitsServer
from tests.world.patience import PATIENCE_S, patiently
from tests.world.rail_fixtures import buy, wall_clock
from tests.world.scripted_agent import ScriptedAgent
from tests.world.town import build, refund, refund_is, tamper


async def test_the_rail_is_held_against_the_books_to_the_msat(
    instance: Instance, tmp_path: Path
) -> None:
    """What the operator had is set aside; a sat that goes missing is found, or more than one."""
    rail, stub, books = instance.built.rail, instance.built.stub, books_of(instance.built)
    own = await rail.create_invoice("the operator's own", sats_to_msat(50), "own", 600)
    assert isinstance(own, Opened) and stub is not None
    await stub.receive(own.payment_hash)
    assert "with 50 sats beyond the books" in (await books.compare()).said
    await build(instance)
    await instance.http.request("DELETE", "/api/dev/stub/faults")
    while True:  # the payment that hung has settled, and the sweep will hear of it
        review = await books.review()
        assert review.findings == ()
        if "to the msat" in review.rail.said:
            break
        await asyncio.sleep(0.2)
    store = sqlite3.connect(tmp_path / "stub.sqlite3", isolation_level=None)
    for change, which in ((-1, "0.001 sats less"), (3000, "2.999 sats more")):
        store.execute("UPDATE receipts SET amount_msat = amount_msat + ? WHERE seq = 1", [change])
        review = await books.review()
        [finding] = review.findings
        assert (finding.invariant, finding.who) == (3, "rail stub")
        assert which in finding.what
    accepted = await books.accept("the operator paid in 2999 msat")
    assert "to the msat" in accepted.said and (await books.review()).findings == ()
    store.close()


async def test_a_payment_that_is_not_booked_yet_is_not_a_finding(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent
) -> None:
    """Between a payment and its entry the rail holds more; it says so, and is asked about it."""
    slow: dict[str, Any] = {"SWEEP_S": 3600}
    async with instance_of(database_url, tmp_path, agent=scripted_agent, **slow) as instance:
        books = books_of(instance.built)
        await books.compare()
        made = await instance.create("paid and not heard")
    # Nothing runs any more that could hear of the payment.
    wallet = StubRail(tmp_path / "stub.sqlite3", wall_clock)
    await wallet.receive(made["evalInvoice"]["paymentHash"])
    await wallet.close()
    deaf = _Deaf(tmp_path / "stub.sqlite3")
    async with instance_of(
        database_url, tmp_path, agent=scripted_agent, rail=deaf, **slow
    ) as instance:
        compared = await books_of(instance.built).compare()
        assert compared.finding is None and "not booked yet" in compared.said


async def test_what_came_in_and_is_not_booked_is_never_the_operators_own(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent
) -> None:
    """Nothing is compared with what a rail holds while a payment to us may be in it that nobody has
    booked, whether the rail is seen for the first time or its operator accepts what it holds; nor
    while the rail does not say. Once that is booked, the rail would hold so much too little."""
    deaf = _Deaf(tmp_path / "stub.sqlite3")
    async with instance_of(
        database_url, tmp_path, agent=scripted_agent, rail=deaf, SWEEP_S=3600
    ) as instance:
        books, loops = books_of(instance.built), loops_of(instance.built)

        async def paid() -> str:
            made = await instance.create("paid and not heard")
            await deaf.receive(made["evalInvoice"]["paymentHash"])
            return str(made["evalInvoice"]["paymentHash"])

        first = await paid()
        await deaf.script_fault("look_up_invoice", "5xx", times=1_000)  # the loops ask, too
        seen = await books.compare()
        assert not seen.is_done and "does not say" in seen.said
        await deaf.clear_faults()
        seen = await books.compare()
        assert not seen.is_done and "5 sats came in that are not booked yet" in seen.said
        await loops.booking.look_up(first)
        assert "with 0 sats beyond the books" in (await books.compare()).said
        second = await paid()
        await deaf.script_fault("look_up_invoice", "5xx", times=1_000)
        for said in ("does not say", "5 sats came in"):
            accepted = await books.accept("it is what it is")
            assert not accepted.is_done and said in accepted.said
            await deaf.clear_faults()
        await loops.booking.look_up(second)
        review = await books.review()
        assert review.findings == () and "to the msat" in review.rail.said
        assert "to the msat" in (await books.accept("it is what it is")).said


async def test_money_for_what_was_purged_is_not_a_finding(
    database_url: str, tmp_path: Path, clock: Clock, scripted_agent: ScriptedAgent
) -> None:
    """A day after it lapsed an invoice is gone but for a line, and may be paid all the same: until
    that is booked the rail holds more, and can say why."""
    deaf = _Deaf(tmp_path / "stub.sqlite3", clock)
    async with instance_of(
        database_url, tmp_path, agent=scripted_agent, rail=deaf, clock=clock, SWEEP_S=3600
    ) as instance:
        books, loops = books_of(instance.built), loops_of(instance.built)
        await books.compare()
        made = await instance.create("never paid, as it seems")
        clock.forward(hours=26)
        await loops.expiry.turn()
        await loops.unpaid.turn()
        await deaf.receive(made["evalInvoice"]["paymentHash"], late=True)
        compared = await books.compare()
        assert compared.finding is None and "5 sats came in" in compared.said
        await loops.booking.look_up(made["evalInvoice"]["paymentHash"])
        review = await books.review()
        assert review.findings == () and "to the msat" in review.rail.said


class _Deaf(StubRail):
    """A rail that does not tell of payments until it is asked about one of them."""

    def __init__(self, path: Path, clock: Callable[[], datetime] = wall_clock) -> None:
        super().__init__(path, clock)

    async def pushes(self) -> AsyncIterator[None]:
        """Tell of nothing, for ever."""
        await asyncio.Event().wait()
        yield None


class _Slow(_Deaf):
    """The stub rail, which answers about an invoice once so many are asked about at once."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.going = self.most = 0
        self.enough = asyncio.Event()

    async def look_up_invoice(self, payment_hash: str, wallet: str | None = None) -> Outcome:
        """See Rail."""
        self.going += 1
        self.most = max(self.most, self.going)
        if self.going == ASKED_AT_ONCE:
            self.enough.set()
        await self.enough.wait()
        self.going -= 1
        return await super().look_up_invoice(payment_hash, wallet)


async def test_open_invoices_are_asked_about_a_few_at_once(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent
) -> None:
    """Whoever accepts what a rail holds waits for a few answers at a time, and not for one after
    the other; nor is the rail asked about all of them at once."""
    slow = _Slow(tmp_path / "stub.sqlite3")
    async with instance_of(
        database_url, tmp_path, agent=scripted_agent, rail=slow, SWEEP_S=3600
    ) as instance:
        for number in range(ASKED_AT_ONCE + 3):
            await instance.create(f"open {number}")
        async with asyncio.timeout(PATIENCE_S):
            accepted = await books_of(instance.built).accept("it is what it is")
        assert accepted.is_done and slow.most == ASKED_AT_ONCE


@pytest.fixture
async def on_lnbits(
    database_url: str, tmp_path: Path, lnbits: LnbitsServer, fault_proxy: FaultProxy
) -> AsyncIterator[Instance]:
    """An instance whose rail is the real LNbits, seen through the fault proxy."""
    rail = LnbitsRail(fault_proxy.url, lnbits.us.adminkey, clock=wall_clock)
    async with instance_of(database_url, tmp_path, rail=rail) as running:
        yield running


async def test_the_books_agree_with_a_real_lnbits(
    on_lnbits: Instance, lnbits: LnbitsServer, fault_proxy: FaultProxy
) -> None:
    """After whole jobs and a refund whose answer was lost: to the msat; 7 sats gone are named."""
    books = books_of(on_lnbits.built)
    assert "first time" in (await books.compare()).said
    done = await buy(on_lnbits, lnbits, "done")
    await buy(on_lnbits, lnbits, "BREAK-WORK")
    made = await on_lnbits.create("REJECT")
    await lnbits.pay(lnbits.buyer, made["evalInvoice"]["paymentRequest"])
    await on_lnbits.until(made["jobId"], "rejected")
    review = await books.review()
    assert review.findings == () and "to the msat" in review.rail.said
    sats = done["costLedger"]["refundAmountSats"]
    invoice = await lnbits.create_invoice(lnbits.buyer, sats)
    fault_proxy.inject("answer lost", method="POST", prefix="/api/v1/payments")
    claim = asyncio.create_task(
        on_lnbits.post(f"/api/jobs/{done['jobId']}/refund", {"invoice": invoice})
    )
    await refund_is(on_lnbits, done["jobId"], "in_flight", "paid")
    assert (await books.review()).findings == ()  # whether it is known already or not
    await claim
    await refund_is(on_lnbits, done["jobId"], "paid")
    review = await books.review()
    assert review.findings == () and "to the msat" in review.rail.said
    await lnbits.pay(lnbits.us, await lnbits.create_invoice(lnbits.buyer, 7))
    [finding] = (await books.review()).findings
    assert (finding.invariant, finding.who) == (3, "rail lnbits")
    assert "7 sats less" in finding.what


async def test_a_rail_that_does_not_answer_is_not_a_finding(
    on_lnbits: Instance, fault_proxy: FaultProxy
) -> None:
    """What could not be compared is said, and is neither right nor wrong."""
    fault_proxy.inject("503", times=1)
    review = await books_of(on_lnbits.built).review()
    assert review.findings == () and not review.rail.is_done
    assert "did not tell" in review.rail.said


async def test_the_review_runs_by_itself_and_is_shown(database_url: str, tmp_path: Path) -> None:
    """Readiness tells of findings and stays ready; the metrics count them by invariant."""
    async with instance_of(
        database_url, tmp_path, agent=ScriptedAgent(), RECONCILE_S=1
    ) as instance:
        job = await instance.to_end("hello")

        async def books_are(status: str) -> dict[str, Any]:
            async for _ in patiently(f"the books were never {status}", pause_s=0.1):
                answer = await instance.http.get("/api/readyz")
                assert answer.status_code == 200
                if answer.json()["books"]["status"] == status:
                    break
            return dict(answer.json()["books"])

        assert (await books_are("ok"))["findings"] == 0
        tamper(database_url, f"UPDATE job SET max_msat = 1000 WHERE id = '{job['jobId']}'")
        told = await books_are("wrong")
        assert told["findings"] == 1 and told["reviewedAt"]
        metrics = (await instance.http.get("/metrics")).text
        for line in (
            'boltwork_books_findings{invariant="6"} 1.0',
            'boltwork_books_findings{invariant="1"} 0.0',
            'boltwork_payouts{standing="owed"} 1.0',
            'boltwork_payouts{standing="stuck"} 0.0',
            f'boltwork_payouts_msat{{standing="owed"}}'
            f" {job['costLedger']['refundAmountSats'] * 1000}.0",
            'boltwork_jobs{state="complete"} 1.0',
            'boltwork_promises_waiting{kind="Work"} 0.0',
        ):
            assert line in metrics, line
        assert job["jobId"] not in metrics


async def test_reviews_in_the_middle_of_traffic_find_nothing(instance: Instance) -> None:
    """One snapshot: however many jobs, payments and refunds are under way, no half of one shows."""
    books, reviews = books_of(instance.built), 0
    await books.compare()

    async def traffic(number: int) -> None:
        request = ("done", "BREAK-WORK", "FLAKY")[number % 3] + f" {number}"
        while not reviews > 3:  # as long as the reviews take, where those have to wait
            job = await instance.to_end(request)
            await refund(instance, job)
            await refund_is(instance, job["jobId"], "paid")

    busy = asyncio.gather(*(traffic(number) for number in range(18)))
    while not busy.done():
        review = await books.review()
        assert review.findings == ()
        reviews += 1
    await busy
    assert "to the msat" in (await books.review()).rail.said
