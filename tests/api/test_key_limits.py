"""What an API key may spend: held in the transaction that pays, and given back with what is not
charged.
"""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from app import advance
from app.advance import Act, Applied, Payer, Purse, Short
from app.keys.api_keys import Prefix
from app.refusal import Refusal, Why
from app.trade.keys import Keys
from db import api_keys, balances, ledger, people
from db.api_keys import Limits, NewKey
from db.audit import audit
from db.engine import Tx
from statemachine.account import deposit_invoice_id
from statemachine.batch import begin_from_account
from statemachine.entries import RAIL, Asset, Entry, Posting, of_user
from tests.world.account_fixtures import buyers_invoice, has, paid_in, right, signed_in, withdraw
from tests.world.batch_doors import batch, ended, sold_by
from tests.world.contract import refused
from tests.world.house_fixtures import Instance
from tests.world.market_fixtures import Market, hashed
from tests.world.scripted_maker import ScriptedMaker

KEYS = "/api/v1/user/apikeys"


async def account_of(market: Market, amount_msat: int) -> str:
    """Open an account that has so much."""
    who = await market.shell.do(advance.accounts.of_wallet, "wallet")
    opened = market.invoice(amount_msat)
    await market.shell.do(advance.accounts.ask_deposit, who, 1, opened)
    await market.pay(deposit_invoice_id(who, 1), opened)
    return who


async def key_of(market: Market, who: str, limits: Limits, key_id: str = "k") -> str:
    """Give an account a key."""
    new = NewKey(key_id, hashed(key_id), "sk_live_bw_…")
    assert await market.shell.do(advance.keys.make, who, new, "key", limits) is True
    return key_id


async def spent(market: Market, who: str) -> tuple[int, int]:
    """Return what its one key has spent."""
    [row] = await api_keys.of_account(market.db, who)
    return row.spent_msat, row.spent_microusdc


async def test_an_account_that_is_forgotten_meanwhile_has_no_new_key(market: Market) -> None:
    """Whoever asked for one is told that it is not there, and not that something broke."""
    who = await market.shell.do(advance.accounts.of_wallet, "wallet")
    assert await market.db.run("forget", partial(people.forget_unused, ids=[who])) == 1
    desk = Keys(market.db, market.shell, market.clock, lambda: "k")
    with pytest.raises(Refusal) as refused_as:
        await desk.make(who, Prefix.SK, "key", Limits())
    assert refused_as.value.why is Why.UNKNOWN


async def test_a_key_spends_to_its_limit_and_not_beyond(market: Market) -> None:
    """Of ten at once that it has room for three of, three are paid for."""
    who = await account_of(market, 1_000_000)
    key = await key_of(market, who, Limits(msat=30_000))
    told = await asyncio.gather(
        *(market.from_account(f"b{n}", (9_000,), who, Asset.MSAT, key) for n in range(10))
    )
    assert told.count(Applied()) == 3
    assert told.count(Short(Purse.KEY, 9_000, 3_000)) == 7
    assert await spent(market, who) == (27_000, 0)
    assert await market.rests_on(f"user:{who}") == 973_000
    await market.is_right()


async def test_what_is_not_charged_is_the_keys_again(market: Market) -> None:
    """At the batch's end, as it is the account's; the rest of a cancelled one, too."""
    who = await account_of(market, 1_000_000)
    key = await key_of(market, who, Limits(msat=30_000))
    assert await market.from_account("b", (9_000, 8_000), who, Asset.MSAT, key) == Applied()
    first, second = await market.claim(most=2)
    await market.deliver(first)
    assert await spent(market, who) == (17_000, 0)
    await market.shell.do(advance.leases.decline, second.id, 1, "w", "no")
    assert await spent(market, who) == (9_000, 0)
    assert await market.from_account("c", (21_000,), who, Asset.MSAT, key) == Applied()
    assert await market.shell.do(advance.batches.cancel, "c") == Applied()
    assert await spent(market, who) == (9_000, 0)
    await market.is_right()


