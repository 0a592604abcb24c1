"""What is owed in USDC is moved once on the chain, whatever is forgotten, cut off or said of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from app import advance
from app.advance import Applied, Shell
from app.operator.switching import turn
from app.ports import RefundSigner, UsdcRail
from app.promises.sending import where
from app.promises.usdc_sending import UsdcSending
from app.telemetry.observer import observed
from db import payouts, standing, switches, usdc_attempts
from db.engine import Database, Probe, nowhere
from db.payouts import PayoutRow
from db.promises import Outbox, TryAgain
from payments.lnurl import BadDestination, LnurlPay
from payments.public_http import PublicHttp
from payments.usdc.address import Address, read_address
from payments.usdc.network import BASE_SEPOLIA
from payments.usdc.outcome import Facilitator, Ledger, Unknown
from payments.usdc.refund import RefundKey
from payments.usdc.stub_chain import FAUCET
from payments.usdc.stub_facilitator import StubFacilitator, UsdcFault
from pricing.money import MicroUsdc
from statemachine.entries import Asset
from statemachine.payout import PayoutState
from statemachine.promises import SendUsdc
from tests.world.market_fixtures import Market
from tests.world.usdc_fixtures import Payer
from tests.world.usdc_street import client_of
from tests.world.usdc_world import UsdcWorld

OWED = MicroUsdc(123_457)
KEY = Payer("the house").key


class Crashed(BaseException):
    """The process is gone at this place."""


@dataclass
class House:
    """One that owes in USDC, over a real Postgres; its rail is a stub, or a real chain."""

    market: Market
    usdc: UsdcRail
    url: str
    clock: Callable[[], datetime]
    numbers: int = 0

    async def owes(self, payee: Address, amount_microusdc: int = OWED) -> str:
        """Sell a batch to this address that is not made, and return the name of its payout."""
        self.numbers += 1
        batch_id = f"b{self.numbers}"
        await self.market.paid(batch_id, (amount_microusdc,), payer=payee)
        assert await self.market.shell.do(advance.batches.cancel, batch_id) == Applied()
        return f"{batch_id}:undelivered"

    @asynccontextmanager
    async def process(self, passing: Probe = nowhere) -> AsyncIterator[UsdcSending]:
        """A process that sends, and tells where it passes."""
        if passing is nowhere:
            market = self.market
            yield UsdcSending(market.db, market.shell, self.usdc, self.clock)
            return
        db = Database(self.url, 2, passing)
        await db.open()
        outbox = Outbox(db)
        shell = Shell(db, outbox, self.market.shell.terms, self.clock)
        usdc = replace(
            self.usdc,
            facilitator=observed(self.usdc.facilitator, Facilitator, "facilitator", passing),
            ledger=observed(self.usdc.ledger, Ledger, "chain", passing),
        )
        yield UsdcSending(db, shell, usdc, self.clock)
        await db.close()

    async def sends(self, payout_id: str, by: RefundSigner | None = None) -> None:
        """Keep the promise that sends a payout."""
        async with self.process() as sending:
            if by is not None:
                sending = replace(sending, usdc=replace(self.usdc, refunds=by))
            await sending.send(payout_id, (await self.payout(payout_id)).failures)

    async def asks(self, payout_id: str, by: RefundSigner | None = None) -> None:
        """Ask what became of its live attempt, as the sweep does."""
        async with self.process() as sending:
            if by is not None:
                sending = replace(sending, usdc=replace(self.usdc, refunds=by))
            await sending.ask(payout_id, (await self.payout(payout_id)).attempts)

    async def recovers(self, payout_id: str) -> None:
        """Do what the next process does: keep the promise, and then ask until it is paid."""
        for _ in range(20):
            if (await self.payout(payout_id)).state is PayoutState.PAID:
                return
            await self.sends(payout_id)
            await self.asks(payout_id)
        raise AssertionError(await self.payout(payout_id))

    async def payout(self, payout_id: str) -> PayoutRow:
        """Return a payout as it is."""
        row = await payouts.get(self.market.db, payout_id)
        assert row is not None
        return row

    async def has(self, holder: Address) -> int:
        """Return what an address has on the chain."""
        balance = await self.usdc.ledger.balance_microusdc(holder)
        assert not isinstance(balance, Unknown), balance
        return balance


@pytest.fixture
async def house(market: Market, database_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """One over the stub, whose clock the test moves."""
    stub = StubFacilitator(tmp_path / "usdc.sqlite3", market.clock)
    key, client = RefundKey(KEY, BASE_SEPOLIA), client_of(stub)
    usdc = UsdcRail(BASE_SEPOLIA, key.address, client, stub.ledger(BASE_SEPOLIA), key)
    yield House(market, usdc, database_url, market.clock)
    await client.close()
    await stub.close()


@pytest.fixture
async def world_house(market: Market, database_url: str, usdc_world: UsdcWorld) -> House:
    """One over the stub, and one over a real chain with x402's own facilitator, by turns."""
    key = RefundKey(usdc_world.shop.key, BASE_SEPOLIA)
    rail = UsdcRail(BASE_SEPOLIA, key.address, usdc_world.facilitator, usdc_world.ledger, key)
    return House(market, rail, database_url, lambda: datetime.now(UTC))


