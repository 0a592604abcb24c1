"""The third door of a 402: pictures and films bought for USDC, by signed orders (x402)."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from db import ledger
from db.audit import audit
from payments.usdc.stub_chain import FAUCET
from payments.usdc.stub_facilitator import FILE, StubFacilitator
from pricing.money import MicroUsdc
from statemachine.entries import RAIL_USDC, Asset
from tests.world.batch_doors import ended, sold_by
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance
from tests.world.patience import PATIENCE_S, patiently
from tests.world.scripted_maker import ScriptedMaker
from tests.world.usdc_doors import asked_in, signed, told_in
from tests.world.usdc_fixtures import Payer

BULK = {"images": [{"prompt": "a cat"}, {"prompt": "a dog"}]}
ONE = {"model": "nano-banana-pro", "prompt": "a garden", "aspect_ratio": "16:9"}
FILM, ASK = "/v1/videos/generate", "/api/ask"
DOORS = (("/api/jobs", BULK, 201, "jobId", 50_000), ("/v1/images/generate", ONE, 202, "id", 50_000))


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Instance]:
    """An instance that sells images and films, beside a stub of the second rail."""
    async with sold_by(database_url, tmp_path, ScriptedMaker()) as running:
        yield running


@pytest.fixture
async def stub(shop: Instance) -> AsyncIterator[StubFacilitator]:
    """The stub, for its faults."""
    made = StubFacilitator(shop.built.settings.data / FILE, shop.built.clock)
    yield made
    await made.close()


async def spent(shop: Instance, payer: Payer) -> int:
    """Return what a payer has paid on the chain: what our books say came in."""
    usdc = shop.built.usdc
    assert usdc is not None
    balance = await usdc.ledger.balance_microusdc(payer.address)
    assert isinstance(balance, int)
    assert [finding.line for finding in await audit(shop.built.db)] == []
    return FAUCET - balance


@pytest.mark.parametrize(("path", "body", "status", "name", "price"), DOORS)
async def test_what_has_a_price_in_dollars_is_sold_for_usdc(
    shop: Instance, path: str, body: dict[str, Any], status: int, name: str, price: int
) -> None:
    """The 402 asks for exactly that, in its header and in its body, after the two ways over
    Lightning. The same request with a signed order is answered with what was bought and with the
    transaction; sent again, with the same. The chain's balances are those of the books."""
    payer = Payer()
    offered = await shop.post(path, body)
    asked, problem = asked_in(offered), offered.json()
    assert offered.status_code == 402 and offered.headers["cache-control"] == "no-store"
    assert [line.split()[0] for line in offered.headers.get_list("www-authenticate")] == [
        "L402",
        "Payment",
    ]
    assert asked["accepts"] == problem["accepts"] and asked["x402Version"] == 2
    assert asked["accepts"][0]["amount"] == str(price) and asked["resource"]["url"].endswith(path)
    assert "PAYMENT-SIGNATURE" in problem["next"]
    paying = signed(shop, payer, asked)
    bought = await shop.post(path, body, headers=paying)
    assert bought.status_code == status, bought.text
    told = told_in(bought)
    assert told["success"] and told["payer"] == payer.address and told["amount"] == str(price)
    again = await shop.post(path, body, headers=paying)
    assert again.json()[name] == bought.json()[name] and told_in(again) == told
    await ended(shop, bought.json()[name], token=bought.json().get("sessionToken"))
    assert await spent(shop, payer) == price
    rests = await ledger.balance(shop.built.db, RAIL_USDC.name, Asset.MICROUSDC)
    assert rests == price
    assert await ledger.balance(shop.built.db, "revenue:media", Asset.MICROUSDC) == price


async def test_a_payment_that_pays_nothing_is_answered_with_why_and_what_to_do(
    shop: Instance, stub: StubFacilitator
) -> None:
    """Spoiled, for another amount, or of a payer without money: a 402 that offers all doors again,
    says what to do, and that nothing was paid."""
    payer = Payer()
    asked = asked_in(await shop.post("/api/jobs", BULK))
    for paying, code, action in (
        ({"PAYMENT-SIGNATURE": "nonsense"}, "invalid_payload", "resign"),
        (signed(shop, payer, asked, amount_microusdc=MicroUsdc(1)), "mismatch", "resign"),
    ):
        refused = await shop.post("/api/jobs", BULK, headers=paying)
        assert refused.status_code == 402 and asked_in(refused)["accepts"] == asked["accepts"]
        told, problem = told_in(refused), refused.json()
        assert told["success"] is False and code in told["errorReason"]
        assert (problem["retry_action"], problem["payment_state"]) == (action, "not_paid")
    await stub.script_fault("settle", "declined")
    poor = await shop.post("/api/jobs", BULK, headers=signed(shop, payer, asked))
    assert poor.status_code == 402 and "insufficient_balance" in told_in(poor)["errorReason"]
    assert await spent(shop, payer) == 0