@pytest.mark.parametrize(
    ("limits", "msat", "microusdc"),
    [
        (Limits(), True, True),
        (Limits(msat=100), True, False),
        (Limits(microusdc=100), False, True),
        (Limits(msat=100, microusdc=100), True, True),
        (Limits(msat=0), False, False),
    ],
)
async def test_a_limit_in_one_asset_leaves_nothing_of_the_other(
    market: Market, limits: Limits, msat: bool, microusdc: bool
) -> None:
    """Without any, a key spends what the account has."""
    who = await account_of(market, 1_000)
    await market.has_usdc(who, 1_000)
    key = await key_of(market, who, limits)
    for asset, may in ((Asset.MSAT, msat), (Asset.MICROUSDC, microusdc)):
        told = await market.from_account(f"in {asset}", (100,), who, asset, key)
        assert (told == Applied()) is may
        if not may:
            assert told == Short(Purse.KEY, 100, 0, asset)
    await market.is_right()


async def test_one_call_pays_as_the_ledger_does_step_by_step(market: Market) -> None:
    """For random accounts, keys and amounts: what is in the way, or else what is spent and posted;
    and a call that is refused writes nothing."""
    dice, seen = random.Random(7), set[object]()
    for number in range(40):
        pair = f"one{number}", f"steps{number}"
        asset, amount = dice.choice(list(Asset)), dice.randrange(1, 100)
        limits = Limits(dice.choice([None, 0, 60]), dice.choice([None, 0, 60]))
        has, before, is_keyed = dice.choice([0, 50, 100, 200]), dice.choice([0, 30]), dice.random()
        for who in pair:
            await market.db.run(
                "given", partial(_given, who=who, has=has, spent=before, asset=asset, limits=limits)
            )
            if is_keyed > 0.8:
                await market.shell.do(advance.keys.revoke, who, who)
        key = None if is_keyed < 0.2 else ""
        one, steps = (Payer(who, None if key is None else who) for who in pair)
        reserved = [begin_from_account(who, who, asset, amount, 1).entries for who in pair]
        told = await market.shell.do(advance.keys.debit, one, amount, asset, reserved[0])
        assert told == await market.shell.do(_step_by_step, steps, amount, asset, reserved[1])
        assert await _stands(market, pair[0]) == await _stands(market, pair[1])
        seen.add(told.purse if isinstance(told, Short) else told)
    assert seen == {Applied(), Purse.ACCOUNT, Purse.KEY}


