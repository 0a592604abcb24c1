"""A buyer who pays in USDC by a signed order, and goes on after every crash with the same one."""

import time

import httpx2

from payments.siwe import personal_digest
from payments.usdc.address import Address
from payments.usdc.authorization import signature_of
from payments.usdc.network import BASE_SEPOLIA
from payments.usdc.payment import UsdcOffer
from payments.usdc.stub_chain import FAUCET
from payments.usdc.stub_facilitator import FILE, StubFacilitator, UsdcFault
from payments.usdc.x402 import read_header
from pricing.money import MicroUsdc
from tests.runs import crash_batches as batches
from tests.runs.crash_buyer import DEAD_AFTER_S, Buyer, Json
from tests.runs.crash_world import StubSide
from tests.world.patience import patiently
from tests.world.usdc_fixtures import Payer, header

IMAGE = {"images": [{"model": "scene-1", "prompt": "a small red boat on a lake"}]}
MANY = {"images": [{"model": "scene-1", "prompt": f"SLOWLY {n} boats"} for n in range(60)]}
IN_PART: Json = {  # what of these is not made costs more than the least that is sent
    "defaults": {"model": "scene-1"},
    "images": [{"prompt": said} for said in ("a cat", "REFUSE", "BREAK", "REFUSE it", "a dog")],
}
PATH = "/api/jobs"
TAKEN_OVER_S = 35  # when another process looks at an order that one has died over
EXPIRED_S = 300
SENT = MicroUsdc(700_000)
REFUND_EXPIRED_S = 700  # longer than an order of ours may be used


async def paid_in_usdc(buyer: Buyer) -> None:
    """An image that is paid for by one order, however often that is sent."""
    await _bought(buyer)


async def answer_lost(buyer: Buyer) -> None:
    """The facilitator settles the order, and its answer is lost: the chain says it. Another order
    for the same purchase, by its key, is answered with what the first one has bought."""
    await _bought(buyer, "cut", signs_anew=True)


async def declined(buyer: Buyer) -> None:
    """The facilitator declines the first order; the second one buys, and the first expires."""
    await _bought(buyer, "declined")
    if "expired" not in buyer.done:
        buyer.done.add("expired")
        buyer.clock.forward(EXPIRED_S)
    await buyer.until_there(
        "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM usdc_authorization WHERE state = 'claimed')"
    )


async def refunded(buyer: Buyer) -> None:
    """Twelve images that are cancelled: what was not made goes back to the address that paid."""
    await buyer.until_ready()
    payer, stub = Payer(buyer.key), stub_of(buyer)
    try:
        made = await ordered(buyer, payer, await offered(buyer, MANY), MANY)
        token = {"Authorization": f"Bearer {made['sessionToken']}"}
        if "cancelled" not in buyer.done:
            path = f"{PATH}/{made['jobId']}/cancel"
            answer = await buyer.call("POST", path, headers=token)
            assert answer.status_code == 200, answer.text
            buyer.done.add("cancelled")
        await has_the_rest(buyer, stub, payer, made["jobId"])
    finally:
        await stub.close()


async def taken_back(buyer: Buyer) -> None:
    """The facilitator says that a refund was sent, and the chain forgets it: once it can't be sent
    any more it is owed again, and the next order moves it."""
    payer, stub = Payer(buyer.key), stub_of(buyer)
    try:
        if "reorganised" not in buyer.done:
            buyer.done.add("reorganised")
            await stub.script_fault("settle", "slow")  # the buyer's own order, and no slower
            await stub.script_fault("settle", "reorganised")
        made = await made_in_part(buyer, payer, IN_PART)
        await buyer.until_there(
            "SELECT 1 FROM usdc_attempt WHERE txid IS NOT NULL OR outcome = 'returned'"
        )
        if "expired" not in buyer.done:
            buyer.done.add("expired")
            buyer.clock.forward(REFUND_EXPIRED_S)
        await buyer.until_there(
            "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM payout WHERE state <> 'paid')"
            " OR EXISTS (SELECT 1 FROM usdc_attempt WHERE outcome = 'returned')"
        )
        await buyer.hurry()  # it is sent again after a pause
        await has_the_rest(buyer, stub, payer, made["jobId"])
    finally:
        await stub.close()


