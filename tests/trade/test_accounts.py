"""People's balances: what is paid in is theirs, however late; it is spent, and can be taken out."""

import asyncio
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app import advance
from app.advance import Applied, Short
from db import lapsed
from db.audit import audit
from payments import rail
from payments.lnurl import decode
from statemachine import account as law
from statemachine.account import deposit_invoice_id, withdrawal_id
from statemachine.decision import InvoiceWanted, Owed
from statemachine.entries import Asset
from statemachine.owner import Owner, OwnerKind, Purpose, Reason, named
from tests.world.account_fixtures import (
    buyers_invoice,
    gone,
    has,
    message_for,
    on_chain,
    paid_in,
    paying,
    right,
    signed,
    signed_in,
    standing,
    withdraw,
)
from tests.world.batch_doors import batch, ended, sold_by
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance
from tests.world.market_fixtures import Market, hashed
from tests.world.scripted_maker import ScriptedMaker
from tests.world.usdc_fixtures import Payer


async def test_a_deposit_is_on_the_balance_once_it_is_paid(instance: Instance) -> None:
    """It waits to be paid before, and a name that is sent again asks for one invoice."""
    holder = await signed_in(instance)
    named = holder | {"Idempotency-Key": "mine"}
    asked = [
        await instance.post("/api/account/deposits", {"amountSats": 5_000}, headers=named)
        for _ in range(2)
    ]
    assert asked[0].json() == asked[1].json()
    other = await instance.post("/api/account/deposits", {"amountSats": 1}, headers=named)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    shown = await standing(instance, holder)
    assert (shown["balanceSats"], shown["balanceUsdc"]) == (0, 0)
    assert shown["deposits"] == [asked[0].json()["invoice"]]
    await instance.pay(asked[0].json()["invoice"])
    await has(instance, holder, 5_000)
    assert (await standing(instance, holder))["deposits"] == []
    told = await instance.http.get("/api/account/history", headers=holder)
    [move] = told.json()["moves"]
    assert (move["what"], move["sats"]) == ("deposit", 5_000)
    await right(instance)


async def test_what_is_paid_beyond_an_invoice_is_owed_back(instance: Instance) -> None:
    """It waits to be fetched, by an invoice or by its code; the balance has what was asked for."""
    holder = await signed_in(instance)
    await paid_in(instance, holder, 1_000, amountSats=1_234)
    await has(instance, holder, 1_000)
    [owed] = (await standing(instance, holder))["withdrawals"]
    assert (owed["reason"], owed["amountSats"]) == ("overpaid", 234)
    body = {"invoice": await buyers_invoice(instance, 234)}
    fetched = await instance.post("/api/account/refund", body, headers=holder)
    assert fetched.status_code in (200, 202), fetched.text
    await gone(instance, holder)
    await right(instance)


async def test_money_is_taken_out_to_an_invoice(instance: Instance) -> None:
    """Of just that amount, once; what the account has not is a 402, and nothing has moved."""
    holder = await signed_in(instance)
    await paid_in(instance, holder, 1_000)
    await has(instance, holder, 1_000)
    for wrong in (
        {"invoice": "lnbc1"},
        {"to": "nobody"},
        {},
        {"to": "a@b.example", "invoice": "x"},
    ):
        assert (await withdraw(instance, holder, **wrong)).status_code == 400, wrong
    short = await withdraw(instance, holder, invoice=await buyers_invoice(instance, 1_001))
    assert (short.status_code, short.json()["code"]) == (402, "insufficient_balance")
    assert (short.json()["balanceSats"], short.json()["neededSats"]) == (1_000, 1_001)
    text = await buyers_invoice(instance, 700)
    sent = await withdraw(instance, holder, invoice=text)
    assert sent.status_code == 201, sent.text
    assert sent.json()["withdrawal"]["reason"] == "withdrawn"
    again = await withdraw(instance, holder, invoice=text)
    assert again.status_code == 400 and "used" in again.json()["error"]
    ours = (await instance.post("/api/account/deposits", {"amountSats": 5}, headers=holder)).json()
    own = await withdraw(instance, holder, invoice=ours["invoice"]["paymentRequest"])
    assert own.status_code == 400 and "our own" in own.json()["error"]
    await gone(instance, holder)
    assert (await standing(instance, holder))["balanceSats"] == 300
    await right(instance)


