"""What is true of every rail: one suite, run on the stub and on a real LNbits."""

import asyncio
import hashlib
import secrets
from pathlib import Path

import bolt11 as lightning
import httpx2
import pytest

from db.unused_port import unused_port
from payments.bolt11 import check_payable, decode, fee_limit_msat
from payments.lnbits import LnbitsRail
from payments.lnbits_wallet import LEAST_FEE_LIMIT_MSAT
from payments.rail import Failed, Opened, Outcome, Pending, Settled, Unavailable, Unknown
from payments.stub import StubRail
from pricing.money import Msat, sats_to_msat
from tests.world.lnbits_server import LnbitsServer
from tests.world.patience import PATIENCE_S
from tests.world.rail_fixtures import RailClock, World, next_push, no_more, wall_clock

NOWHERE = "ab" * 32


async def opened(world: World, amount_sat: int, key: str = "job 1:eval") -> Opened:
    """Return an invoice of ours, which the rail must be able to make."""
    made = await world.rail.create_invoice(key, sats_to_msat(amount_sat), "a job", 600)
    assert isinstance(made, Opened), made
    return made


async def paid(world: World, amount_sat: int) -> Settled:
    """Return a payment of ours that settled."""
    bolt11 = await world.buyer_invoice(amount_sat)
    outcome = await pay(world, bolt11)
    assert isinstance(outcome, Settled), outcome
    return outcome


async def pay(world: World, bolt11: str) -> Outcome:
    """Pay with the fee limit that suits every rail."""
    amount_msat = decode(bolt11).amount_msat or Msat(0)
    limit_msat = fee_limit_msat(amount_msat, None, LEAST_FEE_LIMIT_MSAT)
    return await world.rail.pay(bolt11, limit_msat)


async def balance(world: World) -> int:
    """Return the balance, which the rail must be able to tell."""
    balance_msat = await world.rail.balance_msat()
    assert not isinstance(balance_msat, Unknown), balance_msat
    return balance_msat


def proves(settled: Settled) -> bool:
    """Say whether the preimage is the one of the hash."""
    return hashlib.sha256(bytes.fromhex(settled.preimage)).hexdigest() == settled.payment_hash


async def test_an_invoice_says_what_was_asked(world: World) -> None:
    """A new invoice decodes to the amount, the network and the expiry that were asked for."""
    made = await opened(world, 21)
    said = decode(made.bolt11)
    assert (said.payment_hash, said.amount_msat) == (made.payment_hash, 21_000)
    assert (said.network, said.description) == (world.rail.network, "a job")
    assert said.expires_at == made.expires_at
    now = wall_clock() if world.rail.name == "lnbits" else RailClock()()
    assert abs((made.expires_at - now).total_seconds() - 600) < 15


@pytest.mark.parametrize("memo", ["", "ä" * 600, 'quotes " and \\ and \n and 💡'])
async def test_a_memo_of_any_kind_is_no_trouble(world: World, memo: str) -> None:
    """An empty, an overlong and a strange memo give an invoice all the same."""
    assert isinstance(await world.rail.create_invoice("k", Msat(1_000), memo, 60), Opened)


@pytest.mark.parametrize("amount_msat", [0, -1_000, 1_500])
async def test_an_invoice_asks_for_whole_sats(world: World, amount_msat: int) -> None:
    """Nothing, less than nothing and a part of a sat are mistakes of ours, not of the rail."""
    with pytest.raises(ValueError, match="sat"):
        await world.rail.create_invoice("k", Msat(amount_msat), "x", 60)


async def test_an_unpaid_invoice_is_pending(world: World) -> None:
    """Until somebody pays it, an invoice is pending."""
    assert await world.rail.look_up_invoice((await opened(world, 5)).payment_hash) == Pending()


async def test_a_payment_is_pushed_and_can_be_looked_up(world: World) -> None:
    """Who listens is told of a payment with its proof, and whoever looks it up sees the same."""
    pushes = world.rail.pushes()
    assert await next_push(pushes) is None
    assert world.rail.push_is_up
    made = await opened(world, 13)
    await world.buyer_pays(made.bolt11)
    pushed = await next_push(pushes)
    await no_more(pushes)
    assert pushed is not None and proves(pushed)
    assert (pushed.payment_hash, pushed.amount_msat) == (made.payment_hash, 13_000)
    assert await world.rail.look_up_invoice(made.payment_hash) == pushed
    assert not world.rail.push_is_up