async def kept_silent(buyer: Buyer) -> None:
    """Whoever is handed a refund keeps silent, and nothing moves: others go on meanwhile, until it
    is handed over once more.
    """
    payer, stub = Payer(buyer.key), stub_of(buyer)
    try:
        if "silent" not in buyer.done:
            buyer.done.add("silent")
            await stub.script_fault("settle", "slow")  # the buyer's own order, and no slower
            await stub.script_fault("settle", "5xx", times=1_000)
        made = await made_in_part(buyer, payer, IN_PART)
        if "heard" not in buyer.done:
            query = "SELECT 1 FROM usdc_attempt WHERE NOT in_hand"
            await buyer.until_there(query, TAKEN_OVER_S, leaps=3)
            await stub.clear_faults()
            buyer.done.add("heard")
        await has_the_rest(buyer, stub, payer, made["jobId"])
    finally:
        await stub.close()


async def delivered_in_part(buyer: Buyer, body: Json = IN_PART) -> None:
    """Images of which some are never made: each that is made is read, and what the others cost goes
    back to the address that paid."""
    payer, stub = Payer(buyer.key), stub_of(buyer)
    try:
        made = await made_in_part(buyer, payer, body)
        await has_the_rest(buyer, stub, payer, made["jobId"])
    finally:
        await stub.close()


async def sent(buyer: Buyer) -> None:
    """A stranger sends USDC as a wallet does, twice: all is his once he signs in, and goes back."""
    await buyer.until_ready()
    payer, stub = Payer(), stub_of(buyer)
    try:
        offer = await offered(buyer, IMAGE)
        await buyer.until_there("SELECT 1 FROM chain_block")
        for number, name in enumerate(("sent once", "sent twice"), start=1):
            if name not in buyer.done:
                await stub.send(BASE_SEPOLIA, payer.address, offer.pay_to, SENT)
                buyer.done.add(name)
            count = f"SELECT 1 FROM usdc_deposit HAVING count(*) >= {number}"
            await buyer.until_there(count)
        buyer.headers["Authorization"] = f"Bearer {await signed_in(buyer, payer)}"
        taken = await buyer.send("/api/account/withdrawals", {"amountUsdc": "1.4"}, "all")
        assert taken.status_code == 201, taken.text
        await buyer.until_there("SELECT 1 FROM payout WHERE state = 'paid'")
        left = await stub.ledger(BASE_SEPOLIA).balance_microusdc(payer.address)
        assert left == FAUCET, f"{left} are left"
    finally:
        await stub.close()


async def signed_in(buyer: Buyer, payer: Payer) -> str:
    """Sign in with a wallet, by a new message each time; return the token."""
    async for look in patiently("nobody is let in", pause_s=0.2):
        address = {"address": payer.address}
        told = (await buyer.call("GET", "/api/auth/nonce", params=address)).json()
        signature = signature_of(payer.key, personal_digest(told["message"]))
        body = {"message": told["message"], "signature": signature}
        answer = await buyer.call("POST", "/api/auth/siwe", json=body)
        look.saw = answer.text
        if answer.status_code == 200:
            break
    return str(answer.json()["sessionToken"])


async def made_in_part(buyer: Buyer, payer: Payer, body: Json) -> dict[str, str]:
    """Pay by an order, and see the images to their end; return what the answer to it said."""
    buyer.headers.pop("Authorization", None)
    await buyer.until_ready()
    made = await ordered(buyer, payer, await offered(buyer, body), body)
    buyer.headers["Authorization"] = f"Bearer {made['sessionToken']}"
    buyer.path = f"{PATH}/{made['jobId']}"
    await batches.ended(buyer)
    await batches.downloaded(buyer)
    return made


async def has_the_rest(buyer: Buyer, stub: StubFacilitator, payer: Payer, batch_id: str) -> None:
    """Wait until all that is owed in USDC is paid: the payer has all but what was charged."""
    owed = f"SELECT 1 FROM payout WHERE refund_to LIKE '%:{payer.address}' AND state"
    await buyer.until_there(
        f"SELECT 1 WHERE EXISTS ({owed} = 'paid') AND NOT EXISTS ({owed} <> 'paid')"
    )
    [batch] = await buyer.books.ask(f"SELECT charged_amount FROM batch WHERE id = '{batch_id}'")
    left = await stub.ledger(BASE_SEPOLIA).balance_microusdc(payer.address)
    assert left == FAUCET - batch["charged_amount"], f"{left} are left"