async def test_money_is_taken_out_by_scanning_a_code(instance: Instance) -> None:
    """A name that is sent again takes it out once; the code is good for just that."""
    holder = await signed_in(instance)
    await paid_in(instance, holder, 1_000)
    await has(instance, holder, 1_000)
    named = holder | {"Idempotency-Key": "mine"}
    shown = [
        (await withdraw(instance, named, amountSats=15)).json()["withdrawal"] for _ in range(2)
    ]
    assert shown[0] == shown[1] and shown[0]["destination"] == "needed"
    assert (await standing(instance, holder))["balanceSats"] == 985
    url = decode(shown[0]["lnurlWithdraw"])
    assert url is not None
    offer = (await instance.http.get(urlsplit(url).path)).json()
    assert offer["maxWithdrawable"] == 15_000
    query = {"k1": offer["k1"], "pr": await buyers_invoice(instance, 15)}
    told = await instance.http.get(urlsplit(offer["callback"]).path, params=query)
    assert told.json() == {"status": "OK"}
    await gone(instance, holder)
    moves = (await instance.http.get("/api/account/history", headers=holder)).json()["moves"]
    assert [(move["what"], move["sats"]) for move in moves] == [
        ("withdrawal", -15),
        ("deposit", 1_000),
    ]
    await right(instance)


async def test_an_invoice_is_for_what_has_its_amount(instance: Instance) -> None:
    """Of two that are owed it takes its own; once that is there, the other is not meant."""
    holder = await signed_in(instance)
    await paid_in(instance, holder, 1_000)
    await has(instance, holder, 1_000)
    for sats in (15, 600):
        assert (await withdraw(instance, holder, amountSats=sats)).status_code == 201

    async def claim(sats: int) -> tuple[int, str | None]:
        body = {"invoice": await buyers_invoice(instance, sats)}
        told = await instance.post("/api/account/refund", body, headers=holder)
        return told.status_code, told.json().get("code")

    assert (await claim(15))[0] == 200
    assert await claim(15) == (409, "refund_paid")
    assert (await claim(600))[0] == 200
    await gone(instance, holder)
    await right(instance)


async def test_an_account_pays_for_a_batch_and_has_the_rest(
    database_url: str, tmp_path: Path
) -> None:
    """At once, without a 402; what is not delivered is on the balance again."""
    async with sold_by(database_url, tmp_path, ScriptedMaker()) as at:
        holder = await signed_in(at)
        body = batch("a cat", "BREAK this", "a dog")
        short = await at.post("/api/jobs", body, headers=holder)
        assert (short.status_code, short.json()["code"]) == (402, "payment_required")
        needed = short.json()["amountSats"]
        told = f"This costs {needed} sats, and your account has 0. Pay in with POST"
        assert short.json()["detail"].startswith(told)
        assert short.headers["www-authenticate"].startswith("L402 ")
        await paid_in(at, holder, needed)
        await has(at, holder, needed)
        named = holder | {"Idempotency-Key": "mine"}
        made = [await at.post("/api/jobs", body, headers=named) for _ in range(2)]
        assert made[0].status_code == 201, made[0].text
        assert made[0].json() == made[1].json()
        job_id = made[0].json()["jobId"]
        at.http.headers.update(holder)
        said = await ended(at, job_id)
        assert said["paidWith"] == "account"
        back = (await standing(at, holder))["balanceSats"]
        assert back == needed - said["chargedSats"] and 0 < back < needed
        moves = (await at.http.get("/api/account/history")).json()["moves"]
        assert [(move["what"], move.get("jobId")) for move in moves] == [
            ("jobRest", job_id),
            ("job", job_id),
            ("deposit", None),
        ]
        await right(at)


