"""Between us and a real LNbits everything goes wrong, one call and one fault at a time.

For each cell of the matrix the outcome is the documented one, and Failed is never said of money
that moved.
"""

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from payments.bolt11 import decode
from payments.lnbits import LnbitsRail
from payments.lnbits_wallet import LEAST_FEE_LIMIT_MSAT
from payments.rail import Failed, Opened, Pending, Settled, Unavailable, Unknown, Unsent
from pricing.money import Msat
from tests.world.fault_proxy import CHANGED, LOST, UNHEARD, FaultProxy, never_accepting
from tests.world.lnbits_server import LnbitsServer
from tests.world.rail_fixtures import next_push, no_more, wall_clock

TIMEOUT_S = 0.6
ENDLESS = {"hang", "slow drip"}
PAYMENTS = "/api/v1/payments"
NOT_SENT = {"401", "403", "404", "429", "429 with Retry-After"}
WRONG = [fault for fault in CHANGED if fault != "says pending"]  # that is an answer like another
EVERY_FAULT = [*UNHEARD, *LOST, *WRONG, "previous answer"]
SOME = ["hang", "reset", "401", "429", "502", "200 with HTML", "truncated JSON", "a megabyte"]


@dataclass
class Faulty:
    """A rail whose calls pass through the proxy, and what it did before anything went wrong."""

    rail: LnbitsRail
    hasty: LnbitsRail
    proxy: FaultProxy
    server: LnbitsServer
    received: Settled
    sent: Settled

    def facing(self, fault: str) -> LnbitsRail:
        """Return the rail to meet a fault with: one that gives up soon, if it takes for ever."""
        return self.hasty if fault in ENDLESS else self.rail


@pytest.fixture(scope="module")
async def faulty_once(lnbits: LnbitsServer) -> AsyncIterator[Faulty]:
    """One rail behind one proxy, with an invoice that was paid and a payment that was made."""
    async with FaultProxy.before(lnbits.url) as proxy:
        key = lnbits.us.adminkey
        rail = LnbitsRail(proxy.url, key, clock=wall_clock)
        hasty = LnbitsRail(proxy.url, key, clock=wall_clock, timeout_s=TIMEOUT_S)
        opened = await rail.create_invoice("before", Msat(11_000), "x", 600)
        assert isinstance(opened, Opened)
        await lnbits.pay(lnbits.buyer, opened.bolt11)
        received = await rail.look_up_invoice(opened.payment_hash)
        # It also learns the fee reserve, which is then not asked for again.
        bolt11 = await lnbits.create_invoice(lnbits.buyer, 200)
        sent = await rail.pay(bolt11, LEAST_FEE_LIMIT_MSAT)
        assert isinstance(received, Settled) and isinstance(sent, Settled)
        while await hasty.pay(bolt11, LEAST_FEE_LIMIT_MSAT) != sent:
            pass
        yield Faulty(rail, hasty, proxy, lnbits, received, sent)
        await rail.close()
        await hasty.close()


@pytest.fixture
async def faulty(faulty_once: Faulty) -> AsyncIterator[Faulty]:
    """The rail behind the proxy, with nothing injected yet."""
    faulty_once.proxy.clear()
    yield faulty_once
    faulty_once.proxy.clear()
    await faulty_once.proxy.listen()


# ------------------------------------------------------------------------- the matrix


@pytest.mark.parametrize("fault", EVERY_FAULT)
async def test_creating(faulty: Faulty, fault: str) -> None:
    """An invoice that was not plainly made as asked is Unavailable, and the next try works."""
    if fault == "previous answer":  # the very same amount, a moment ago
        assert isinstance(await faulty.rail.create_invoice("k0", Msat(7_000), "x", 60), Opened)
    faulty.proxy.inject(fault, "POST")
    outcome = await faulty.facing(fault).create_invoice("k1", Msat(7_000), "x", 60)
    assert isinstance(outcome, Unavailable), outcome
    assert isinstance(await faulty.rail.create_invoice("k2", Msat(7_000), "x", 60), Opened)


