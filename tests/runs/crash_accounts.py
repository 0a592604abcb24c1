"""What the holder of an account does who buys images, each step so that it may be done again.

Money is paid in, the balance pays for the images, what was not delivered is on it again, and all of
it is taken out: in sats by an invoice, or in USDC by the wallet that opens the account.
"""

from tests.runs import crash_batches as batches
from tests.runs import crash_holder as holder
from tests.runs import crash_people as people
from tests.runs import crash_usdc as usdc
from tests.runs.crash_buyer import Buyer, Json
from tests.world.usdc_fixtures import Payer

MORE_SATS, MORE_MICROUSDC = 50, 20_000  # than the images cost


async def in_sats(buyer: Buyer, body: Json = batches.BODY) -> None:
    """Pay sats in, have them pay for the images, and take out what is left."""
    quote = await _entered(buyer, body)
    deposit = {"amountSats": quote["priceSats"] + MORE_SATS}
    asked = await buyer.send("/api/account/deposits", deposit, f"{buyer.key} deposit")
    assert asked.status_code == 201, asked.text
    await buyer.pay(asked.json()["invoice"])
    await holder.booked(buyer, asked.json()["invoice"])
    await _bought(buyer, body)
    rest = buyer.made.setdefault("rest", (await buyer.show())["balanceSats"])
    await _taken_out(buyer, {"amountSats": rest})
    await buyer.take_refunds()


async def in_usdc(buyer: Buyer, body: Json = batches.BODY) -> None:
    """Pay USDC in, have it pay for the images, and take out what is left, to the same wallet."""
    quote = await _entered(buyer, body)
    await buyer.until_ready()
    payer, stub = Payer(buyer.key), usdc.stub_of(buyer)
    try:
        await people.join_wallet(buyer, payer.key)
        deposit = {"amountUsdc": _usdc(round(quote["estimatedCost"] * 1e6) + MORE_MICROUSDC)}
        where = "/api/account/deposits"
        offer = await usdc.offered(buyer, deposit, where)
        await usdc.ordered(buyer, payer, offer, deposit, where)
        settled = "SELECT 1 FROM usdc_authorization WHERE state = 'settled'"
        await buyer.until_there(settled, usdc.TAKEN_OVER_S, leaps=1)
        batch_id = await _bought(buyer, body)
        left = round((await buyer.show())["balanceUsdc"] * 1e6)
        await _taken_out(buyer, {"amountUsdc": _usdc(buyer.made.setdefault("rest", left))})
        await usdc.has_the_rest(buyer, stub, payer, batch_id)
    finally:
        await stub.close()


async def _entered(buyer: Buyer, body: Json) -> Json:
    """Log in, and return what the images would cost."""
    assert await people.entered(buyer, people.FIRST)
    quote = await buyer.call("POST", "/api/jobs/quote", json=body)
    assert quote.status_code == 200, quote.text
    return dict(quote.json())


async def _bought(buyer: Buyer, body: Json) -> str:
    """Have the account pay for the images, and see them to their end; return their job."""
    answer = await buyer.send("/api/jobs", body, f"{buyer.key} batch")
    assert answer.status_code == 201, answer.text
    batch_id = str(answer.json()["jobId"])
    buyer.path = f"/api/jobs/{batch_id}"
    await batches.ended(buyer)
    await batches.downloaded(buyer)
    buyer.path = "/api/account"
    return batch_id


async def _taken_out(buyer: Buyer, amount: Json) -> None:
    sent = await buyer.send("/api/account/withdrawals", amount, f"{buyer.key} rest")
    assert sent.status_code == 201, sent.text


def _usdc(microusdc: int) -> str:
    return f"{microusdc // 1_000_000}.{microusdc % 1_000_000:06}"
