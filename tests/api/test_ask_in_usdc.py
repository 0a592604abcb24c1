"""An agent's job bought for USDC by the call (x402): firm, in dollars, and what it didn't need is
back with its payer.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from db import ledger
from db.audit import audit
from payments.usdc.stub_chain import FAUCET
from payments.usdc.stub_facilitator import FILE, StubFacilitator
from pricing.rates import Usage
from statemachine.entries import RAIL_USDC, Asset
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import PATIENCE_S, patiently
from tests.world.scripted_agent import ScriptedAgent
from tests.world.usdc_doors import asked_in, signed, told_in
from tests.world.usdc_fixtures import Payer

ASKED = {"request": "what is rain?"}
DEAR: dict[str, Any] = {
    "MODEL_PRICES": "smollm2-135m-instruct=100/400"
}  # so that what is left is worth sending


@pytest.fixture
async def shop(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent
) -> AsyncIterator[Instance]:
    """An instance whose agent's words are dear, beside a stub of the second rail."""
    async with instance_of(database_url, tmp_path, agent=scripted_agent, **DEAR) as running:
        yield running
        scripted_agent.go.set()


async def has(shop: Instance, payer: Payer) -> int:
    """Return what a payer has on the chain."""
    usdc = shop.built.usdc
    assert usdc is not None
    balance = await usdc.ledger.balance_microusdc(payer.address)
    assert isinstance(balance, int)
    return balance


async def books(shop: Instance, name: str) -> int:
    """Return what the books in USDC say of an account; all of them are right."""
    assert [finding.line for finding in await audit(shop.built.db)] == []
    return await ledger.balance(shop.built.db, name, Asset.MICROUSDC)


async def ended(shop: Instance, job_id: str) -> dict[str, Any]:
    """Wait until a job has ended, and all that it owes has arrived."""
    said = await shop.until(job_id, "complete", "rejected", "failed")
    async for look in patiently("it is not refunded", pause_s=0.05):
        look.saw = said = await shop.job(job_id)
        if all(owed["refundState"] == "paid" for owed in said.get("refunds", ())):
            break
    return said


def in_usdc(text: str) -> int:
    """Return an amount of USDC in its smallest unit."""
    whole, _, rest = text.partition(".")
    assert len(rest) == 6
    return int(whole + rest)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_job_is_bought_for_usdc(
    shop: Instance, scripted_agent: ScriptedAgent, method: str
) -> None:
    """The 402 asks for its price in dollars beside both ways over Lightning. A signed order is
    answered with the result and the transaction; the same again with the same job, made once. What
    the work did not need goes back on the chain, to the millionth."""

    async def ask(**headers: str) -> Any:
        how: dict[str, Any] = {"params": ASKED} if method == "GET" else {"json": ASKED}
        return await shop.http.request(method, "/api/ask", headers=headers, **how)

    payer, offered = Payer(), await ask()
    asked = asked_in(offered)
    assert [line.split()[0] for line in offered.headers.get_list("www-authenticate")] == [
        "L402",
        "Payment",
    ]
    assert asked["accepts"] == offered.json()["accepts"]
    price = int(asked["accepts"][0]["amount"])
    paying = signed(shop, payer, asked)
    bought = await ask(**paying)
    assert bought.status_code == 200, bought.text
    said, told = bought.json(), told_in(bought)
    assert told["success"] and told["payer"] == payer.address and told["amount"] == str(price)
    assert said["result"] == "done: what is rain?" and said["paidWith"] == "x402"
    again = await ask(**paying)
    assert again.json()["jobId"] == said["jobId"] and told_in(again) == told
    assert scripted_agent.calls["work", ASKED["request"]] == 1
    shown = await ended(shop, said["jobId"])
    charged = in_usdc(shown["chargedUsdc"])
    assert in_usdc(shown["priceUsdc"]) == price and 0 < charged < price
    [back] = shown["refunds"]
    assert in_usdc(back["amountUsdc"]) == price - charged and back["transaction"].startswith("0x")
    assert await has(shop, payer) == FAUCET - charged
    earned = await books(shop, "revenue:eval") + await books(shop, "revenue:work")
    assert earned == charged == await books(shop, RAIL_USDC.name)
    receipt = (await shop.http.get(f"/api/jobs/{said['jobId']}/receipt")).json()["payload"]
    assert (receipt["paidMicrousdc"], receipt["chargedMicrousdc"]) == (price, charged)
    async with httpx2.AsyncClient(base_url=shop.url, timeout=PATIENCE_S) as browser:
        page = await browser.get(f"/jobs/{said['jobId']}")
    assert page.status_code == 200 and f"{shown['chargedUsdc']}</span> USDC" in page.text


