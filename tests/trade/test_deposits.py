"""USDC that is sent to our address without a signed order: it is somebody's once, or it waits."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from app import advance
from app.advance import Applied, Missing, Replayed
from app.advance.deposits import AGAIN, LATE, UNKNOWN_SENDER
from app.loops.deposits import Deposits
from db import connect_requests, deposits, ledger, user_balances
from payments.usdc.address import address_of_key, keccak
from payments.usdc.outcome import Received
from payments.usdc.payment import Payment
from payments.usdc.stub_facilitator import StubFacilitator
from pricing.money import MicroUsdc
from statemachine.connect import ConnectState
from statemachine.entries import Asset
from tests.world.account_fixtures import message_for, paying, right, signed, signed_in
from tests.world.clock import Clock
from tests.world.deposit_fixtures import Sent, asked, read, stub_of, unclaimed
from tests.world.house_fixtures import instance_of
from tests.world.patience import PATIENCE_S, patiently
from tests.world.usdc_fixtures import Payer, header

USDC = Asset.MICROUSDC
CENTS_50 = 500_000
OPERATOR = {"Authorization": "Bearer a token of the operator"}


@pytest.fixture
async def sent(database_url: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Sent]:
    """An instance that lives by the test's clock, with its chain."""
    async with instance_of(
        database_url, tmp_path, clock=clock, OPERATOR_TOKEN="a token of the operator"
    ) as at:
        await read(at.built)  # from here on
        stub = stub_of(at)
        yield Sent(at, stub)
        await stub.close()


async def page_of(sent: Sent) -> str:
    """Return the operator's page."""
    async with httpx2.AsyncClient(
        base_url=sent.at.url, trust_env=False, timeout=PATIENCE_S
    ) as http:
        return (await http.get("/operator", headers=OPERATOR)).text


async def has(sent: Sent, account_id: str) -> int:
    """Return what an account has in USDC."""
    return (await user_balances.balances(sent.at.built.db, account_id))[USDC]


async def account_of(sent: Sent, payer: Payer) -> str:
    """Sign in with a wallet; return the id of its account."""
    message = await message_for(sent.at, payer.key)
    answer = await sent.at.post("/api/auth/siwe", signed(message, payer.key))
    assert answer.status_code == 200, answer.text
    sent.at.http.cookies.clear()
    return str(answer.json()["accountId"])


async def test_what_a_wallet_sends_that_opens_an_account_is_on_that(sent: Sent) -> None:
    """Each transfer once, however often the chain is read; its holder sees it as a deposit."""
    payer = Payer()
    account_id = await account_of(sent, payer)
    await sent.send(payer.address, CENTS_50)
    await sent.send(payer.address, CENTS_50)
    await asyncio.gather(*(read(sent.at.built) for _ in range(5)))
    assert await has(sent, account_id) == 2 * CENTS_50
    assert await unclaimed(sent.at.built) == []
    moves = await user_balances.moves(sent.at.built.db, account_id, 2**53, 10)
    assert [(move.amount, move.key.split(":")[0]) for move in moves] == [(CENTS_50, "deposit")] * 2
    await right(sent.at)


async def test_what_comes_from_a_stranger_waits_until_he_proves_his_address(sent: Sent) -> None:
    """By signing in, or by joining the wallet to an account: all of it, and once."""
    one, two = Payer("one"), Payer("two")
    first = await sent.send(one.address, CENTS_50)
    await sent.send(one.address, 30_000)
    await sent.send(two.address, 70_000)
    waiting = await unclaimed(sent.at.built)
    assert waiting[0].txid == first
    assert {row.note for row in waiting} == {UNKNOWN_SENDER}
    assert await ledger.balance(sent.at.built.db, "unclaimed", USDC) == CENTS_50 + 100_000
    assert await has(sent, await account_of(sent, one)) == CENTS_50 + 30_000
    holder = await signed_in(sent.at)
    message = await message_for(sent.at, two.key)
    answer = await sent.at.post("/api/auth/wallets", signed(message, two.key), headers=holder)
    assert answer.status_code == 200, answer.text
    shown = (await sent.at.http.get("/api/account", headers=holder)).json()
    assert shown["balanceUsdc"] == 0.07
    history = (await sent.at.http.get("/api/account/history", headers=holder)).json()
    assert [(move["what"], move["usdc"]) for move in history["moves"]] == [("deposit", 0.07)]
    assert await unclaimed(sent.at.built) == []
    await right(sent.at)