async def test_of_both_assets_usdc_pays_where_it_is_enough(
    database_url: str, tmp_path: Path
) -> None:
    """Else sats, and never both. The price is the one in dollars."""
    async with sold_by(database_url, tmp_path, ScriptedMaker()) as at:
        holder = await signed_in(at)
        me = (await at.http.get("/api/auth/me", headers=holder)).json()["accountId"]
        market = Market(at.built.db, at.built.shell, Clock())
        price = round((await at.post("/api/jobs/quote", batch("a"))).json()["estimatedCost"] * 1e6)
        await market.has_usdc(me, 9_999)
        await paid_in(at, holder, 1_000)
        await has(at, holder, 1_000)
        left_usdc = 9_999
        assert price <= left_usdc
        while True:
            in_sats = left_usdc < price
            made = await at.post("/api/jobs", batch("a"), headers=holder)
            assert made.status_code == 201, made.text
            at.http.headers.update(holder)
            await ended(at, made.json()["jobId"])
            left_usdc -= 0 if in_sats else price
            assert await market.rests_on(f"user:{me}", Asset.MICROUSDC) == left_usdc
            if in_sats:
                break
            assert (await standing(at, holder))["balanceSats"] == 1_000
        assert (await standing(at, holder))["balanceSats"] < 1_000, "the last was paid in sats"
        await right(at)


async def test_usdc_is_paid_in_over_x402_and_taken_out_to_ones_own_wallet(
    database_url: str, tmp_path: Path
) -> None:
    """A deposit is a 402, and a 201 with the payment; sent again it is the same deposit. It goes
    out to a wallet that opens the account, and to no other."""
    async with sold_by(database_url, tmp_path, ScriptedMaker()) as at:
        holder, payer = await signed_in(at), Payer()
        body = {"amountUsdc": "1.5"}
        asked = await at.post("/api/account/deposits", body, headers=holder)
        assert asked.status_code == 402 and "PAYMENT-REQUIRED" in asked.headers
        assert [offer["amount"] for offer in asked.json()["accepts"]] == ["1500000"]
        paid = holder | paying(at, payer, 1_500_000)
        for _ in range(2):
            told = await at.post("/api/account/deposits", body, headers=paid)
            assert (told.status_code, told.json()["settled"]) == (201, True), told.text
        assert (await standing(at, holder))["balanceUsdc"] == 1.5
        away = await withdraw(at, holder, amountUsdc="1", to=payer.address)
        assert away.status_code == 400 and "opens your account" in away.json()["error"]
        message = await message_for(at, payer.key)
        joined = await at.post("/api/auth/wallets", signed(message, payer.key), headers=holder)
        assert joined.status_code == 200
        assert (await withdraw(at, holder, amountUsdc="1.6")).status_code == 402
        for wrong in ("0.009999", "-1", "1.0000001", "1e3", ""):
            assert (await withdraw(at, holder, amountUsdc=wrong)).status_code == 400
        before = await on_chain(at, payer)
        sent = await withdraw(at, holder, amountUsdc="1.25")
        assert sent.json()["withdrawal"]["amountUsdc"] == "1.250000", sent.text
        await gone(at, holder)
        assert await on_chain(at, payer) == before + 1_250_000
        assert (await standing(at, holder))["balanceUsdc"] == 0.25
        moves = (await at.http.get("/api/account/history", headers=holder)).json()["moves"]
        assert [(move["what"], move["usdc"]) for move in moves] == [
            ("withdrawal", -1.25),
            ("deposit", 1.5),
        ]
        await right(at)


async def account_of(market: Market, word: str = "wallet") -> str:
    """Open an account, as a payment of a wallet does."""
    return await market.shell.do(advance.accounts.of_wallet, word)


async def deposited(market: Market, account_id: str, number: int, amount_msat: int) -> rail.Opened:
    """Ask for a deposit, and return its invoice."""
    opened = market.invoice(amount_msat)
    await market.shell.do(advance.accounts.ask_deposit, account_id, number, opened)
    return opened


async def test_a_late_deposit_is_as_good(market: Market) -> None:
    """After its invoice expired, and after that was purged: the account has it."""
    who = await account_of(market)
    late, later = (
        await deposited(market, who, 1, 1_000_000),
        await deposited(market, who, 2, 2_000_000),
    )
    for number in (1, 2):
        await market.shell.do(advance.invoices.lapse, deposit_invoice_id(who, number))
    await market.pay(deposit_invoice_id(who, 1), late)
    assert await market.rests_on(f"user:{who}") == 1_000_000
    await market.is_right()
    market.clock.now += timedelta(days=2)
    rows = await lapsed.due(market.db, market.clock() - timedelta(days=1), 10)
    assert await market.shell.do(advance.purging.purge, rows) == 1
    paid = rail.Settled(later.payment_hash, later.amount_msat, hashed("preimage"))
    told = await market.shell.do(advance.purging.settle, later.payment_hash, paid)
    assert told == Applied()
    assert await market.rests_on(f"user:{who}") == 3_000_000
    await market.is_right()


