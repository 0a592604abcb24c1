"""Connecting a wallet: whoever pays what is asked for has a new account, and its API key."""

import asyncio
from pathlib import Path
from typing import Any

from payments import bolt11
from statemachine.connect import LEAST_MICROUSDC, MOST_MICROUSDC
from tests.world.account_fixtures import has, right
from tests.world.clock import Clock
from tests.world.contract import refused
from tests.world.deposit_fixtures import Sent, stub_of
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import patiently
from tests.world.usdc_fixtures import Payer

INITIATE, STATUS = "/api/v1/wallets/connect/initiate", "/api/v1/wallets/connect/status"
ME = "/api/v1/user/me"
ZERO = "0x0000000000000000000000000000000000000000"  # as the document's own example has it


async def asked(at: Instance, **body: Any) -> dict[str, Any]:
    """Ask for what to pay."""
    answer = await at.post(INITIATE, body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def standing(at: Instance, asked: dict[str, Any]) -> dict[str, Any]:
    """Ask how a request stands."""
    answer = await at.http.get(f"{STATUS}/{asked['requestId']}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def connected(at: Instance, **body: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Connect a wallet; return what was asked for, and how it stands then."""
    made = await asked(at, **body)
    await at.pay(made)
    async for look in patiently("it is never connected"):
        look.saw = told = await standing(at, made)
        if told["status"] == "COMPLETED":
            break
    return made, told


async def booked(at: Instance) -> None:
    """Wait until a payment is booked, without asking how its request stands."""
    async for _ in patiently("it is never booked"):
        if await at.built.db.read_all("SELECT id FROM connect_request WHERE state = 'paid'"):
            break


async def test_whoever_pays_the_invoice_has_an_account(instance: Instance) -> None:
    """With that balance, and one key, which is its only way in."""
    made = await asked(instance, tokenAddress=ZERO)
    invoice = bolt11.decode(made["depositToAddress"])
    assert (invoice.amount_msat, made["amountSats"]) == (1_000_000, 1_000)
    assert (made["magicAmount"], made["tokenAddress"]) == ("0.00001", "lightning")
    told = await standing(instance, made)
    assert told["status"] == "PENDING" and "apiKey" not in told
    _, told = await connected(instance, amountSats=1_234)
    key = {"x-api-key": told["apiKey"]}
    me = (await instance.http.get(ME, headers=key)).json()
    assert (me["points"], me["wallets"], me["apiKey"]["name"]) == (1_234, [], "connected wallet")
    await has(instance, key, 1_234)
    await right(instance)


async def test_every_payment_opens_an_account_of_its_own(instance: Instance) -> None:
    """Whatever else there is: nobody's payment gets into another's account."""
    told = await asyncio.gather(*(connected(instance, amountSats=10) for _ in range(4)))
    keys = [{"x-api-key": each["apiKey"]} for _, each in told]
    mine = [(await instance.http.get(ME, headers=key)).json() for key in keys]
    assert len({me["accountId"] for me in mine}) == 4
    assert {me["points"] for me in mine} == {10}


async def test_the_key_is_shown_until_it_is_used(instance: Instance) -> None:
    """As often as it is asked for; after its first use never again."""
    made, told = await connected(instance)
    assert await standing(instance, made) == told
    await instance.http.get(ME, headers={"x-api-key": told["apiKey"]})
    after = await standing(instance, made)
    assert after["status"] == "COMPLETED" and "apiKey" not in after
    assert "not shown again" in after["message"]


async def test_the_key_is_shown_for_a_quarter_of_an_hour(database_url: str, tmp_path: Path) -> None:
    """From the first time on: who comes late for the first time has paid, and gets it."""
    clock = Clock()
    async with instance_of(database_url, tmp_path, clock=clock) as at:
        made = await asked(at)
        await at.pay(made)
        await booked(at)
        clock.forward(hours=5)
        first = await standing(at, made)
        assert first["status"] == "COMPLETED", first
        clock.forward(minutes=14)
        assert (await standing(at, made))["apiKey"] == first["apiKey"]
        clock.forward(minutes=2)
        assert "apiKey" not in await standing(at, made)
        shown = await at.http.get(ME, headers={"x-api-key": first["apiKey"]})
        assert shown.status_code == 200


async def test_a_key_that_was_rotated_is_not_shown(instance: Instance) -> None:
    """The request's key is no key any more."""
    made, told = await connected(instance)
    key = {"x-api-key": told["apiKey"]}
    mine = (await instance.http.get(ME, headers=key)).json()["apiKey"]["id"]
    rotated = await instance.post(f"/api/v1/user/apikeys/{mine}/rotate", headers=key)
    assert rotated.status_code == 200
    assert "apiKey" not in await standing(instance, made)


async def test_the_secret_may_change_before_the_key_is_fetched(
    database_url: str, tmp_path: Path
) -> None:
    """It was made with the one of before, which is still there."""
    old, new = "an-old-secret-of-the-operator-000", "a-new-secret-of-the-operator-0000"
    async with instance_of(database_url, tmp_path, BOLTWORK_SECRET=old) as at:
        made = await asked(at)
        await at.pay(made)
        await booked(at)
    async with instance_of(database_url, tmp_path, BOLTWORK_SECRET=f"{new},{old}") as at:
        told = await standing(at, made)
        shown = await at.http.get(ME, headers={"x-api-key": told["apiKey"]})
        assert shown.status_code == 200


async def test_nothing_that_others_see_fetches_the_key(instance: Instance) -> None:
    """The account's id, the payment's hash, the preimage, and what the database keeps of it."""
    made, told = await connected(instance)
    paid = await instance.post(f"/api/dev/stub/pay/{made['paymentHash']}")
    me = (await instance.http.get(ME, headers={"x-api-key": told["apiKey"]})).json()
    rows = await instance.built.db.read_all("SELECT id FROM connect_request")
    kept = [row["id"] for row in rows]
    assert made["requestId"] not in kept
    others = (me["accountId"], made["paymentHash"], paid.json().get("preimage", ""), *kept, "0")
    for other in others:
        for shown in (other, other[:32]):
            refused(await instance.http.get(f"{STATUS}/{shown or '0'}"), 404, "no request")


async def test_what_is_not_paid_in_time_has_expired(database_url: str, tmp_path: Path) -> None:
    """And it is as good when it is paid after all: the invoice says which one it was."""
    clock = Clock()
    async with instance_of(database_url, tmp_path, clock=clock) as at:
        made = await asked(at)
        clock.forward(hours=2)
        assert (await standing(at, made))["status"] == "EXPIRED"
        await at.pay(made, late=True)
        async for look in patiently("it is never connected"):
            look.saw = told = await standing(at, made)
            if told["status"] == "COMPLETED":
                break
            clock.forward(seconds=30)
        await has(at, {"x-api-key": told["apiKey"]}, 1_000)


async def test_what_can_not_be_asked_for_is_refused(instance: Instance) -> None:
    """In the surface's envelope."""
    for body, says in (
        ({"tokenAddress": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"}, "'lightning' or 0x"),
        ({"tokenAddress": "bitcoin"}, "'lightning'"),
        ({"amountSats": 0}, "'amountSats'"),
        ({"amountSats": 10**8}, "'amountSats'"),
        ({"token": "lightning"}, "'token' is not known"),
    ):
        refused(await instance.post(INITIATE, body), 400, says)


async def test_new_accounts_are_counted(database_url: str, tmp_path: Path) -> None:
    """By the address that asks for them, paid or not."""
    async with instance_of(database_url, tmp_path, ACCOUNTS_PER_HOUR="2") as at:
        for _ in range(2):
            await asked(at)
        refused(await at.post(INITIATE, {}), 429, "2 new accounts")


async def test_an_amount_on_a_chain_opens_an_account_too(instance: Instance) -> None:
    """Exactly that amount; from an address that opens an account already it goes to that one."""
    usdc = instance.built.usdc
    assert usdc is not None
    made = await asked(instance, tokenAddress=usdc.network.token)
    assert made["tokenAddress"] == usdc.network.token and made["depositToAddress"] == usdc.pay_to
    whole, _, millionths = made["magicAmount"].partition(".")
    amount = int(whole + millionths)
    assert len(millionths) == 6 and LEAST_MICROUSDC <= amount <= MOST_MICROUSDC
    sent = Sent(instance, stub_of(instance))
    await sent.send(Payer("another").address, amount + 1)
    assert (await standing(instance, made))["status"] == "PENDING"
    await sent.send(Payer("payer").address, amount)
    told = await standing(instance, made)
    assert told["status"] == "COMPLETED", told
    me = (await instance.http.get(ME, headers={"x-api-key": told["apiKey"]})).json()
    assert (me["points"], round(me["balanceUsdc"] * 10**6)) == (0, amount)
    both = await instance.post(INITIATE, {"tokenAddress": usdc.network.token, "amountSats": 5})
    refused(both, 400, "for Lightning alone")
    await right(instance)
