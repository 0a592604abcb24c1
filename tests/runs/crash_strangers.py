"""What those do whom nobody knows yet, each step so that it may be done again after a crash: who
connects a wallet by paying from it, sends USDC unasked, or signs in once and never comes back.
"""

import json
from typing import Any

import httpx2

from payments.siwe import personal_digest
from payments.usdc.address import Address
from payments.usdc.authorization import signature_of
from payments.usdc.network import BASE_SEPOLIA
from payments.usdc.stub_chain import FAUCET
from payments.usdc.stub_facilitator import StubFacilitator
from pricing.money import MicroUsdc, microusdc_of
from tests.runs import crash_people as people
from tests.runs import crash_usdc as usdc
from tests.runs.crash_buyer import LONG, Buyer, Json
from tests.runs.crash_chain import mined_anew
from tests.world.patience import patiently
from tests.world.usdc_fixtures import Payer

CONNECT = "/api/v1/wallets/connect"
SATS = 1_000
UNUSED_S = 9 * 86_400  # longer than an account is kept that was only signed in to
GIVEN = MicroUsdc(700_000)
CONTRACTS = "0x" + "00" * 100  # as long as no key's signature is


async def paid_on_a_chain(buyer: Buyer) -> None:
    """A wallet sends exactly what it was asked for: its account is open, and it takes all back."""
    await buyer.until_ready()
    payer, stub = Payer(), usdc.stub_of(buyer)
    try:
        await buyer.until_there("SELECT 1 FROM chain_block")
        made = await _asked(buyer, tokenAddress=BASE_SEPOLIA.token)
        amount = microusdc_of(made["magicAmount"])
        await _sent(buyer, stub, payer, Address(made["depositToAddress"]), amount)
        buyer.headers["x-api-key"] = await _connected(buyer, made)
        await people.join_wallet(buyer, payer.key)
        await _all_back(buyer, stub, payer, made["magicAmount"])
    finally:
        await stub.close()


async def paid_too_late(buyer: Buyer) -> None:
    """A request over Lightning lapses and is paid afterwards: what was paid is not lost."""
    made = await _asked(buyer)
    if "waited" not in buyer.done:
        buyer.done.add("waited")
        buyer.clock.forward(LONG)
    if "lapsed" not in buyer.done:
        await buyer.until_there("SELECT 1 FROM connect_request WHERE state = 'lapsed'")
        buyer.done.add("lapsed")
    await buyer.pay(made | {"paymentRequest": made["depositToAddress"]})
    buyer.clock.forward(LONG)  # the sweep's next question, where the push was missed
    buyer.headers["x-api-key"] = await _connected(buyer, made)
    await _tried(buyer, "POST", "/api/account/withdrawals", {"amountSats": SATS}, "all of it")
    buyer.path = "/api/account"
    await buyer.take_refunds()


async def given_by_the_operator(buyer: Buyer) -> None:
    """Somebody sends USDC from an address that he can't sign with; the operator, who knows that it
    is his, gives it to his account.
    """
    await buyer.until_ready()
    sender, payer, stub = Payer("an exchange"), Payer(), usdc.stub_of(buyer)
    try:
        offer = await usdc.offered(buyer, usdc.IMAGE)
        await buyer.until_there("SELECT 1 FROM chain_block")
        await _sent(buyer, stub, sender, offer.pay_to, GIVEN)
        await buyer.until_there("SELECT 1 FROM usdc_deposit")
        assert await people.entered(buyer, people.FIRST)
        await people.join_wallet(buyer, payer.key)
        account_id = (await _tried(buyer, "GET", "/api/account")).json()["accountId"]
        for row in json.loads(await buyer.operate("deposits", "--json"))["unclaimed"]:
            await buyer.operate("deposits", "give", row["id"], account_id)
        await _all_back(buyer, stub, payer, "0.7", more=GIVEN)
    finally:
        await stub.close()


async def reorganised(buyer: Buyer) -> None:
    """A transfer that was read is in another block afterwards: it is taken in once."""
    await buyer.until_ready()
    payer, stub = Payer(), usdc.stub_of(buyer)
    try:
        offer = await usdc.offered(buyer, usdc.IMAGE)
        await buyer.until_there("SELECT 1 FROM chain_block")
        for number, name in enumerate(("first", "second"), start=1):
            await _sent(buyer, stub, payer, offer.pay_to, GIVEN, name)
            await buyer.until_there(f"SELECT 1 FROM usdc_deposit HAVING count(*) >= {number}")
        if "reorganised" not in buyer.done:
            buyer.done.add("reorganised")
            assert buyer.side.chain is not None
            mined_anew(buyer.side.chain, buyer.made["second"])
        await buyer.until_there("SELECT 1 FROM usdc_deposit WHERE block = 3 AND gone_at IS NULL")
        buyer.headers["Authorization"] = f"Bearer {await usdc.signed_in(buyer, payer)}"
        await _all_back(buyer, stub, payer, "1.4")
    finally:
        await stub.close()