async def test_an_operator_sees_what_nobody_has_and_gives_it(sent: Sent) -> None:
    """On the page, by its transaction and its sender; given once, to an account that is there."""
    built, payer = sent.at.built, Payer()
    txid = await sent.send(payer.address, CENTS_50)
    page = await page_of(sent)
    assert txid in page and payer.address in page and UNKNOWN_SENDER in page
    [row] = await unclaimed(built)
    assert await built.shell.do(advance.deposits.give, row.id, "nobody") == Missing()
    holder = await signed_in(sent.at)
    account_id = (await sent.at.http.get("/api/account", headers=holder)).json()["accountId"]
    assert await built.shell.do(advance.deposits.give, row.id, account_id) == Applied()
    assert await built.shell.do(advance.deposits.give, row.id, account_id) == Replayed()
    assert await has(sent, account_id) == CENTS_50
    assert await has(sent, await account_of(sent, payer)) == 0, "it was given away before"
    assert txid not in await page_of(sent)
    await right(sent.at)


async def test_a_payment_over_x402_is_no_deposit(sent: Sent) -> None:
    """Its order has booked it."""
    payer = Payer()
    holder = await signed_in(sent.at)
    body, order = {"amountUsdc": "0.5"}, paying(sent.at, payer, CENTS_50)
    answer = await sent.at.post("/api/account/deposits", body, headers=holder | order)
    assert answer.status_code == 201, answer.text
    await read(sent.at.built)
    assert await unclaimed(sent.at.built) == []
    shown = (await sent.at.http.get("/api/account", headers=holder)).json()
    assert shown["balanceUsdc"] == 0.5
    await right(sent.at)


async def test_an_order_that_its_payer_has_sent_himself_pays_for_nothing_else(
    sent: Sent, clock: Clock
) -> None:
    """It was read from the chain, and is his deposit: handed to us after that, it buys nothing."""
    payer, usdc = Payer(), sent.at.built.usdc
    assert usdc is not None
    now_s = int(clock().timestamp())
    order = payer.pays(usdc.offer(MicroUsdc(CENTS_50)), now_s, valid_before_s=now_s + 120)
    await _settled(sent.stub, order)
    await read(sent.at.built)
    assert len(await unclaimed(sent.at.built)) == 1
    holder = await signed_in(sent.at)
    answer = await sent.at.post(
        "/api/account/deposits",
        {"amountUsdc": "0.5"},
        headers=holder | {"PAYMENT-SIGNATURE": header(order)},
    )
    assert answer.status_code in (202, 402), answer.text
    clock.forward(minutes=5)
    async for _ in patiently("the order never fails"):
        [order_row] = await sent.at.built.db.read_all(
            "SELECT state, reason FROM usdc_authorization"
        )
        if order_row["state"] == "failed":
            break
    assert "deposit" in order_row["reason"]
    shown = (await sent.at.http.get("/api/account", headers=holder)).json()
    assert shown["balanceUsdc"] == 0
    assert await has(sent, await account_of(sent, payer)) == CENTS_50
    await right(sent.at)


async def _settled(stub: StubFacilitator, order: Payment) -> None:
    asked_ = json.dumps(order.asked()).encode()
    status, said = await stub.answer("POST", "/settle", asked_)
    assert status == 200 and isinstance(said, dict) and said["success"], said


async def test_what_is_asked_for_opens_an_account_with_that_balance(sent: Sent) -> None:
    """Exactly that sum, once: what comes again is nobody's, and says so."""
    built = sent.at.built
    request, amount = await asked(built)
    assert amount is not None
    await sent.send(Payer("a").address, amount - 1)
    await sent.send(Payer("b").address, amount)
    await sent.send(Payer("c").address, amount)
    row = await connect_requests.get(built.db, request.id)
    assert row is not None and (row.state, row.paid_at) == (ConnectState.PAID, built.clock())
    assert await has(sent, request.account_id) == amount
    assert [(r.amount_microusdc, r.note) for r in await unclaimed(built)] == [
        (amount - 1, UNKNOWN_SENDER),
        (amount, AGAIN),
    ]
    await right(sent.at)


async def test_what_comes_too_late_is_nobodys(sent: Sent, clock: Clock) -> None:
    """By the time of its block; the amount is asked for again only after that."""
    built = sent.at.built
    request, amount = await asked(built, kept=timedelta(minutes=10))
    assert amount is not None
    clock.forward(minutes=11)
    assert (await asked(built, [amount]))[1] is None, "what was sent in time may not be read yet"
    await sent.send(Payer("late").address, amount)
    [row] = await unclaimed(built)
    assert row.note == LATE and await has(sent, request.account_id) == 0
    again, same = await asked(built, [amount])
    assert same == amount
    await sent.send(Payer("in time").address, amount)
    assert await has(sent, again.account_id) == amount
    await right(sent.at)


async def test_who_is_known_opens_no_account_for_another(sent: Sent) -> None:
    """What a wallet with an account sends is on that, whoever was asked for such an amount."""
    built, payer = sent.at.built, Payer()
    account_id = await account_of(sent, payer)
    request, amount = await asked(built)
    assert amount is not None
    await sent.send(payer.address, amount)
    assert (await has(sent, account_id), await has(sent, request.account_id)) == (amount, 0)
    await right(sent.at)