def stub_of(house: House, tmp_path: Path) -> StubFacilitator:
    """Return another one with the chain of a house's own."""
    return StubFacilitator(tmp_path / "usdc.sqlite3", house.clock)


async def places(house: House, run: Callable[[UsdcSending], object]) -> list[str]:
    """Return the places that something passes, in their order."""
    passed: list[str] = []
    async with house.process(passed.append) as sending:
        await run(sending)  # type: ignore[misc]
    return [place for place in passed if not place.startswith("read")]


async def test_a_refund_is_moved_once_after_a_crash_at_every_place(world_house: House) -> None:
    """The process ends before or after each commit and each call, on its way out or while it asks;
    the next one sends what was not sent, and the payee has it once, to the last millionth."""
    house = world_house
    payee = Payer(f"payee of {id(house)}").address
    before = await house.has(payee)
    first = await house.owes(payee)
    passed = await places(house, lambda sending: sending.send(first, 0))
    for wanted in ("commit usdc_payouts.order", "facilitator settle", "chain use_of",
                   "commit usdc_payouts.settle"):  # fmt: skip
        assert {f"{wanted}: before", f"{wanted}: after"} <= set(passed), passed
    for n, place in enumerate(passed, start=1):
        payout_id = await house.owes(payee)

        def crash(at: str, place: str = place) -> None:
            if at == place:
                raise Crashed

        async with house.process(crash) as sending:
            with pytest.raises(Crashed):
                await sending.send(payout_id, 0)
        async with house.process(crash) as sending:
            # What it meets on its way is a crash once more, where it comes by there.
            with suppress(Crashed):
                await sending.ask(payout_id, (await house.payout(payout_id)).attempts)
        await house.recovers(payout_id)
        assert await house.has(payee) - before == OWED * (n + 1), place
    await house.market.is_right()
    held = await house.market.rests_on("rail:x402", Asset.MICROUSDC)
    assert held == 0, "the books say that all of it has gone back"


async def test_a_refund_handed_over_twice_and_to_two_addresses_moves_once(
    world_house: House,
) -> None:
    """Ours, the same again, and one that an operator had signed for another address, all at once:
    one of them moves the money, and the payout is paid by that one."""
    house, key = world_house, world_house.usdc.refunds
    assert key is not None
    here, there = (Payer(f"{name} of {id(house)}").address for name in ("here", "there"))
    before = await house.has(here) + await house.has(there)
    payout_id = await house.owes(here)
    other = key.refund(payout_id, there, OWED, house.clock() - timedelta(seconds=5))
    same = key.refund(payout_id, here, OWED, house.clock())
    settle = house.usdc.facilitator.settle
    await asyncio.gather(house.sends(payout_id), settle(other), settle(same), settle(other))
    await house.recovers(payout_id)
    assert await house.has(here) + await house.has(there) - before == OWED
    row = await house.payout(payout_id)
    assert row.state is PayoutState.PAID and row.txid is not None and row.attempts == 1
    await house.sends(payout_id)
    await house.asks(payout_id)
    assert await house.has(here) + await house.has(there) - before == OWED
    await house.market.is_right()