async def test_another_request_is_another_purchase(
    shop: Instance, scripted_agent: ScriptedAgent
) -> None:
    """At the same address by GET, too; a payment for one is none for the other, and is a 409."""
    first, second = ({"request": text} for text in ("what is rain?", "and snow?"))
    payer = Payer()
    asked = asked_in(await shop.http.get("/api/ask", params=first))
    paying = signed(shop, payer, asked)
    bought = await shop.http.get("/api/ask", params=first, headers=paying)
    other = await shop.http.get("/api/ask", params=second, headers=paying)
    assert bought.status_code == 200 and other.status_code in (402, 409), other.text
    priced = asked_in(await shop.http.get("/api/ask", params=second))
    paying = signed(shop, payer, priced)
    also = await shop.http.get("/api/ask", params=second, headers=paying)
    assert also.json()["jobId"] != bought.json()["jobId"]
    assert scripted_agent.calls["work", "and snow?"] == 1
    for each in (bought, also):
        await ended(shop, each.json()["jobId"])
    assert await books(shop, RAIL_USDC.name) == FAUCET - await has(shop, payer)


@pytest.mark.parametrize(
    ("request_", "state", "earns"),
    [("REJECT this", "rejected", "revenue:eval"), ("BREAK-WORK", "failed", None)],
)
async def test_what_is_not_done_is_back_with_its_payer(
    shop: Instance, request_: str, state: str, earns: str | None
) -> None:
    """Rejected: all but the evaluation; failed: all of it."""
    payer, body = Payer(), {"request": request_}
    asked = asked_in(await shop.post("/api/ask", body))
    bought = await shop.post("/api/ask", body, headers=signed(shop, payer, asked))
    shown = await ended(shop, bought.json()["jobId"])
    assert shown["state"] == state
    kept = FAUCET - await has(shop, payer)
    assert kept == in_usdc(shown["chargedUsdc"]) == await books(shop, RAIL_USDC.name)
    assert kept == (await books(shop, earns) if earns else 0)


async def test_less_than_a_cent_is_on_the_balance_of_who_paid(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent
) -> None:
    """It isn't sent: no payout is owed, and the account of the address has it."""
    scripted_agent.usage = Usage(50, 1_000)
    async with instance_of(database_url, tmp_path, agent=scripted_agent) as shop:
        payer = Payer()
        asked = asked_in(await shop.post("/api/ask", ASKED))
        bought = await shop.post("/api/ask", ASKED, headers=signed(shop, payer, asked))
        shown = await ended(shop, bought.json()["jobId"])
        left = in_usdc(shown["priceUsdc"]) - in_usdc(shown["chargedUsdc"])
        assert 0 < left < 10_000 and "refunds" not in shown
        rows = await shop.built.db.read_all("SELECT account_id FROM job WHERE funding = 'x402'")
        assert await books(shop, f"user:{rows[0]['account_id']}") == left
        assert await books(shop, RAIL_USDC.name) == FAUCET - await has(shop, payer)


async def test_a_facilitator_that_times_out_after_settling_is_no_second_402(
    shop: Instance, scripted_agent: ScriptedAgent
) -> None:
    """A 202 that says so, and the job begins by itself, once; the payer is asked for nothing."""
    stub = StubFacilitator(shop.built.settings.data / FILE, shop.built.clock)
    payer = Payer()
    asked = asked_in(await shop.post("/api/ask", ASKED))
    await stub.script_fault("settle", "cut")
    paying = signed(shop, payer, asked)
    bought = await shop.post("/api/ask", ASKED, headers=paying)
    assert bought.status_code == 202, bought.text
    told = told_in(bought)
    assert (told["success"], told["errorReason"]) == (False, "settlement_pending")
    assert bought.json()["payment_state"] == "unknown"
    shown = await ended(shop, bought.json()["jobId"])
    assert shown["state"] == "complete"
    assert scripted_agent.calls["work", ASKED["request"]] == 1
    again = await shop.post("/api/ask", ASKED, headers=paying)
    assert again.status_code == 200 and again.json()["jobId"] == bought.json()["jobId"]
    assert await books(shop, RAIL_USDC.name) == FAUCET - await has(shop, payer)
    await stub.close()


async def test_a_payment_that_pays_nothing_is_a_402_that_says_why(shop: Instance) -> None:
    """With all doors again, and nothing is written that anybody would have to pay for."""
    asked = asked_in(await shop.post("/api/ask", ASKED))
    refused = await shop.post("/api/ask", ASKED, headers={"PAYMENT-SIGNATURE": "nonsense"})
    assert refused.status_code == 402 and asked_in(refused)["accepts"] == asked["accepts"]
    assert refused.json()["payment_state"] == "not_paid"
    stub = StubFacilitator(shop.built.settings.data / FILE, shop.built.clock)
    await stub.script_fault("settle", "declined")
    poor = await shop.post("/api/ask", ASKED, headers=signed(shop, Payer(), asked))
    assert poor.status_code == 402 and told_in(poor)["success"] is False
    assert await books(shop, RAIL_USDC.name) == 0
    await stub.close()


async def test_what_costs_more_than_the_buyers_limit_is_not_sold(shop: Instance) -> None:
    """A 409 before anything is claimed."""
    asked = asked_in(await shop.post("/api/ask", ASKED))
    payer, dear = Payer(), {**ASKED, "maxSats": 1}
    refused = await shop.post("/api/ask", dear, headers=signed(shop, payer, asked))
    assert refused.status_code == 409 and await has(shop, payer) == FAUCET
