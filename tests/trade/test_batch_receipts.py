"""Receipts of batches: each item with its price and the hash of its file, and sums that add up."""

import hashlib
from typing import Any

import pytest

from app import advance
from app.keys.receipt_check import NotGenuine, check, keys_in, lines
from app.strict_json import parse_object
from statemachine.entries import Asset
from statemachine.public_id import public_id
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance
from tests.world.market_fixtures import Market
from tests.world.receipt_fixtures import receipt_of

ITEMS = (1_668, 1_666, 1_666)  # five sats


def market_in(instance: Instance) -> Market:
    """Return a market over what a server runs on."""
    clock = Clock()
    clock.now = instance.built.clock()
    return Market(instance.built.db, instance.built.shell, clock)


async def made(market: Market, *, decline: bool = True) -> None:
    """Deliver the first item that waits; decline the others, or leave them."""
    first, *others = await market.claim(most=9)
    await market.deliver(first)
    for one in others if decline else ():
        whose = one.id, one.number, "w"
        await market.shell.do(advance.leases.decline, *whose, "It is not made here.")


def is_sum(said: dict[str, Any], unit: str) -> bool:
    """Say whether what was paid is what was charged and what went back."""
    return bool(said[f"paid{unit}"] == said[f"charged{unit}"] + said[f"refunded{unit}"])


async def test_a_receipt_names_each_file_and_what_it_cost(instance: Instance) -> None:
    """By their hashes: a receipt shows to others what was bought, and opens nothing."""
    market = market_in(instance)
    await market.bought("b", ITEMS)
    await made(market)
    served, said = await receipt_of(instance, "b")
    assert (said["kind"], said["state"], said["publicId"]) == ("batch", "completed", public_id("b"))
    assert said["asset"] == "msat" and is_sum(said, "Msat")
    assert (said["paidMsat"], said["chargedMsat"]) == (5_000, 2_000)  # whole sats, rounded up
    [paid] = said["payments"]
    assert (paid["for"], paid["receivedMsat"]) == ("batch", 5_000)
    [back] = said["refunds"]
    assert (back["reason"], back["amountMsat"], back["state"]) == ("undelivered", 3_000, "owed")
    first, second, _ = said["items"]
    [item, *_] = await market.items("b")
    assert first["artifactSha256"] == item.sha256
    assert first["promptSha256"] == hashlib.sha256(b"a cat, 1").hexdigest()
    assert (first["priceMsat"], first["chargedMsat"]) == (1_668, 1_668)
    assert (second["state"], second["chargedMsat"]) == ("failed", 0)
    assert second["reason"] == "It is not made here." and "artifactSha256" not in second
    assert b"a cat" not in served
    told = "\n".join(lines(said))
    assert str(item.sha256) in told and "charged 1668 of 1668 msat" in told
    assert told.endswith("paid 5000 msat, kept 2000 msat, owed or sent back 3000 msat")


async def test_a_receipt_of_a_balance_says_which_paid(instance: Instance) -> None:
    """What a session has back is on its balance again, and is no payout."""
    market = market_in(instance)
    await market.session("s", 200_000)
    await market.reserved("b", ITEMS, "s")
    await made(market)
    _, said = await receipt_of(instance, "b")
    assert said["paidFrom"] == "session" and not said["payments"] and not said["refunds"]
    assert is_sum(said, "Msat") and said["paidMsat"] == 5_000
    assert "paid from the balance of the session" in "\n".join(lines(said))


async def test_a_receipt_in_usdc_is_exact(instance: Instance) -> None:
    """In millionths of a USDC, with the authorization that has paid."""
    market = market_in(instance)
    await market.paid("b", (20_001, 19_999))
    await made(market)
    _, said = await receipt_of(instance, "b")
    assert said["asset"] == Asset.MICROUSDC and is_sum(said, "Microusdc")
    assert (said["paidMicrousdc"], said["chargedMicrousdc"]) == (40_000, 20_001)
    [back] = said["refunds"]
    assert back["amountMicrousdc"] == 19_999
    told = "\n".join(lines(said))
    assert f"paid by the authorization {said['authorization']}" in told
    assert "refund 19999 microusdc" in told and " msat" not in told


async def test_only_a_batch_that_has_ended_has_a_receipt(instance: Instance) -> None:
    """Before that it is 409; a batch of somebody's account is not there for others."""
    market = market_in(instance)
    await market.bought("b", ITEMS)
    await made(market, decline=False)
    early = await instance.http.get("/api/jobs/b/receipt")
    assert early.status_code == 409 and "is processing" in early.json()["error"]
    await market.has_usdc("u", 9_999)
    told = await market.from_account("theirs", (100,), "u", Asset.MICROUSDC)
    assert told == advance.Applied()
    await market.shell.do(advance.batches.cancel, "theirs")
    theirs = await instance.http.get("/api/jobs/theirs/receipt")
    assert theirs.status_code == 404


@pytest.mark.parametrize("name", ["artifactSha256", "chargedMsat", "state"])
async def test_a_receipt_that_was_changed_is_not_genuine(instance: Instance, name: str) -> None:
    """What stands beside the signed text must say the same, to the last field."""
    market = market_in(instance)
    await market.bought("b", ITEMS)
    await made(market)
    served, said = await receipt_of(instance, "b")
    keys = keys_in((await instance.http.get("/.well-known/jwks.json")).json())
    old = said["items"][0][name] if name in said["items"][0] else said[name]
    new = str(old)[::-1] if isinstance(old, str) else str(old + 1)
    changed = served.replace(str(old).encode(), new.encode(), 1)
    assert changed != served and parse_object(changed)
    with pytest.raises(NotGenuine):
        check(changed, keys)