@pytest.mark.parametrize("fault", EVERY_FAULT)
async def test_looking_up_an_invoice(faulty: Faulty, fault: str) -> None:
    """An answer that proves nothing is Unknown, and never Failed."""
    if fault == "previous answer":
        await faulty.rail.look_up_payment(faulty.sent.payment_hash)
    faulty.proxy.inject(fault, "GET")
    outcome = await faulty.facing(fault).look_up_invoice(faulty.received.payment_hash)
    assert isinstance(outcome, Unknown), outcome
    assert await faulty.rail.look_up_invoice(faulty.received.payment_hash) == faulty.received


@pytest.mark.parametrize("fault", EVERY_FAULT)
async def test_looking_up_a_payment(faulty: Faulty, fault: str) -> None:
    """Only when LNbits says failed, whole and of this hash, is a payment Failed."""
    if fault == "previous answer":
        await faulty.rail.look_up_invoice(faulty.received.payment_hash)
    faulty.proxy.inject(fault, "GET")
    outcome = await faulty.facing(fault).look_up_payment(faulty.sent.payment_hash)
    assert isinstance(outcome, Failed if fault == "says failed" else Unknown), outcome
    assert await faulty.rail.look_up_payment(faulty.sent.payment_hash) == faulty.sent


@pytest.mark.parametrize("fault", EVERY_FAULT)
async def test_paying(faulty: Faulty, fault: str) -> None:
    """Failed only when the request was turned away; else Unknown, and paying again pays once."""
    if fault == "previous answer":
        await faulty.rail.look_up_payment(faulty.sent.payment_hash)
    before_msat = await faulty.server.balance_msat(faulty.server.us)
    bolt11 = await faulty.server.create_invoice(faulty.server.buyer, 5)
    faulty.proxy.inject(fault, "POST")
    outcome = await faulty.facing(fault).pay(bolt11, LEAST_FEE_LIMIT_MSAT)
    assert isinstance(outcome, Failed if fault in NOT_SENT else Unknown), outcome
    if isinstance(outcome, Failed):
        assert await faulty.server.balance_msat(faulty.server.us) == before_msat
    again = await faulty.rail.pay(bolt11, LEAST_FEE_LIMIT_MSAT)
    assert isinstance(again, Settled), again
    assert await faulty.rail.look_up_payment(again.payment_hash) == again
    assert await faulty.server.balance_msat(faulty.server.us) == before_msat - 5_000


@pytest.mark.parametrize(
    "fault", [*UNHEARD, *LOST, "fractional amounts", "negated amounts", "wrong types"]
)
async def test_asking_for_the_balance(faulty: Faulty, fault: str) -> None:
    """A balance that is not a whole, positive number of msat is Unknown."""
    faulty.proxy.inject(fault, "GET")
    assert isinstance(await faulty.facing(fault).balance_msat(), Unknown)
    assert isinstance(await faulty.rail.balance_msat(), int)


@pytest.mark.parametrize("fault", SOME)
async def test_asking_for_health(faulty: Faulty, fault: str) -> None:
    """Whatever goes wrong is a reason not to be healthy, and none of them names the key."""
    faulty.proxy.inject(fault, "GET")
    health = await faulty.facing(fault).healthy()
    assert isinstance(health, Unavailable)
    assert faulty.server.us.adminkey not in health.reason
    assert await faulty.rail.healthy() is None


# ------------------------------------------------------------------- nobody is there


async def each_call(rail: LnbitsRail, bolt11: str) -> list[object]:
    """Return what each call says."""
    return [
        await rail.create_invoice("k", Msat(1_000), "x", 60),
        await rail.look_up_invoice("ab" * 32),
        await rail.look_up_payment("ab" * 32),
        await rail.balance_msat(),
        await rail.healthy(),
        await rail.pay(bolt11, LEAST_FEE_LIMIT_MSAT),
    ]


IN_VAIN = [Unavailable, Unknown, Unknown, Unknown, Unavailable, Unsent]