async def test_every_listener_is_told(world: World) -> None:
    """Two listeners are both told of a payment."""
    both = [world.rail.pushes(), world.rail.pushes()]
    assert [await next_push(pushes) for pushes in both] == [None, None]
    made = await opened(world, 1)
    await world.buyer_pays(made.bolt11)
    for pushes in both:
        pushed = await next_push(pushes)
        assert pushed is not None and pushed.payment_hash == made.payment_hash
        await no_more(pushes)


async def test_our_payment_reaches_the_buyer(world: World) -> None:
    """A payment of ours settles with a true preimage, and the buyer has exactly the amount."""
    bolt11 = await world.buyer_invoice(34)
    outcome = await pay(world, bolt11)
    assert isinstance(outcome, Settled) and proves(outcome)
    assert outcome.payment_hash == decode(bolt11).payment_hash
    assert (outcome.amount_msat, outcome.fee_msat) == (34_000, 0)
    assert await world.buyer_has_msat(bolt11) == 34_000
    assert await world.rail.look_up_payment(outcome.payment_hash) == outcome


async def test_paying_again_is_the_same_payment(world: World) -> None:
    """Asked again for the same hash, a rail answers with the first payment and sends nothing."""
    before_msat = await balance(world)
    bolt11 = await world.buyer_invoice(7)
    first = await pay(world, bolt11)
    assert isinstance(first, Settled)
    assert await pay(world, bolt11) == first
    assert await pay(world, bolt11.upper()) == first
    assert await balance(world) == before_msat - 7_000


async def test_paying_at_once_pays_once(world: World) -> None:
    """Of five payers of one invoice at once none is told that it failed, and one sum is sent."""
    before_msat = await balance(world)
    bolt11 = await world.buyer_invoice(9)
    outcomes = await asyncio.gather(*(pay(world, bolt11) for _ in range(5)))
    assert any(isinstance(outcome, Settled) for outcome in outcomes)
    assert not any(isinstance(outcome, Failed) for outcome in outcomes)
    assert await balance(world) == before_msat - 9_000


async def test_an_unknown_hash_is_unknown(world: World) -> None:
    """A hash that the rail does not know is Unknown, not Failed, in both directions."""
    assert isinstance(await world.rail.look_up_invoice(NOWHERE), Unknown)
    assert isinstance(await world.rail.look_up_payment(NOWHERE), Unknown)


async def test_a_direction_is_not_mistaken_for_the_other(world: World) -> None:
    """An invoice of ours is no payment of ours, and a payment of ours no invoice."""
    made = await opened(world, 2)
    await world.buyer_pays(made.bolt11)
    assert isinstance(await world.rail.look_up_payment(made.payment_hash), Unknown)
    sent = await paid(world, 2)
    assert isinstance(await world.rail.look_up_invoice(sent.payment_hash), Unknown)


async def test_balances_move_exactly(world: World) -> None:
    """What is received and what is paid moves the balance by exactly that."""
    before_msat = await balance(world)
    made = await opened(world, 55)
    assert await balance(world) == before_msat
    await world.buyer_pays(made.bolt11)
    assert await balance(world) == before_msat + 55_000
    await paid(world, 21)
    assert await balance(world) == before_msat + 34_000


async def test_an_expired_invoice_of_ours_is_never_failed(
    stub_rail: StubRail, rail_clock: RailClock, lnbits: LnbitsServer, lnbits_rail: LnbitsRail
) -> None:
    """An expired invoice may have been paid at the last moment: it is Pending or Unknown."""
    old = await stub_rail.create_invoice("old", Msat(1_000), "x", 1)
    young = await lnbits_rail.create_invoice("young", Msat(1_000), "x", 2)
    assert isinstance(old, Opened) and isinstance(young, Opened)
    rail_clock.advance(2)
    assert await stub_rail.look_up_invoice(old.payment_hash) == Pending()
    async with asyncio.timeout(PATIENCE_S):  # LNbits tells nobody that an invoice expired
        while (outcome := await lnbits_rail.look_up_invoice(young.payment_hash)) == Pending():
            pass
    told = await lnbits.payment(lnbits.us, young.payment_hash)
    assert told["status"] == "failed" and isinstance(outcome, Unknown)