async def never_back(buyer: Buyer) -> None:
    """A wallet signs in once, and has nothing: its account is forgotten, and it has another one."""
    if "signed in" not in buyer.done:
        await usdc.signed_in(buyer, Payer())
        buyer.done.add("signed in")
        buyer.clock.forward(UNUSED_S)
    if "forgotten" not in buyer.done:
        query = "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM user_account)"
        await buyer.until_there(query, leap_s=3_601)  # it is looked for every hour
        buyer.done.add("forgotten")
    await usdc.signed_in(buyer, Payer())
    assert len(await buyer.books.ask("SELECT 1 FROM user_account")) == 1


async def not_its_contract(buyer: Buyer) -> None:
    """What no key has signed, and no contract calls its own, lets nobody in; the key does."""
    await buyer.until_ready()
    payer = Payer()
    address = {"address": payer.address}
    told = (await _tried(buyer, "GET", "/api/auth/nonce", params=address)).json()
    body = {"message": told["message"], "signature": CONTRACTS}
    refused = await _tried(buyer, "POST", "/api/auth/siwe", body, expected=401)
    assert "signature" in refused.json()["error"], refused.text
    body["signature"] = signature_of(payer.key, personal_digest(told["message"]))
    if "let in" not in buyer.done:
        await _tried(buyer, "POST", "/api/auth/siwe", body)
        buyer.done.add("let in")


async def withdrawn(buyer: Buyer) -> None:
    """The operator withdraws a spell that others have published, and shows it again."""
    at, slug = "/api/v1/spells/postcard", "postcard"
    await buyer.until_ready()
    await buyer.operate("spells", "hide", slug, "Its pictures are not what it says.")
    assert "hidden" in (await _tried(buyer, "GET", at)).json()
    await buyer.operate("spells", "show", slug)
    assert "hidden" not in (await _tried(buyer, "GET", at)).json()


async def _asked(buyer: Buyer, **body: str) -> Json:
    """Return what is to be paid; where its answer was lost, of another request."""
    if "asked" not in buyer.made:
        answer = await _tried(buyer, "POST", f"{CONNECT}/initiate", dict(body))
        buyer.made["asked"] = answer.json()
    return Json(buyer.made["asked"])


async def _connected(buyer: Buyer, made: Json) -> str:
    """Wait until what was asked for is paid; return the key, which is shown for a while."""
    if "key" not in buyer.made:
        async for look in patiently("it is never connected", pause_s=0.2):
            answer = await _tried(buyer, "GET", f"{CONNECT}/status/{made['requestId']}")
            look.saw = told = answer.json()
            if told["status"] == "COMPLETED":
                break
        buyer.made["key"] = told["apiKey"]
    return str(buyer.made["key"])


async def _sent(
    buyer: Buyer,
    stub: StubFacilitator,
    payer: Payer,
    to: Address,
    amount: MicroUsdc,
    name: str = "sent",
) -> None:
    """Send USDC without a signed order, once; nothing of it dies with a server."""
    if name not in buyer.made:
        buyer.made[name] = await stub.send(BASE_SEPOLIA, payer.address, to, amount)


async def _all_back(
    buyer: Buyer, stub: StubFacilitator, payer: Payer, amount: str, more: int = 0
) -> None:
    """Take USDC out, and see that a payer has what he had, or so much more."""
    await _tried(buyer, "POST", "/api/account/withdrawals", {"amountUsdc": amount}, "all")
    await buyer.until_there("SELECT 1 FROM payout WHERE state = 'paid'")
    left = await stub.ledger(BASE_SEPOLIA).balance_microusdc(payer.address)
    assert left == FAUCET + more, f"{left} are left"


async def _tried(
    buyer: Buyer,
    method: str,
    path: str,
    body: Json | None = None,
    key: str = "",
    *,
    expected: int = 200,
    **more: Any,
) -> httpx2.Response:
    """Ask until there is an answer; what was done by a server that ended then may be done."""
    named = {"Idempotency-Key": key} if key else {}
    async for look in patiently("there is no answer but", pause_s=0.2):
        answer = await buyer.call(method, path, json=body, headers=named, **more)
        look.saw = answer.text
        if answer.status_code != 503:
            break
    assert answer.status_code in (expected, 201 if key else expected), answer.text
    return answer
