"""Races for images and films between two server processes: each function is one round.

Whoever wins, an item is made once, an order is settled once, and what was paid is charged for what
was delivered, or owed back.
"""

import asyncio
import random
from collections import Counter
from typing import Any

import httpx2

from payments.usdc.x402 import RESPONSE, SIGNATURE
from tests.runs import crash_batches as batches
from tests.runs import crash_holder as holder
from tests.runs import crash_usdc as usdc
from tests.runs.crash_buyer import Buyer, Json
from tests.runs.crash_server import ForkedServer
from tests.runs.race_pair import Pair, alternating, crowd
from tests.world.paying import credential, payment_in
from tests.world.usdc_fixtures import Payer, header

PATH = "/api/jobs"
ALL_IN_S = 3.0  # by then a whole crowd has been heard
DEAD_AFTER_S = 1  # what the servers here take for death

# Where whoever makes an item, or sends a refund, may stand still while others go on.
MAKER_STANDS = (
    "commit leases.claim: after", "commit leases.beat: after", "press recode: after",
    "store put: after", "commit leases.submit: before", "commit leases.submit: after",
    "commit leases.fail: before", "commit leases.decline: before",
)  # fmt: skip
SENDER_STANDS = (
    "keep SendUsdc: before", "commit usdc_payouts.order: after", "facilitator settle: before",
    "facilitator settle: after", "chain use_of: after", "commit usdc_payouts.settle: before",
)  # fmt: skip


def images(count: int, prompt: str = "a cat") -> Json:
    """Return an order of so many images."""
    said = [{"prompt": f"{prompt}, {n}"} for n in range(count)]
    return {"defaults": {"model": "scene-1"}, "images": said}


# ------------------------------------------------------------------------------- over Lightning


async def items_of_one_batch(pair: Pair) -> None:
    """Makers in both processes claim from one batch: each item is made by one of them."""
    async with pair.buyer() as buyer:
        await batches.bought(buyer, images(24))
        assert (await buyer.show())["job"]["succeeded_images"] == 24


async def cancel_against_claims(pair: Pair) -> str:
    """What nobody holds yet is not made; what was delivered is charged, the rest is owed back."""
    async with pair.buyer() as buyer, pair.buyer(1) as other:
        await batches.ordered(buyer, images(12, "SLOWLY a cat"))
        other.path = buyer.path
        await buyer.pay(buyer.made["batch"])
        await buyer.until(lambda said: said["job"]["status"] != "awaiting_payment")
        await asyncio.sleep(random.uniform(0, 0.6))
        answer = await other.post("cancel")
        assert answer.status_code in (200, 409), answer.text
        said = await batches.ended(buyer)
        counted = said["job"]
        if counted["status"] == "cancelled":
            await buyer.until(lambda said: bool(said.get("refunds")))
        await buyer.take_refunds()
    return f"{counted['status']}, {counted['succeeded_images']} of 12"


async def cancel_against_payment(pair: Pair) -> str:
    """Cancelled before it is paid, and the payment owed back; or paid for, and then cancelled."""
    async with pair.buyer() as buyer, pair.buyer(1) as other:
        await batches.ordered(buyer, images(2))
        other.path = buyer.path

        async def cancel() -> httpx2.Response:
            await asyncio.sleep(random.uniform(0, 0.25))  # a payment is seen after about so long
            return await other.post("cancel")

        answer, _ = await asyncio.gather(cancel(), buyer.pay(buyer.made["batch"]))
        assert answer.status_code in (200, 409), answer.text
        await holder.booked(buyer, buyer.made["batch"])
        said = await batches.ended(buyer)
        assert (said["job"]["status"] == "completed") or answer.status_code == 200
        await buyer.take_refunds()
    return f"{said['job']['status']}, {said['job']['succeeded_images']} of 2"