@pytest.mark.parametrize("fault", sorted(get_args(UsdcFault)))
async def test_whatever_a_facilitator_says_a_refund_moves_once(
    house: House, tmp_path: Path, fault: UsdcFault
) -> None:
    """It fails, hangs up, tells of another payment or another amount, says yes of what the chain
    takes back: the chain's own word ends the attempt, and what was not sent is sent again."""
    payee, clock = Payer().address, house.market.clock
    stub = stub_of(house, tmp_path)
    await stub.script_fault("settle", fault)
    payout_id = await house.owes(payee)
    await house.sends(payout_id)
    for _ in range(30):
        if (await house.payout(payout_id)).state is PayoutState.PAID:
            break
        clock.forward(seconds=60)
        await house.asks(payout_id)
        await house.sends(payout_id)
    row = await house.payout(payout_id)
    assert row.state is PayoutState.PAID and row.failures == int(fault == "reorganised")
    assert await house.has(payee) == FAUCET + OWED
    await house.market.is_right()
    await stub.close()


async def test_an_order_that_was_never_sent_is_made_anew_for_as_long_as_it_takes(
    house: House, tmp_path: Path
) -> None:
    """Five times the facilitator is away for an order's whole time: it is owed again each time,
    needs a person's eye after three, and is sent all the same."""
    payee, clock = Payer().address, house.market.clock
    stub = stub_of(house, tmp_path)
    await stub.script_fault("settle", "5xx", times=1_000)
    payout_id = await house.owes(payee)
    for failures in range(5):
        await house.sends(payout_id)
        assert (await house.payout(payout_id)).state is PayoutState.IN_FLIGHT
        await house.asks(payout_id)
        clock.forward(seconds=601)
        await house.asks(payout_id)
        row = await house.payout(payout_id)
        assert (row.state, row.failures) == (PayoutState.OWED, failures + 1)
        assert await house.market.shell.outbox.is_staged(SendUsdc(payout_id, failures + 1).key)
        await house.market.is_right()
    [stuck] = await standing.watched_payouts(house.market.db, clock(), 5)
    assert (stuck.standing, stuck.amount, stuck.asset) == ("stuck", OWED, Asset.MICROUSDC)
    await stub.clear_faults()
    await house.sends(payout_id)
    assert (await house.payout(payout_id)).state is PayoutState.PAID
    assert await house.has(payee) == FAUCET + OWED
    await stub.close()


async def test_one_order_at_a_time_is_handed_over(house: House, tmp_path: Path) -> None:
    """While nobody says that one was sent, the next waits; it goes on as soon as somebody does,
    though the chain has not confirmed it yet."""
    payee, stub = Payer().address, stub_of(house, tmp_path)
    await stub.script_fault("settle", "5xx")
    first, second, third = [await house.owes(payee) for _ in range(3)]
    await house.sends(first)
    with pytest.raises(TryAgain, match="handed over just now"):
        await house.sends(second)
    assert (await house.payout(second)).state is PayoutState.OWED
    await stub.script_fault("settle", "reorganised")  # said to be sent, and not confirmed
    await house.asks(first)
    assert (await house.payout(first)).state is PayoutState.IN_FLIGHT
    sent = await usdc_attempts.live(house.market.db, first, 1)
    assert sent is not None and sent.txid is not None
    await house.sends(second)
    assert (await house.payout(second)).state is PayoutState.PAID
    told = await asyncio.gather(*(house.sends(third) for _ in range(5)), return_exceptions=True)
    assert all(each is None or isinstance(each, TryAgain) for each in told), told
    assert await house.has(payee) == FAUCET + 2 * OWED
    await house.market.is_right()
    await stub.close()


async def test_who_keeps_silent_about_one_order_holds_up_no_other_for_long(
    house: House, tmp_path: Path
) -> None:
    """Half a minute: then the chain is asked, the next one goes, and the first is asked about and
    handed over once more when none is in hand. Each moves once, whatever was sent meanwhile."""
    payee, stub, clock = Payer().address, stub_of(house, tmp_path), house.market.clock
    first, second, third = [await house.owes(payee) for _ in range(3)]
    await stub.script_fault("settle", "5xx", times=2)
    await house.sends(first)
    clock.forward(seconds=20)
    await house.asks(first)
    with pytest.raises(TryAgain, match="handed over just now"):
        await house.sends(second)
    clock.forward(seconds=15)
    await stub.script_fault("settle", "5xx", times=2)
    await house.asks(first)  # and let go
    await house.sends(second)
    assert (await house.payout(second)).state is PayoutState.IN_FLIGHT
    await house.asks(first)  # the second is in hand: not now
    held = [await usdc_attempts.live(house.market.db, each, 1) for each in (first, second)]
    assert [each.in_hand for each in held if each is not None] == [False, True]
    await house.asks(second)
    assert (await house.payout(second)).state is PayoutState.PAID
    await house.asks(first)
    await house.sends(third)
    for payout_id in (first, second, third):
        assert (await house.payout(payout_id)).state is PayoutState.PAID
    assert await house.has(payee) == FAUCET + 3 * OWED
    await house.market.is_right()
    await stub.close()