async def _given(tx: Tx, who: str, has: int, spent: int, asset: Asset, limits: Limits) -> None:
    """Have an account with one key be there, which has spent as much."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    await people.insert(tx, who, now)
    await api_keys.insert(tx, who, NewKey(who, hashed(who), "sk_live_bw_…"), "key", limits, now)
    await tx.execute(
        f"UPDATE api_key SET spent_{asset} = %(spent)s WHERE id = %(who)s", spent=spent, who=who
    )
    if has:
        legs = Posting(RAIL, has), Posting(of_user(who), -has)
        await ledger.post(tx, [Entry(f"given:{who}:", asset, legs)], now)


async def _step_by_step(
    act: Act, payer: Payer, amount: int, asset: Asset, entries: Sequence[Entry]
) -> Applied | Short:
    """Pay by what reads one thing each: the account, then the key; and then it is posted."""
    has = await balances.lock_of_user(act.tx, payer.account_id, asset)
    if has < amount:
        return Short(Purse.ACCOUNT, amount, has, asset)
    if payer.key_id is not None:
        left = await api_keys.left(act.tx, payer.key_id, asset)
        if left < amount:
            return Short(Purse.KEY, amount, left, asset)
        await api_keys.unspend(act.tx, payer.key_id, asset, -amount)
    await ledger.post(act.tx, entries, act.now)
    return Applied()


async def _stands(market: Market, who: str) -> list[dict[str, object]]:
    """Return all that is written of an account, with its id taken out."""
    found = []
    for query in (
        "SELECT spent_msat, spent_microusdc FROM api_key WHERE account_id = %(who)s",
        "SELECT replace(name, %(who)s, '') AS name, asset, kind, balance FROM account"
        " WHERE name LIKE '%%:' || %(who)s ORDER BY name, asset",
        "SELECT replace(e.key, %(who)s, '') AS key, e.asset, replace(p.account, %(who)s, '') AS"
        " account, p.amount FROM entry e JOIN posting p ON p.entry_id = e.id"
        " WHERE e.key LIKE '%%' || %(who)s || ':%%' ORDER BY e.id, p.account",
    ):
        found += await market.db.read_all(query, who=who)
    return found


async def test_a_key_that_was_revoked_just_now_pays_for_nothing(market: Market) -> None:
    """Whoever was let in with it before."""
    who = await account_of(market, 1_000)
    key = await key_of(market, who, Limits())
    assert await market.shell.do(advance.keys.revoke, who, key)
    told = await market.from_account("b", (100,), who, Asset.MSAT, key)
    assert told == Short(Purse.KEY, 100, 0)


async def test_what_is_wrong_by_hand_is_found(market: Market) -> None:
    """What a key has spent is compared with its batches."""
    who = await account_of(market, 1_000)
    key = await key_of(market, who, Limits(msat=500))
    assert await market.from_account("b", (100,), who, Asset.MSAT, key) == Applied()
    await market.is_right()
    await market.db.run(
        "wrong", lambda tx: tx.execute("UPDATE api_key SET spent_msat = spent_msat + 1")
    )
    [finding] = await audit(market.db)
    assert "has spent 101 msat" in finding.line and "its batches 100" in finding.line


async def test_a_limited_key_buys_and_does_nothing_else(database_url: str, tmp_path: Path) -> None:
    """It is told how much more it may spend; it takes no money out, and makes no other key."""
    async with sold_by(database_url, tmp_path, ScriptedMaker()) as at:
        holder = await signed_in(at)
        await paid_in(at, holder, 10_000)
        await has(at, holder, 10_000)
        body = {"name": "agent", "spendingLimitSats": 100}
        made = (await at.post(KEYS, body, headers=holder)).json()
        assert made["spendingLimitSats"] == 100 and "spendingLimitUsdc" not in made
        key = {"x-api-key": made["apiKey"]}
        bought = await at.post("/api/jobs", batch("one"), headers=key)
        assert bought.status_code == 201, bought.text
        token = holder["Authorization"].removeprefix("Bearer ")
        await ended(at, bought.json()["jobId"], token=token)
        [listed] = (await at.http.get(KEYS, headers=holder)).json()["apiKeys"]
        assert 0 < listed["spentSats"] <= 100
        dear = await at.post("/api/jobs", batch(*("many",) * 100), headers=key)
        assert (dear.status_code, dear.json()["code"]) == (402, "insufficient_budget")
        assert f"may spend {100 - listed['spentSats']} more" in dear.json()["error"]
        await _kept_from(at, key)
        await right(at)


async def _kept_from(at: Instance, key: dict[str, str]) -> None:
    """Find closed to a limited key what gives money or the account away."""
    refused(await at.post(KEYS, {}, headers=key), 403, "with a spending limit")
    refused(await at.http.get(KEYS, headers=key), 403)
    invoice = await buyers_invoice(at, 10)
    assert (await withdraw(at, key, invoice=invoice)).status_code == 403
    taken = await at.post("/api/account/refund", {"invoice": invoice}, headers=key)
    assert taken.status_code == 403
    signed = await at.post("/api/auth/wallets", {"message": "a", "signature": "b"}, headers=key)
    assert signed.status_code == 403
    assert (await at.http.get("/api/account", headers=key)).status_code == 200