async def proofs_of_one_batch(pair: Pair, count: int = 30) -> None:
    """Many proofs of one purchase at once, of both kinds: one batch, and equal answers."""
    async with pair.buyer() as buyer, crowd() as http:
        body = images(2)
        offer = await buyer.send(PATH, body, buyer.key)
        await buyer.pay(offer.json())
        preimage = buyer.preimages[offer.json()["paymentRequest"]]
        lines = offer.headers["www-authenticate"]
        macaroon = lines.partition('macaroon="')[2].partition('"')[0]
        shown = [
            {"Authorization": f"L402 {macaroon}:{preimage}"},
            {"Authorization": f"Payment {credential(payment_in(lines), preimage)}"},
        ]
        answers = await asyncio.gather(
            *(
                http.post(url + PATH, json=body, headers=shown[n // 2 % 2])
                for n, url in enumerate(alternating(pair, count))
            )
        )
        assert {answer.status_code for answer in answers} == {201}, answers
        assert len({answer.text for answer in answers}) == 1
        buyer.path = f"{PATH}/{answers[0].json()['jobId']}"
        assert offer.json()["instance"].endswith(buyer.path)
        await batches.ended(buyer)


async def leases_let_lapse_by_two(pair: Pair) -> str:
    """Time leaps while items are made, so that both sweeps let go of what their makers still hold:
    each is made once all the same, or three of its holders were too slow."""
    async with pair.buyer() as buyer:
        await batches.ordered(buyer, images(6, "SLOWLY a cat"))
        await buyer.pay(buyer.made["batch"])
        ending = asyncio.create_task(batches.ended(buyer))
        while not ending.done():
            await asyncio.sleep(random.uniform(0.1, 0.7))
            pair.clock.forward(batches.SILENT_S)
        counted = (await ending)["job"]
        await buyer.take_refunds()
    return f"{counted['succeeded_images']} of 6"


# ------------------------------------------------------------------------------------- in USDC


async def _signed(buyer: Buyer, body: Json, payer: Payer) -> dict[str, str]:
    """Return the header of a new order for this, as long as it may be used."""
    offer, now_s = await usdc.offered(buyer, body), int(buyer.clock().timestamp())
    before_s = now_s + offer.window_s
    return {SIGNATURE: header(payer.pays(offer, now_s, valid_before_s=before_s))}


async def _bought_once(pair: Pair, buyer: Buyer, payer: Payer, said: list[Json]) -> None:
    """See that all of these are one purchase, whose order was settled and which is made."""
    tokens = [each["sessionToken"] for each in said if "sessionToken" in each]
    assert len({each["jobId"] for each in said}) == 1, said
    buyer.headers = {"Authorization": f"Bearer {tokens[0]}"}
    buyer.path = f"{PATH}/{said[0]['jobId']}"
    ended = await batches.ended(buyer)
    assert ended["job"]["status"] == "completed", ended
    mine = f"id LIKE '%{payer.address}%'"
    orders = await pair.books.ask(f"SELECT state FROM usdc_authorization WHERE {mine}")
    assert [row["state"] for row in orders] == ["settled"], orders
    made = await pair.books.ask(f"SELECT 1 FROM batch WHERE payer = 'evm:{payer.address}'")
    assert len(made) == 1


async def one_order_many_times(pair: Pair, count: int = 100) -> None:
    """One signed order, sent many times at once to both: one settlement, one batch, and equal
    answers. One of them has the payer's token; the others may be whoever read the order."""
    async with pair.buyer() as buyer, crowd() as http:
        body, payer = images(2), Payer(buyer.key)
        paying = await _signed(buyer, body, payer)

        async def send(url: str) -> httpx2.Response:
            return await http.post(url + PATH, json=body, headers=paying)

        answers = await asyncio.gather(*map(send, alternating(pair, count)))
        said = [answer.json() for answer in answers]
        told = Counter((answer.status_code, answer.headers[RESPONSE]) for answer in answers)
        assert [status for status, _ in told] == [201], told
        assert sum("sessionToken" in each for each in said) == 1
        shapes = [{**each, "sessionToken": None} for each in said]
        assert all(each == shapes[0] for each in shapes), said
        await _bought_once(pair, buyer, payer, said)
        later = [await send(server.url) for server in pair.servers]
        assert {(one.status_code, one.headers[RESPONSE]) for one in later} == {*told}
        assert {one.json()["jobId"] for one in later} == {said[0]["jobId"]}


async def order_without_an_answer(pair: Pair, count: int = 20) -> str:
    """The facilitator settles it and its answer is lost: it is pending until the chain says so,
    never a second 402, and it is made."""
    async with pair.buyer() as buyer, crowd() as http:
        body, payer, stub = images(2), Payer(buyer.key), usdc.stub_of(buyer)
        paying = await _signed(buyer, body, payer)
        try:
            await stub.script_fault("settle", "cut")
        finally:
            await stub.close()
        answers = await asyncio.gather(
            *(http.post(url + PATH, json=body, headers=paying) for url in alternating(pair, count))
        )
        told = Counter(answer.status_code for answer in answers)
        assert set(told) <= {201, 202}, told
        pending = [one for one in answers if one.status_code == 202]
        assert all(one.json()["retry_action"] == "poll" for one in pending)
        await _bought_once(pair, buyer, payer, [answer.json() for answer in answers])
    return f"{told[202]} were told that it is pending"


async def orders_for_one_thing(pair: Pair, count: int = 20) -> None:
    """Many orders with a nonce each, by one who has had no answer yet: one is settled, and all are
    told of what it bought, or to come again as it was answered at that moment."""
    async with pair.buyer() as buyer, crowd() as http:
        body, payer, stub = images(2), Payer(buyer.key), usdc.stub_of(buyer)
        try:
            await stub.script_fault("settle", "slow", delay_s=ALL_IN_S)
        finally:
            await stub.close()
        signed = [await _signed(buyer, body, payer) for _ in range(count)]
        named = {"Idempotency-Key": buyer.key}
        answers = await asyncio.gather(
            *(
                http.post(url + PATH, json=body, headers=paying | named)
                for url, paying in zip(alternating(pair, count), signed, strict=True)
            )
        )
        told = Counter(answer.status_code for answer in answers)
        assert set(told) <= {201, 503} and told[201], told
        said = [answer.json() for answer in answers if answer.status_code == 201]
        assert all("sessionToken" in each for each in said), "each holds the payer's own key"
        await _bought_once(pair, buyer, payer, said)


async def order_cancelled_in_part(pair: Pair) -> str:
    """A batch in USDC is cancelled while it is made: what was not made is back on the chain."""
    async with pair.buyer() as buyer, pair.buyer(1) as other:
        body, payer, stub = images(40, "SLOWLY a cat"), Payer(buyer.key), usdc.stub_of(buyer)
        offer = await usdc.offered(buyer, body)
        made = await usdc.ordered(buyer, payer, offer, body)
        buyer.headers = other.headers = {"Authorization": f"Bearer {made['sessionToken']}"}
        buyer.path = other.path = f"{PATH}/{made['jobId']}"
        await asyncio.sleep(random.uniform(0, 0.6))
        assert (await other.post("cancel")).status_code == 200
        counted = (await batches.ended(buyer))["job"]
        try:
            await usdc.has_the_rest(buyer, stub, payer, made["jobId"])
        finally:
            await stub.close()
    return f"{counted['succeeded_images']} of 40"


# ------------------------------------------------------------------- who stands still, and goes on


async def paused(pair: Pair, place: str) -> None:
    """One that makes items and sends refunds stands still for longer than a lease holds, and others
    do both; then it goes on: nothing is made, charged or sent a second time."""
    first, second = pair.servers
    await second.kill()
    await second.start(worker=False)
    await first.kill()
    await first.start(pause_at=place)
    third = ForkedServer(first.folder, first.database_url, first.environment)
    async with pair.buyer(1) as buyer:
        going = asyncio.create_task(usdc.delivered_in_part(buyer))
        try:
            standing = asyncio.create_task(first.stopped())
            await asyncio.wait({going, standing}, return_when=asyncio.FIRST_COMPLETED)
            if going.done():
                going.result()  # what went wrong before anybody stood still
            assert await standing, f"it never passed {place}"
            await third.start()
            if place in MAKER_STANDS:
                pair.clock.forward(batches.SILENT_S)
                await going
            else:
                await asyncio.sleep(2 * DEAD_AFTER_S)  # for this long it is dead to the others
                await buyer.until_there(
                    "SELECT 1 FROM payout WHERE asset = 'microusdc' AND state = 'paid'"
                    f" AND refund_to LIKE '%{Payer(buyer.key).address}'"
                )
            first.go_on()
            await going
        finally:
            await third.kill()
            await second.kill()
            await second.start()


RACES: dict[str, Any] = {
    "items of one batch": items_of_one_batch,
    "cancel of a batch against claims": cancel_against_claims,
    "cancel of a batch against payment": cancel_against_payment,
    "proofs of one batch": proofs_of_one_batch,
    "leases let lapse by two": leases_let_lapse_by_two,
    "one order in USDC many times": one_order_many_times,
    "order in USDC without an answer": order_without_an_answer,
    "orders in USDC for one thing": orders_for_one_thing,
    "batch in USDC cancelled in part": order_cancelled_in_part,
}