async def test_two_who_ask_at_once_are_never_asked_for_the_same(sent: Sent) -> None:
    """A thousand times two at once, of few amounts: each amount is one request's, or nobody's."""
    built, pool, usdc = sent.at.built, range(600_001, 601_501), sent.at.built.usdc
    assert usdc is not None
    given: list[int] = []
    for _ in range(50):
        picks = [random.sample(pool, 8) for _ in range(20)]
        both = (asked(built, pick) for pick in picks for _ in range(2))
        given += [amount for _, amount in await asyncio.gather(*both) if amount is not None]
    assert max(Counter(given).values()) == 1
    assert len(given) > 1_400, "most of the amounts are asked for in the end"
    row = await built.db.read_one("SELECT count(*) AS n FROM connect_request WHERE state = 'open'")
    assert row is not None and row["n"] == len(given)


async def test_a_thousand_payments_open_a_thousand_accounts(sent: Sent) -> None:
    """Right, wrong, and doubled, by strangers, in any order, while others read too: nothing is
    lost, and nothing is on two accounts."""
    built, dice = sent.at.built, random.Random(7)
    requests = [await asked(built) for _ in range(1_000)]
    moves = [amount for _, amount in requests if amount is not None]
    extra = dice.sample(moves, 100)  # doubled
    wrong = [amount + 1_000_000 for amount in dice.sample(moves, 100)]
    every = moves + extra + wrong
    dice.shuffle(every)
    usdc = built.usdc
    assert usdc is not None
    for number, amount in enumerate(every):
        payer = address_of_key(keccak(f"stranger {number}".encode()))
        await sent.stub.send(usdc.network, payer, sent.pay_to, MicroUsdc(amount))
        if number % 200 == 0:
            await asyncio.gather(*(read(built) for _ in range(3)))
    await asyncio.gather(*(read(built) for _ in range(3)))
    for request, asked_for in requests:
        assert await has(sent, request.account_id) == asked_for
    rest = await unclaimed(built)
    assert Counter(row.amount_microusdc for row in rest) == Counter(extra + wrong)
    assert sum(every) == await ledger.balance(built.db, "rail:x402", USDC)
    await right(sent.at)


async def test_dust_and_moves_between_our_own_addresses_are_no_deposits(sent: Sent) -> None:
    """Less than a cent costs its sender next to nothing, and would fill our tables."""
    assert sent.at.built.usdc is not None
    await sent.send(Payer().address, 9_999)
    assert await unclaimed(sent.at.built) == []
    await right(sent.at)


async def test_whoever_reads_second_changes_nothing(sent: Sent) -> None:
    """Two processes that have read the same: the cursor is where the first has left it."""
    built, usdc, payer = sent.at.built, sent.at.built.usdc, Payer()
    assert usdc is not None
    loop = Deposits(built.db, built.shell, usdc)
    await sent.send(payer.address, CENTS_50)
    before = await loop._cursor()
    await sent.stub.send(usdc.network, payer.address, sent.pay_to, MicroUsdc(CENTS_50))
    seen = await usdc.ledger.received(sent.pay_to, before)
    assert isinstance(seen, Received)
    record = advance.deposits.record
    told = [await built.shell.do(record, loop.watch, None, before, seen) for _ in range(2)]
    assert set(map(type, told)) <= {Applied, Replayed} and isinstance(told[1], Replayed)
    assert len(await unclaimed(built)) == 2
    await right(sent.at)


async def test_what_the_chain_takes_back_is_seen(sent: Sent) -> None:
    """It stays in the books, nobody can claim it, and an operator is told; until it is back."""
    built, usdc, payer = sent.at.built, sent.at.built.usdc, Payer()
    assert usdc is not None
    await sent.send(Payer("before").address, CENTS_50)
    now_s = int(built.clock().timestamp())
    order = payer.pays(usdc.offer(MicroUsdc(CENTS_50)), now_s, valid_before_s=now_s + 120)
    await _settled(sent.stub, order)
    await read(built)
    await asyncio.to_thread(
        sent.stub._chain.take_back, usdc.network, order.authorization
    )  # as a reorganisation does
    loop = Deposits(built.db, built.shell, usdc)
    await loop.turn()
    await loop.turn()
    assert loop.trouble is not None and "reorganised" in loop.trouble
    [gone] = await deposits.gone(built.db, 10)
    assert gone.payer == payer.address
    assert await has(sent, await account_of(sent, payer)) == 0
    page = await page_of(sent)
    assert "no longer on it" in page and gone.txid in page
    await _settled(sent.stub, order)  # the same transaction, in another block
    await loop.turn()
    assert loop.trouble is None and await deposits.gone(built.db, 10) == []
    assert await has(sent, await account_of(sent, payer)) == CENTS_50
    await right(sent.at)