@pytest.mark.parametrize(("path", "body", "status", "name", "price"), DOORS)
async def test_a_facilitator_that_times_out_after_settling_is_no_second_402(
    shop: Instance,
    stub: StubFacilitator,
    path: str,
    body: dict[str, Any],
    status: int,
    name: str,
    price: int,
) -> None:
    """202 with the id, which can be polled; the batch begins, and is paid for once."""
    payer = Payer()
    asked = asked_in(await shop.post(path, body))
    await stub.script_fault("settle", "cut")
    pending = await shop.post(path, body, headers=signed(shop, payer, asked))
    assert pending.status_code == 202 and pending.json()["payment_state"] == "unknown"
    assert told_in(pending)["errorReason"] == "settlement_pending"
    assert told_in(pending)["success"] is False and pending.json()["retry_action"] == "poll"
    assert pending.json().get("status", "pending") == "pending"  # there is nothing left to pay
    await ended(shop, pending.json()[name], token=pending.json().get("sessionToken"))
    assert await spent(shop, payer) == price


async def test_a_buyer_whose_answer_was_cut_and_who_signs_anew_pays_once(
    shop: Instance, stub: StubFacilitator
) -> None:
    """As a stock client does that gives up before it is answered: the same job, charged once."""
    payer = Payer()
    asked = asked_in(await shop.post("/api/jobs", BULK))
    await stub.script_fault("settle", "slow", delay_s=0.5)
    async with httpx2.AsyncClient(base_url=shop.url, trust_env=False, timeout=PATIENCE_S) as hasty:
        going = asyncio.create_task(
            hasty.post("/api/jobs", json=BULK, headers=signed(shop, payer, asked))
        )
        async for _ in patiently("it never pays", pause_s=0.01):
            if await spent(shop, payer):  # and the facilitator has not said so yet
                break
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
    second = await shop.post("/api/jobs", BULK, headers=signed(shop, payer, asked))
    assert second.status_code == 201 and told_in(second)["success"]
    assert await spent(shop, payer) == 50_000


async def test_who_pays_for_a_job_has_a_token_of_the_wallets_account(shop: Instance) -> None:
    """The 201 has one, for seven days: it opens that wallet's account. What was settled is public:
    sent again, it has none, unless the key of the first comes with it; a new order has one."""
    payer, key = Payer(), {"Idempotency-Key": "a key that nobody guesses"}
    asked = asked_in(await shop.post("/api/jobs", BULK))
    paying = signed(shop, payer, asked)
    bought = await shop.post("/api/jobs", BULK, headers=paying)
    token = bought.json()["sessionToken"]
    told = await shop.http.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert told.status_code == 200 and payer.address in told.text
    assert "sessionToken" not in (await shop.post("/api/jobs", BULK, headers=paying)).json()
    named = signed(shop, payer, asked) | key
    first = (await shop.post("/api/jobs", BULK, headers=named)).json()
    again = (await shop.post("/api/jobs", BULK, headers=named)).json()
    assert first["jobId"] == again["jobId"] != bought.json()["jobId"]
    assert len({token, first["sessionToken"], again["sessionToken"]}) == 3
    one = await shop.post("/v1/images/generate", ONE, headers=signed(shop, payer, asked))
    assert one.status_code == 202 and "sessionToken" not in one.json()
    page = signed(shop, payer, asked) | {"Sec-Fetch-Site": "same-origin"}
    shown = await shop.post("/api/jobs", {"images": [{"prompt": "x"}] * 2}, headers=page)
    assert shown.headers["set-cookie"].startswith(f"session={shown.json()['sessionToken']};")