async def test_refused_connections(faulty: Faulty) -> None:
    """A server that is away fails a payment that it cannot have heard of, and nothing else."""
    bolt11 = await faulty.server.create_invoice(faulty.server.buyer, 3)
    await faulty.proxy.refuse()
    said = await each_call(faulty.rail, bolt11)
    assert [type(outcome) for outcome in said] == IN_VAIN
    await faulty.proxy.listen()
    assert isinstance(await faulty.rail.pay(bolt11, LEAST_FEE_LIMIT_MSAT), Settled)


@pytest.mark.parametrize("where", ["nobody accepts", "no such name"])
async def test_connections_that_never_come_about(lnbits: LnbitsServer, where: str) -> None:
    """Where nobody can have heard of it, a payment is Failed and not merely Unknown."""
    bolt11 = await lnbits.create_invoice(lnbits.buyer, 3)
    with never_accepting() as nowhere:
        url = nowhere if where == "nobody accepts" else "http://lnbits.invalid"
        rail = LnbitsRail(url, lnbits.us.adminkey, clock=wall_clock, timeout_s=TIMEOUT_S)
        said = await each_call(rail, bolt11)
        assert [type(outcome) for outcome in said] == IN_VAIN
        await rail.close()


async def test_away_is_unknown_once_something_may_have_been_sent(faulty: Faulty) -> None:
    """After a lost answer a refused connection proves nothing: the payment stays Unknown."""
    bolt11 = await faulty.server.create_invoice(faulty.server.buyer, 3)
    faulty.proxy.inject("answer lost", "POST")
    assert isinstance(await faulty.rail.pay(bolt11, LEAST_FEE_LIMIT_MSAT), Unknown)
    await faulty.proxy.refuse()
    assert isinstance(await faulty.rail.pay(bolt11, LEAST_FEE_LIMIT_MSAT), Unknown)
    await faulty.proxy.listen()
    for fault in ("429", "401"):
        faulty.proxy.inject(fault, "POST")
        assert isinstance(await faulty.rail.pay(bolt11, LEAST_FEE_LIMIT_MSAT), Unknown)
    assert isinstance(await faulty.rail.pay(bolt11, LEAST_FEE_LIMIT_MSAT), Settled)


# -------------------------------------------------------------- settled after the answer


@pytest.mark.parametrize("fault", [*LOST, *WRONG])
async def test_what_was_sent_is_found_by_another_process(faulty: Faulty, fault: str) -> None:
    """A process that starts after the answer was lost finds the payment settled."""
    bolt11 = await faulty.server.create_invoice(faulty.server.buyer, 3)
    faulty.proxy.inject(fault, "POST")
    assert isinstance(await faulty.facing(fault).pay(bolt11, LEAST_FEE_LIMIT_MSAT), Unknown)
    other = LnbitsRail(faulty.proxy.url, faulty.server.us.adminkey, clock=wall_clock)
    found = await other.look_up_payment(decode(bolt11).payment_hash)
    assert isinstance(found, Settled) and found.amount_msat == 3_000
    # It does not know that somebody paid before, and is told so by LNbits.
    assert await other.pay(bolt11, LEAST_FEE_LIMIT_MSAT) == found
    await other.close()


@pytest.mark.parametrize("fault", [*SOME, "wrong types"])
async def test_nothing_is_sent_when_the_fee_reserve_cannot_be_learnt(
    faulty: Faulty, fault: str
) -> None:
    """Before anything is sent the fee reserve is known: else the payment is not begun."""
    timeout_s = TIMEOUT_S if fault in ENDLESS else 10
    key = faulty.server.us.adminkey
    rail = LnbitsRail(faulty.proxy.url, key, clock=wall_clock, timeout_s=timeout_s)
    bolt11 = await faulty.server.create_invoice(faulty.server.buyer, 3)
    faulty.proxy.inject(fault, "GET", f"{PAYMENTS}/fee-reserve")
    assert isinstance(await rail.pay(bolt11, LEAST_FEE_LIMIT_MSAT), Failed)
    assert faulty.proxy.calls["POST", PAYMENTS] == 0
    await rail.close()