async def test_a_balance_is_spent_once_by_all_who_spend_it(market: Market) -> None:
    """Withdrawals and batches at once: so many win as it covers, and it is never below nothing."""
    who = await account_of(market)
    await market.pay(deposit_invoice_id(who, 1), await deposited(market, who, 1, 10_000))
    out = advance.accounts.withdraw
    told = await asyncio.gather(
        *[market.shell.do(out, who, number, 3_000, None) for number in range(6)],
        *[market.from_account(f"b{n}", [2_000, 1_000], who, Asset.MSAT) for n in range(6)],
    )
    assert sum(isinstance(each, Applied) for each in told) == 3
    assert sum(isinstance(each, Short) for each in told) == 9
    assert await market.rests_on(f"user:{who}") == 1_000
    await market.is_right()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("UPDATE invoice SET received_msat = 11000", "the entry says other amounts"),
        ("DELETE FROM invoice", "no row explains"),
        ("UPDATE payout SET amount = 4000", "the entry says other amounts"),
        (
            "UPDATE account SET balance = 9000 WHERE starts_with(name, 'user:')",
            "balance kept is 9000",
        ),
    ],
)
async def test_what_is_broken_by_hand_is_found(market: Market, broken: str, said: str) -> None:
    """Each row of an account's money is compared with the books."""
    who = await account_of(market)
    await market.pay(deposit_invoice_id(who, 1), await deposited(market, who, 1, 10_000))
    await market.shell.do(advance.accounts.withdraw, who, 1, 3_000, "you@example.org")
    await market.is_right()
    assert await market.rests_on(f"refund:{withdrawal_id(who, 1)}") == 3_000
    await market.db.run("break it", lambda tx: tx.execute(broken))
    assert said in " ".join(finding.line for finding in await audit(market.db))


def test_the_law_owes_what_is_taken_out() -> None:
    """At once, and no more than there is; a deposit wants its invoice, and nothing else."""
    asked = law.ask_deposit("a", 7, 5_000)
    assert asked.wanted == (InvoiceWanted("a:credit7", Purpose.CREDIT, 5_000),)
    assert not asked.entries and not asked.owed
    taken = law.withdraw("a", 3, 5_000, 5_000)
    assert taken.owed == (Owed("a:withdrawal3", Reason.WITHDRAWN, 5_000),)
    [entry] = taken.entries
    legs = {posting.account.name: posting.amount for posting in entry.postings}
    assert entry.key == "payout:a:withdrawal3:owed"
    assert legs == {"user:a": 5_000, "refund:a:withdrawal3": -5_000}
    with pytest.raises(law.Short):
        law.withdraw("a", 3, 5_000, 5_001)
    for name in ("a:credit7", "a:withdrawal3", "a:withdrawal3:change", "a:credit7:overpaid"):
        assert named(name).owner == Owner(OwnerKind.ACCOUNT, "a")


async def test_one_account_never_moves_anothers_money(instance: Instance) -> None:
    """Nor sees it: each route is for the holder of a login, and for nobody else."""
    mine, theirs = await signed_in(instance), await signed_in(instance, "another")
    await paid_in(instance, mine, 1_000)
    await has(instance, mine, 1_000)
    waits = await withdraw(instance, mine, amountSats=15)
    assert waits.status_code == 201
    shown = await standing(instance, theirs)
    assert (shown["balanceSats"], shown["withdrawals"]) == (0, [])
    body = {"invoice": await buyers_invoice(instance, 15)}
    stolen = await instance.post("/api/account/refund", body, headers=theirs)
    assert (stolen.status_code, stolen.json()["code"]) == (409, "nothing_owed")
    for path in ("/api/account", "/api/account/history"):
        assert (await instance.http.get(path)).status_code == 401
    for path in ("deposits", "withdrawals", "refund"):
        assert (await instance.post(f"/api/account/{path}", body)).status_code == 401