async def test_without_a_key_or_its_network_what_is_owed_waits(house: House) -> None:
    """Nothing is in flight, and nothing is lost: it goes when the operator has given the key."""
    payout_id = await house.owes(Payer().address)
    kept = house.usdc
    for usdc in (None, replace(kept, refunds=None)):
        async with house.process() as sending:
            with pytest.raises(TryAgain, match="REFUND_KEY"):
                await replace(sending, usdc=usdc).send(payout_id, 0)
    elsewhere = replace(kept, network=replace(BASE_SEPOLIA, caip2="eip155:1"))
    async with house.process() as sending:
        with pytest.raises(TryAgain, match="USDC_NETWORK"):
            await replace(sending, usdc=elsewhere).send(payout_id, 0)
    await turn(house.market.db, house.clock, switches.Name.PAYING_OUT, False)
    with pytest.raises(TryAgain, match="paused"):
        await house.sends(payout_id)
    await turn(house.market.db, house.clock, switches.Name.PAYING_OUT, True)
    dear = await house.owes(Payer().address, FAUCET + 1)
    with pytest.raises(TryAgain, match="too little USDC"):
        await house.sends(dear)
    assert {(await house.payout(one)).state for one in (payout_id, dear)} == {PayoutState.OWED}
    await house.sends(payout_id)
    assert (await house.payout(payout_id)).state is PayoutState.PAID
    await house.market.is_right()


async def test_another_key_sends_only_what_the_first_can_send_no_more(
    house: House, tmp_path: Path
) -> None:
    """A nonce is one of its payer's: the token would take an order of the new key as well. So an
    attempt of the old one is waited for until its time has passed on the chain."""
    payee, clock, stub = Payer().address, house.market.clock, stub_of(house, tmp_path)
    await stub.script_fault("settle", "5xx")
    payout_id = await house.owes(payee)
    await house.sends(payout_id)
    new = RefundKey(Payer("another house").key, BASE_SEPOLIA)
    await house.asks(payout_id, by=new)
    await house.sends(payout_id, by=new)
    assert (await house.payout(payout_id)).state is PayoutState.IN_FLIGHT
    assert await house.has(payee) == FAUCET
    clock.forward(seconds=601)
    await house.asks(payout_id, by=new)
    await house.sends(payout_id, by=new)
    row = await house.payout(payout_id)
    assert (row.state, row.attempts) == (PayoutState.PAID, 2)
    assert await house.has(payee) == FAUCET + OWED
    assert await house.has(new.address) == FAUCET - OWED
    await stub.close()


async def test_what_is_owed_in_usdc_goes_to_an_address_alone(house: House) -> None:
    """An operator may name another one of its network, as it is or in full; a Lightning address,
    or an address whose checksum is wrong, is none."""
    there = Payer("elsewhere").address
    lightning = LnurlPay(PublicHttp(), network="bcrt", clock=house.clock)
    payout_id = await house.owes(Payer().address)
    row = await house.payout(payout_id)
    for text in (there, there.lower(), f" evm:{BASE_SEPOLIA.caip2}:{there} "):
        told = where(lightning, row, text)
        assert told == f"evm:{BASE_SEPOLIA.caip2}:{there}"
    assert read_address(there.swapcase()) is None
    for text in ("me@example.org", "", there[:-1], there.swapcase(), "evm::" + there):
        assert isinstance(where(lightning, row, text), BadDestination), text
    redirect = advance.payouts.redirect
    await house.market.shell.do(redirect, payout_id, f"evm:{BASE_SEPOLIA.caip2}:{there}")
    await house.sends(payout_id)
    assert await house.has(there) == FAUCET + OWED
    await house.market.is_right()
    await lightning.close()