async def test_a_payment_under_way_is_pending(faulty: Faulty) -> None:
    """While LNbits' node is still trying, a payment is Pending; in the end it is Settled."""
    bolt11 = await faulty.server.create_invoice(faulty.server.buyer, 3)
    faulty.proxy.inject("says pending")
    assert await faulty.rail.pay(bolt11, LEAST_FEE_LIMIT_MSAT) == Pending()
    payment_hash = decode(bolt11).payment_hash
    faulty.proxy.inject("says pending")
    assert await faulty.rail.look_up_payment(payment_hash) == Pending()
    assert isinstance(await faulty.rail.look_up_payment(payment_hash), Settled)


# ----------------------------------------------------------------------------- told well


async def test_429_says_when_to_come_back(faulty: Faulty) -> None:
    """Retry-After is honoured, and without it there is a default; the setting to raise is named."""
    for fault, wait_s in (("429 with Retry-After", 17), ("429", 30)):
        faulty.proxy.inject(fault, "POST")
        outcome = await faulty.rail.create_invoice("k", Msat(1_000), "x", 60)
        assert isinstance(outcome, Unavailable) and outcome.retry_after_s == wait_s
        assert "LNBITS_RATE_LIMIT_NO" in outcome.reason


@pytest.mark.parametrize("fault", ["401", "404"])
async def test_a_key_that_is_revoked_is_named_and_not_told(faulty: Faulty, fault: str) -> None:
    """The operator learns which setting to mend, and no reason holds the key."""
    faulty.proxy.inject(fault, "POST", times=2)
    made = await faulty.rail.create_invoice("k", Msat(1_000), "x", 60)
    bolt11 = await faulty.server.create_invoice(faulty.server.buyer, 3)
    sent = await faulty.rail.pay(bolt11, LEAST_FEE_LIMIT_MSAT)
    assert isinstance(made, Unavailable) and isinstance(sent, Failed)
    for reason in (made.reason, sent.reason):
        assert "LNBITS_API_KEY" in reason and faulty.server.us.adminkey not in reason


async def test_no_secret_is_logged(faulty: Faulty, caplog: pytest.LogCaptureFixture) -> None:
    """At the chattiest level neither the key nor the preimage of an unpaid invoice is logged."""
    caplog.set_level(logging.DEBUG)
    pushes = faulty.rail.pushes()
    assert await next_push(pushes) is None
    opened = await faulty.rail.create_invoice("k", Msat(1_000), "x", 60)
    assert isinstance(opened, Opened)
    told = await faulty.server.payment(faulty.server.us, opened.payment_hash)
    faulty.proxy.cut_websockets()
    assert await next_push(pushes) is None
    await no_more(pushes)
    assert faulty.server.us.adminkey not in caplog.text
    assert str(told["details"]["preimage"]) not in caplog.text


# -------------------------------------------------------------------------------- pushes


async def test_pushes_come_back_after_a_cut(faulty: Faulty) -> None:
    """A cut channel reconnects by itself, says so with None, and tells of what comes then."""
    pushes = faulty.rail.pushes()
    assert await next_push(pushes) is None
    for _ in range(2):
        faulty.proxy.cut_websockets()
        assert await next_push(pushes) is None
    opened = await faulty.rail.create_invoice("k", Msat(2_000), "x", 60)
    assert isinstance(opened, Opened)
    await faulty.server.pay(faulty.server.buyer, opened.bolt11)
    pushed = await next_push(pushes)
    assert pushed is not None and pushed.payment_hash == opened.payment_hash
    await no_more(pushes)


@pytest.mark.parametrize("fault", ["404", "502", "reset", "200 with HTML", "not HTTP", "hang"])
async def test_pushes_survive_a_connection_that_goes_wrong(faulty: Faulty, fault: str) -> None:
    """A channel that cannot be opened is tried again, and is not said to be up meanwhile."""
    faulty.proxy.inject(fault, "GET", "/api/v1/ws/")
    rail = faulty.facing(fault)
    pushes = rail.pushes()
    assert not rail.push_is_up
    assert await next_push(pushes) is None
    assert rail.push_is_up
    assert faulty.proxy.calls["GET", f"/api/v1/ws/{faulty.server.us.adminkey}"] >= 2
    await no_more(pushes)
    assert not rail.push_is_up