async def test_an_order_is_good_for_what_it_bought_when_its_time_is_over(
    database_url: str, tmp_path: Path
) -> None:
    """For an hour it is answered with what it bought, after its window too. Nobody is asked to sign
    anew for what is paid; but one that was never claimed has expired."""
    clock, payer = Clock(), Payer()
    async with sold_by(database_url, tmp_path, ScriptedMaker(), clock=clock) as shop:
        asked = asked_in(await shop.post("/api/jobs", BULK))
        paying, unused = (signed(shop, payer, asked) for _ in range(2))
        bought = await shop.post("/api/jobs", BULK, headers=paying)
        clock.forward(minutes=50)
        again = await shop.post("/api/jobs", BULK, headers=paying)
        assert again.status_code == 201 and again.json()["jobId"] == bought.json()["jobId"]
        over = await shop.post("/api/jobs", BULK, headers=unused)
        assert over.status_code == 402 and "valid_before" in told_in(over)["errorReason"]


@pytest.fixture
def spoiled() -> list[str]:
    """Headers that are no payment, each in another way."""
    whole = {
        "x402Version": 2,
        "accepted": {"scheme": "exact", "network": "eip155:84532"},
        "payload": {"signature": "0x" + "ab" * 65, "authorization": {"from": "0x" + "1" * 40}},
    }
    told: list[object] = [
        None,
        [],
        {},
        0,
        "x",
        {"x402Version": 2},
        {**whole, "accepted": []},
        whole,
    ]
    payloads: tuple[object, ...] = (None, [], {}, {"authorization": []})
    told += [{**whole, "payload": payload} for payload in payloads]
    texts = [base64.b64encode(json.dumps(each).encode()).decode() for each in told]
    return [*texts, "", "=", "e30", "\u00ff", "A" * 20_000, base64.b64encode(b"[" * 9000).decode()]


async def test_whatever_is_sent_as_a_payment_is_answered(
    shop: Instance, spoiled: list[str]
) -> None:
    """Never a fault: a 402 that says what is wrong, by every door; and two at once are one too
    many."""
    for path, body, *_ in DOORS:
        for sent in spoiled:
            headers = {b"PAYMENT-SIGNATURE": sent.encode("latin-1")}
            answer = await shop.http.post(path, json=body, headers=headers)
            assert answer.status_code in (402, 400, 431), (sent[:40], answer.text)
            assert "PAYMENT-REQUIRED" in answer.headers or answer.status_code != 402
    two = [("PAYMENT-SIGNATURE", spoiled[0]), ("PAYMENT-SIGNATURE", spoiled[1])]
    twice = await shop.http.post("/api/jobs", json=BULK, headers=two)
    assert twice.status_code == 402 and "sent twice" in twice.json()["detail"]


async def test_what_is_not_delivered_goes_back_to_the_address_that_paid(shop: Instance) -> None:
    """By itself, in USDC, to the last millionth: on the chain the buyer has paid for what there is,
    and what we hold is what the books say."""
    payer, body = Payer(), {"images": [{"prompt": "a cat"}, {"prompt": "REFUSE this"}]}
    asked = asked_in(await shop.post("/api/jobs", body))
    bought = (await shop.post("/api/jobs", body, headers=signed(shop, payer, asked))).json()
    job = await ended(shop, bought["jobId"], token=bought["sessionToken"])
    assert job["job"]["actual_cost"] == 0.025
    async for look in patiently("it never comes back", pause_s=0.05):
        look.saw = paid = await spent(shop, payer)
        if paid == 25_000:
            break
    assert await ledger.balance(shop.built.db, RAIL_USDC.name, Asset.MICROUSDC) == 25_000


async def test_agents_find_what_is_sold_for_usdc(shop: Instance) -> None:
    """Each address that is listed answers a 402 that asks for USDC on that chain."""
    listed = (await shop.http.get("/.well-known/x402")).json()["resources"]
    by_path = {each["path"]: each for each in listed}
    film = {"model": "veo-3.1-fast", "prompt": "a cat", "mode": "t2v"}
    bodies = {**{path: body for path, body, *_ in DOORS}, FILM: film, ASK: {"request": "hello"}}
    credits = {"/api/v1/jobs"}  # where an account is asked for first
    assert {*bodies} < {*by_path} and credits < {*by_path}
    for path, body in bodies.items():
        each = by_path[path]
        [offered] = asked_in(await shop.post(path, body))["accepts"]
        assert (offered["network"], offered["asset"]) == (each["caip2"], each["asset"])
        assert offered["scheme"] == each["scheme"] and each["network"] == "base-sepolia"