async def _bought(
    buyer: Buyer, fault: UsdcFault | None = None, *, signs_anew: bool = False
) -> None:
    await buyer.until_ready()
    payer = Payer(buyer.key)
    stub = stub_of(buyer)
    try:
        if fault is not None and "faulty" not in buyer.done:
            buyer.done.add("faulty")
            await stub.script_fault("settle", fault)
        offer = await offered(buyer)
        made = await ordered(buyer, payer, offer)
        if signs_anew:
            answer = await _sent(buyer, _order(buyer, payer, offer, "anew"), IMAGE, PATH)
            assert answer.json()["jobId"] == made["jobId"], answer.text
        await _made(buyer, made["jobId"], made["sessionToken"])
        left = await stub.ledger(BASE_SEPOLIA).balance_microusdc(payer.address)
        assert left == FAUCET - offer.amount_microusdc, f"{left} are left"
    finally:
        await stub.close()


def stub_of(buyer: Buyer) -> StubFacilitator:
    """Return the stub whose file the server has too."""
    assert isinstance(buyer.side, StubSide)
    return StubFacilitator(buyer.side.folder / FILE, buyer.clock)


async def offered(buyer: Buyer, asked: Json = IMAGE, path: str = PATH) -> UsdcOffer:
    """Return what is asked for, as a 402 has said once."""
    if "offer" not in buyer.made:
        async for look in patiently("there is no offer but", pause_s=0.2):
            answer = await buyer.call("POST", path, json=asked)
            look.saw = answer.text
            if answer.status_code == 402 and "PAYMENT-REQUIRED" in answer.headers:
                break
        told = read_header(answer.headers["PAYMENT-REQUIRED"])
        assert told is not None
        buyer.made["offer"] = told["accepts"][0]
    said = buyer.made["offer"]
    amount = MicroUsdc(int(said["amount"]))
    return UsdcOffer(BASE_SEPOLIA, Address(said["payTo"]), amount, said["maxTimeoutSeconds"])


async def ordered(
    buyer: Buyer, payer: Payer, offer: UsdcOffer, asked: Json = IMAGE, path: str = PATH
) -> dict[str, str]:
    """Send the order until it is taken; where it paid nothing, send another one."""
    for name in ("first", "second"):
        answer = await _sent(buyer, _order(buyer, payer, offer, name), asked, path)
        if answer.status_code in (201, 202):
            return dict(answer.json())
        assert answer.status_code == 402, answer.text
        assert answer.json()["retry_action"] == "resign", answer.text
    raise AssertionError(f"neither order was taken: {answer.text}")


def _order(buyer: Buyer, payer: Payer, offer: UsdcOffer, name: str) -> str:
    """Return an order that is signed once."""
    if name not in buyer.made:
        now_s = int(buyer.clock().timestamp())
        payer.signed = len(buyer.made)  # another nonce for each
        before_s = now_s + offer.window_s
        buyer.made[name] = header(payer.pays(offer, now_s, valid_before_s=before_s))
    return str(buyer.made[name])


async def _sent(buyer: Buyer, order: str, asked: Json, path: str) -> httpx2.Response:
    # With its key the answer to a second sending has a token of the account too.
    headers = {"PAYMENT-SIGNATURE": order, "Idempotency-Key": buyer.key}
    async for look in patiently("the order is not taken", pause_s=0.2):
        answer = await buyer.call("POST", path, json=asked, headers=headers)
        look.saw = answer.text
        if answer.status_code != 503:
            break
    return answer


async def _made(buyer: Buyer, batch_id: str, token: str) -> None:
    """Wait until the image is made; of an order that nobody works on any more, time must pass."""
    began_s, told = time.monotonic(), ""
    async for look in patiently("the image is never made", pause_s=0.1):
        holder = {"Authorization": f"Bearer {token}"}
        answer = await buyer.call("GET", f"/api/jobs/{batch_id}", headers=holder)
        assert answer.status_code == 200, answer.text
        look.saw = told = str(answer.json()["job"]["status"])
        if told not in ("queued", "processing"):
            break
        if time.monotonic() - began_s > DEAD_AFTER_S and "taken over" not in buyer.done:
            buyer.done.add("taken over")
            buyer.clock.forward(TAKEN_OVER_S)
    assert told == "completed", answer.text