async def test_whoever_can_write_to_the_channel_settles_nothing(faulty: Faulty) -> None:
    """LNbits lets anybody with the key write to its channel; without the preimage it is noise."""
    pushes = faulty.rail.pushes()
    assert await next_push(pushes) is None
    opened = await faulty.rail.create_invoice("k", Msat(2_000), "x", 60)
    assert isinstance(opened, Opened)
    forged = {
        "payment_hash": opened.payment_hash, "amount": 2_000, "fee": 0, "status": "success",
        "preimage": "00" * 32,
    }  # fmt: skip
    path = f"/api/v1/ws/{faulty.server.us.adminkey}"
    written = await faulty.server._http.post(path, params={"data": json.dumps({"payment": forged})})
    assert written.json()["sent"]
    await faulty.server.pay(faulty.server.buyer, opened.bolt11)
    pushed = await next_push(pushes)
    assert pushed is not None and pushed.preimage != "00" * 32
    await no_more(pushes)


# ------------------------------------------------------------------------------- budgets


async def test_a_whole_job_costs_three_calls(faulty: Faulty) -> None:
    """Two invoices, two payments told by push, one refund: three calls of LNbits."""
    pushes = faulty.rail.pushes()
    assert await next_push(pushes) is None
    faulty.proxy.calls.clear()
    for key in ("job:eval", "job:work"):
        opened = await faulty.rail.create_invoice(key, Msat(9_000), "x", 600)
        assert isinstance(opened, Opened)
        await faulty.server.pay(faulty.server.buyer, opened.bolt11)
        while (pushed := await next_push(pushes)) is None or (
            pushed.payment_hash != opened.payment_hash
        ):
            pass  # the second telling of the payment before
    refund = await faulty.server.create_invoice(faulty.server.buyer, 4)
    assert isinstance(await faulty.rail.pay(refund, LEAST_FEE_LIMIT_MSAT), Settled)
    assert faulty.proxy.calls.total() == 3
    await no_more(pushes)


async def test_one_fee_reserve_bounds_the_others(faulty: Faulty) -> None:
    """It grows with the amount, more slowly than it: at 200 sats it answers for all amounts."""
    for amount_sat, limit_msat in ((1, 2_000), (150, 2_000), (200, 2_000), (777, 7_770)):
        bolt11 = await faulty.server.create_invoice(faulty.server.buyer, amount_sat)
        assert isinstance(await faulty.rail.pay(bolt11, Msat(limit_msat)), Settled)
    assert faulty.proxy.calls["GET", f"{PAYMENTS}/fee-reserve"] == 0
    bolt11 = await faulty.server.create_invoice(faulty.server.buyer, 777)
    assert isinstance(await faulty.rail.pay(bolt11, Msat(7_769)), Failed)
    assert faulty.proxy.calls["GET", f"{PAYMENTS}/fee-reserve"] == 1


async def test_an_expired_invoice_is_never_sent(faulty: Faulty) -> None:
    """A worker that stood still past an invoice's expiry sends nothing; what was sent is told."""
    expired = LnbitsRail(
        faulty.proxy.url,
        faulty.server.us.adminkey,
        clock=lambda: wall_clock() + timedelta(hours=2),
    )
    bolt11 = await faulty.server.create_invoice(faulty.server.buyer, 3)
    assert isinstance(await expired.pay(bolt11, LEAST_FEE_LIMIT_MSAT), Failed)
    assert faulty.proxy.calls["POST", PAYMENTS] == 0
    sent = await faulty.rail.pay(bolt11, LEAST_FEE_LIMIT_MSAT)
    assert isinstance(sent, Settled)
    assert await expired.pay(bolt11, LEAST_FEE_LIMIT_MSAT) == sent
    await expired.close()
