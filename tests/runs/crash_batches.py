"""What a buyer of images does over HTTP, each step so that it may be done again after a crash.

One item is delivered, one refused for good and one never made. Whoever held an item when the server
died is not heard of any more: time passes until another has it.
"""

from tests.runs import crash_holder as holder
from tests.runs.crash_buyer import Buyer, Json
from tests.world.patience import patiently

ENDED = ("completed", "failed", "cancelled")
SILENT_S = 40  # longer than a lease holds
SWEPT_S = 7 * 3_600  # longer than bytes are spared whose row was not written
BODY: Json = {
    "defaults": {"model": "scene-1"},
    "images": [{"prompt": prompt} for prompt in ("a cat", "REFUSE", "BREAK", "a dog")],
}
AWAY: Json = {"defaults": {"model": "scene-1"}, "images": [{"prompt": "AWAY"}, {"prompt": "BREAK"}]}


async def bought(buyer: Buyer, body: Json = BODY) -> None:
    """Buy a batch with an invoice, see its files, and take back what was not delivered."""
    await ordered(buyer, body)
    await buyer.pay(buyer.made["batch"])
    await ended(buyer)
    await downloaded(buyer)
    await buyer.take_refunds()


async def given_back(buyer: Buyer) -> None:
    """Buy a batch whose maker can't be asked at first: what was claimed is given back."""
    await bought(buyer, AWAY)


async def given_up(buyer: Buyer) -> None:
    """Buy a batch, and give it up at once: what nobody holds is not made."""
    await ordered(buyer)
    await buyer.pay(buyer.made["batch"])
    answer = await buyer.post("cancel")
    assert answer.status_code in (200, 409), answer.text
    await ended(buyer)
    await buyer.until(lambda said: said["refundState"] != "not_applicable" or _has_all(said))
    await buyer.take_refunds()


async def on_a_session(buyer: Buyer, body: Json = BODY) -> None:
    """Have a session's balance pay for a batch, and take its rest at the end."""
    await holder.opened(buyer)
    session = buyer.path
    answer = await buyer.send("/api/jobs", body, f"{buyer.key} batch")
    assert answer.status_code == 201, answer.text
    buyer.path = f"/api/jobs/{answer.json()['jobId']}"
    await ended(buyer)
    buyer.path = session
    await holder.closed(buyer)


async def silent(buyer: Buyer) -> None:
    """So much time passes that whoever held an item is not waited for, nor its bytes kept."""
    buyer.clock.forward(SWEPT_S)


async def ordered(buyer: Buyer, body: Json = BODY) -> None:
    """Order the batch under one key: it has one invoice, however often it is ordered."""
    if "batch" in buyer.made:
        return
    answer = await buyer.send("/api/jobs", body, buyer.key)
    assert answer.status_code == 402, answer.text
    offer: Json = answer.json()
    buyer.path = "/api/jobs/" + offer["instance"].rpartition("/")[2]
    buyer.made["batch"] = offer


async def ended(buyer: Buyer) -> Json:
    """Wait until the batch has ended; where nothing moves, whoever held an item has died.

    Or, after a death, is slow: time leaps seldom, or whoever makes an item loses it three times.
    """
    etag, said, still = "", Json(), 0
    async for look in patiently("the batch does not end", pause_s=0.1):
        named = {"If-None-Match": etag} if etag else {}
        answer = await buyer.call("GET", buyer.path, params={"wait": "1"}, headers=named)
        if answer.status_code == 304:
            if still % 10 == 0:
                buyer.outwait_the_dead(SILENT_S)
            still += 1
            continue
        assert answer.status_code == 200, answer.text
        look.saw = said = Json(answer.json())
        still = 0
        etag = answer.headers.get("etag", "")
        if said["job"]["status"] in ENDED:
            break
    return said


async def downloaded(buyer: Buyer) -> None:
    """Read each file that was delivered, unless it has expired."""
    for item in (await buyer.show())["images"]:
        if item["status"] == "completed":
            file = await buyer.call("GET", "/api/" + item["url"].partition("/api/")[2])
            assert file.status_code in (200, 410), file.text


def _has_all(said: Json) -> bool:
    return bool(said["job"]["succeeded_images"] == len(BODY["images"]))