async def test_more_than_we_have_is_not_sent(world: World) -> None:
    """A payment that the balance does not cover fails, and nothing is written down for it."""
    before_msat = await balance(world)
    bolt11 = await world.buyer_invoice(before_msat // 1_000 + 1)
    assert isinstance(await pay(world, bolt11), Failed)
    assert isinstance(await world.rail.look_up_payment(decode(bolt11).payment_hash), Unknown)
    assert await balance(world) == before_msat


@pytest.mark.parametrize("text", ["", "junk", "lnbc1", "lnbcrt210n1pxyz"])
async def test_junk_is_not_paid(world: World, text: str) -> None:
    """What is no invoice fails with a sentence, and is not asked of anyone."""
    assert isinstance(await world.rail.pay(text, Msat(1_000)), Failed)


async def test_an_invoice_from_nowhere_is_not_settled(
    world: World, stub_rail: StubRail, lnbits: LnbitsServer
) -> None:
    """An invoice that no route leads to is never Settled, and costs nothing."""
    before_msat = await balance(world)
    foreign = await stub_rail.create_invoice("other node", Msat(3_000), "x", 600)
    assert isinstance(foreign, Opened)
    if world.rail.name == "lnbits":
        assert isinstance(await world.rail.pay(foreign.bolt11, Msat(9_000)), Failed)
    else:
        theirs = await lnbits.create_invoice(lnbits.buyer, 3)
        assert isinstance(await world.rail.pay(theirs, Msat(9_000)), Failed)
    assert await balance(world) == before_msat


async def test_a_checked_invoice_of_the_buyer_is_payable(world: World) -> None:
    """What the buyer's wallet makes passes the checks that precede every payment."""
    invoice = decode(await world.buyer_invoice(8))
    now = wall_clock() if world.rail.name == "lnbits" else RailClock()()
    check_payable(invoice, amount_msat=Msat(8_000), network=world.rail.network, now=now)


async def test_a_rail_that_answers_is_healthy(world: World) -> None:
    """Health is None when the rail answers and takes our key."""
    assert await world.rail.healthy() is None


async def test_a_key_that_cannot_pay_is_not_healthy(lnbits: LnbitsServer) -> None:
    """An unknown key, an invoice key and a server that is away are told apart, without the key."""
    for url, key, says in (
        (lnbits.url, "0" * 32, "LNBITS_API_KEY"),
        (lnbits.url, lnbits.us.inkey, "admin key"),
        (f"http://127.0.0.1:{unused_port()}", lnbits.us.adminkey, "away"),
    ):
        rail = LnbitsRail(url, key, clock=wall_clock)
        health = await rail.healthy()
        assert isinstance(health, Unavailable)
        assert says in health.reason and key not in health.reason
        await rail.close()


async def test_lnbits_would_spend_more_on_routing_than_we_allow(
    lnbits: LnbitsServer, lnbits_rail: LnbitsRail
) -> None:
    """LNbits takes no fee limit, so a payment whose reserve is above ours is not begun."""
    small = await lnbits.create_invoice(lnbits.buyer, 100)
    refused = await lnbits_rail.pay(small, fee_limit_msat(Msat(100_000), None))
    assert isinstance(refused, Failed) and "LNBITS_RESERVE_FEE_MIN" in refused.reason
    assert isinstance(await lnbits_rail.look_up_payment(decode(small).payment_hash), Unknown)
    # From 200 sats on, 1 % is more than its minimum of 2 sats.
    large = await lnbits.create_invoice(lnbits.buyer, 200)
    assert isinstance(await lnbits_rail.pay(large, fee_limit_msat(Msat(200_000), None)), Settled)


async def test_what_lnbits_calls_failed_is_unknown_when_paying_and_failed_later(
    lnbits_rail: LnbitsRail, lnbits: LnbitsServer
) -> None:
    """A node that says failed right after sending may be wrong: only the look-up says Failed."""
    unpayable = _signed_elsewhere(50)
    payment_hash = decode(unpayable).payment_hash
    for _ in range(3):  # the second and third answer are 201 with "status": "failed"
        outcome = await lnbits_rail.pay(unpayable, Msat(9_000))
        assert isinstance(outcome, Unknown)
    assert isinstance(await lnbits_rail.look_up_payment(payment_hash), Failed)


async def test_lnbits_tells_a_stranger_the_preimage(lnbits: LnbitsServer) -> None:
    """Without a key LNbits gives the preimage of a paid hash: it must not be public."""
    bolt11 = await lnbits.create_invoice(lnbits.us, 4)
    await lnbits.pay(lnbits.buyer, bolt11)
    async with httpx2.AsyncClient(
        base_url=lnbits.url, trust_env=False, timeout=PATIENCE_S
    ) as stranger:
        told = (await stranger.get(f"/api/v1/payments/{decode(bolt11).payment_hash}")).json()
    assert told["paid"] and len(told["preimage"]) == 64 and "details" not in told


async def test_a_strangers_answer_is_not_taken_for_ours(lnbits: LnbitsServer) -> None:
    """With a key it does not know LNbits answers as to a stranger: that settles nothing."""
    bolt11 = await lnbits.create_invoice(lnbits.us, 4)
    await lnbits.pay(lnbits.buyer, bolt11)
    rail = LnbitsRail(lnbits.url, "0" * 32, clock=wall_clock)
    outcome = await rail.look_up_invoice(decode(bolt11).payment_hash)
    assert isinstance(outcome, Unknown) and "LNBITS_API_KEY" in outcome.reason
    await rail.close()


async def test_a_restart_of_lnbits_loses_no_payment(
    lnbits: LnbitsServer, lnbits_rail: LnbitsRail
) -> None:
    """After a restart what was settled still is, open invoices are Unknown, and pushes go on.

    (Its built-in wallet forgets open invoices, and LNbits then calls them failed.)
    """
    pushes = lnbits_rail.pushes()
    assert await next_push(pushes) is None
    received = await lnbits_rail.create_invoice("k1", Msat(3_000), "x", 600)
    still_open = await lnbits_rail.create_invoice("k2", Msat(3_000), "x", 600)
    assert isinstance(received, Opened) and isinstance(still_open, Opened)
    await lnbits.pay(lnbits.buyer, received.bolt11)
    bolt11 = await lnbits.create_invoice(lnbits.buyer, 5)
    sent = await lnbits_rail.pay(bolt11, LEAST_FEE_LIMIT_MSAT)
    before_msat = await lnbits_rail.balance_msat()

    await lnbits.restart()
    assert isinstance(await lnbits_rail.look_up_invoice(received.payment_hash), Settled)
    assert isinstance(await lnbits_rail.look_up_invoice(still_open.payment_hash), Unknown)
    assert isinstance(sent, Settled)
    assert await lnbits_rail.look_up_payment(sent.payment_hash) == sent
    assert await lnbits_rail.pay(bolt11, LEAST_FEE_LIMIT_MSAT) == sent
    assert await lnbits_rail.balance_msat() == before_msat

    while await next_push(pushes) is not None:
        pass  # what was said before the restart
    again = await lnbits_rail.create_invoice("k3", Msat(3_000), "x", 600)
    assert isinstance(again, Opened)
    await lnbits.pay(lnbits.buyer, again.bolt11)
    pushed = await next_push(pushes)
    assert pushed is not None and pushed.payment_hash == again.payment_hash
    await no_more(pushes)


async def test_a_restart_of_the_stub_loses_nothing(
    stub_rail: StubRail, rail_clock: RailClock, tmp_path: Path
) -> None:
    """A new process with the same store knows every invoice, payment and balance of the old one."""
    received = await stub_rail.create_invoice("k1", Msat(9_000), "x", 600)
    still_open = await stub_rail.create_invoice("k2", Msat(3_000), "x", 600)
    assert isinstance(received, Opened) and isinstance(still_open, Opened)
    got = await stub_rail.receive(received.payment_hash)
    theirs = await stub_rail.buyer_invoice(Msat(2_000), "refund", 600)
    sent = await stub_rail.pay(theirs.bolt11, Msat(1_000))
    await stub_rail.close()

    again = StubRail(tmp_path / "stub.sqlite", rail_clock)
    assert await again.look_up_invoice(received.payment_hash) == got
    assert await again.look_up_invoice(still_open.payment_hash) == Pending()
    assert await again.create_invoice("k2", Msat(3_000), "x", 600) == still_open
    assert await again.look_up_payment(theirs.payment_hash) == sent
    assert await again.pay(theirs.bolt11, Msat(1_000)) == sent
    assert await again.balance_msat() == 7_000
    await again.close()


def _signed_elsewhere(amount_sat: int) -> str:
    """Return a good mainnet invoice of a node that nobody has a route to."""
    tags = lightning.Tags()
    for char, value in (("p", secrets.token_hex(32)), ("s", secrets.token_hex(32)), ("d", "x")):
        tags.add(lightning.TagChar(char), value)
    made_at_s = int(wall_clock().timestamp())
    amount = lightning.MilliSatoshi(sats_to_msat(amount_sat))
    return lightning.encode(lightning.Bolt11("bc", made_at_s, tags, amount), secrets.token_hex(32))
