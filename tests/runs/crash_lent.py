"""What somebody does who lends a machine, each step so that it may be done again after a crash.

A buyer's pictures are made by that machine alone: one is given back, one fails, the others are
brought and paid for. Then the worker is new no more, and all of its pay is sent to it. And another
buyer's picture, that workers alone make, is made by none: what he paid is his again.
"""

import hashlib
import io

from PIL import Image

from tests.runs import crash_batches as batches
from tests.runs.crash_buyer import Buyer, Json
from tests.runs.crash_server import MAKES_NOTHING
from tests.world.patience import patiently

AT = "/api/v1/workers"
SIDE, COLOURS = 256, 97
BODY: Json = {
    "defaults": {"model": "scene-1", "width": SIDE, "height": SIDE},
    "images": [{"prompt": f"a cat, {number}"} for number in range(22)] + [{"prompt": "BREAK"}],
}
LENT = {
    "WORKERS": "true",
    "WORKER_PAYOUT_SATS": "20",
    "WORKER_CANARY_EVERY": "0",
    MAKES_NOTHING: "1",
}
ALONE = {  # workers make what is sold, or nobody does
    "WORKERS": "true",
    "WORKER_CANARY_EVERY": "0",
    MAKES_NOTHING: "alone",
}
MODEL, TOO_LONG_S = "chroma", 1_000
A_WEEK_S = 8 * 86_400


async def lent(buyer: Buyer) -> None:
    """Lend a machine that makes what a buyer wants, and see all of its pay arrive."""
    await _registered(buyer)
    await _keyed(buyer)
    await batches.ordered(buyer, BODY)
    await buyer.pay(buyer.made["batch"])
    await _worked(buyer)
    answer = await buyer.post("cancel")
    assert answer.status_code in (200, 409), answer.text
    await batches.ended(buyer)
    await buyer.take_refunds()
    # What is free and too little to be sent by itself; what is held is sent when it is freed.
    await _worker(buyer, "POST", f"{AT}/me/payouts", key=f"{buyer.key} pay", json={})
    await _banned_and_back(buyer)
    await _matured(buyer)
    await _paid(buyer)


async def abandoned(buyer: Buyer) -> None:
    """Buy a picture of a model that workers alone make, of whom the only one goes away."""
    await _registered(buyer)
    if "batch" not in buyer.made:  # it is sold while one is there
        asks: Json = {"models": [MODEL], "maxPixels": 2048**2}
        await _worker(buyer, "POST", f"{AT}/claims", json=asks)
        size: Json = {"model": MODEL, "width": SIDE, "height": SIDE}
        await batches.ordered(buyer, {"defaults": size, "images": [{"prompt": "a cat"}]})
    await buyer.pay(buyer.made["batch"])
    await buyer.until_there("SELECT 1 FROM batch WHERE state = 'failed'", TOO_LONG_S)
    await batches.ended(buyer)
    await buyer.take_refunds()


async def _worker(buyer: Buyer, method: str, path: str, key: str = "", **more: Json) -> Json:
    """Ask as the worker; refusals of a lease that has ended are answers too."""
    headers = {"Authorization": f"Bearer {buyer.made['token']}"}
    if key:
        headers["Idempotency-Key"] = key
    answer = await buyer.call(method, path, headers=headers, **more)
    assert answer.status_code in (200, 201, 402, 409, 410), answer.text
    return Json(answer.json())


async def _registered(buyer: Buyer) -> None:
    """Register, until the token is known: however often that is, it makes one worker."""
    if "token" in buyer.made:
        return
    secret = hashlib.sha256(buyer.key.encode()).hexdigest()
    body = {"name": "lent", "payTo": buyer.wallet.url, "secret": secret}
    headers = {"Idempotency-Key": f"{buyer.key} a machine to lend"}
    answer = await buyer.call("POST", AT, headers=headers, json=body)
    assert answer.status_code == 201, answer.text
    assert not await buyer.books.ask("SELECT 1 FROM worker HAVING count(*) > 1")
    buyer.made["token"] = answer.json()["token"]


async def _keyed(buyer: Buyer) -> None:
    """Get the worker's key for the other dialect; who has lost the answer asks for another."""
    if "key" not in buyer.made:
        key = (await _worker(buyer, "POST", f"{AT}/me/horde-key"))["apiKey"]
        answer = await buyer.call("GET", "/api/v2/find_user", headers={"apikey": key})
        assert answer.status_code == 200, answer.text
        buyer.made["key"] = key


async def _worked(buyer: Buyer) -> None:
    """Make what waits until nothing of it is left; what was held before a crash comes first."""
    if "worked" in buyer.done:
        return
    open_items = (  # what it has given back is another worker's turn, and there is none
        "SELECT 1 FROM item WHERE state IN ('claimed', 'processing')"
        " OR (state = 'pending' AND tried = '{}')"
    )
    async for look in patiently("not all is made", pause_s=0.01):
        look.saw = me = await _worker(buyer, "GET", f"{AT}/me")
        leases = me["leases"]
        if not leases:
            asks: Json = {"models": ["scene-1"], "maxPixels": 2048**2, "wait": 1}
            asks["most"] = 1 + me["delivered"] % 2  # by itself, and with whoever asks meanwhile
            leases = (await _worker(buyer, "POST", f"{AT}/claims", json=asks))["leases"]
        for lease in leases:
            await _made(buyer, lease)
        if not leases and not await buyer.books.ask(open_items):
            break
        if not leases:  # whoever has died holds it
            buyer.outwait_the_dead(batches.SILENT_S)
    buyer.done.add("worked")


async def _made(buyer: Buyer, lease: Json) -> None:
    where, prompt = f"/api/v1/leases/{lease['leaseId']}", lease["input"]["prompt"]
    if prompt == "BREAK":
        await _worker(buyer, "POST", f"{where}/fail", json={"reason": "It is too much."})
        return
    if "given back" not in buyer.done:
        await _worker(buyer, "POST", f"{where}/release")
        buyer.done.add("given back")
        return
    await _worker(buyer, "POST", f"{where}/heartbeat", json={"progress": 50})
    headers = {"Authorization": f"Bearer {buyer.made['token']}", "Content-Type": "image/png"}
    number = int(prompt.rpartition(" ")[2])
    answer = await buyer.call("PUT", f"{where}/result", content=painted(number), headers=headers)
    assert answer.status_code in (200, 409, 410, 503), answer.text


def painted(number: int, size: tuple[int, int] = (SIDE, SIDE)) -> bytes:
    """Return a picture of one colour."""
    kept = io.BytesIO()
    Image.new("RGB", size, (number * 37 % 256, number * COLOURS % 256, 9)).save(kept, "PNG")
    return kept.getvalue()


async def _banned_and_back(buyer: Buyer) -> None:
    """The operator bans the worker, and takes it again."""
    me = await _worker(buyer, "GET", f"{AT}/me")
    if me["state"] == "online" and "banned" not in buyer.done:
        await buyer.operate("workers", "ban", me["workerId"])
        me = await _worker(buyer, "GET", f"{AT}/me")
    buyer.done.add("banned")
    if me["state"] == "banned":
        await buyer.operate("workers", "readmit", me["workerId"])
    await _worker(buyer, "PATCH", f"{AT}/me", json={"state": "online"})


async def _matured(buyer: Buyer) -> None:
    if "a week" not in buyer.done:
        buyer.done.add("a week")
        buyer.clock.forward(A_WEEK_S)
    trusted = "SELECT 1 FROM worker WHERE trusted_at IS NOT NULL"
    await buyer.until_there(trusted, leaps=0)


async def _paid(buyer: Buyer) -> None:
    """Wait until all of it has arrived, by itself."""
    paid = "SELECT 1 WHERE NOT EXISTS (SELECT FROM payout WHERE state <> 'paid')"
    await buyer.until_there(paid)


DO = {"lent": (lent, LENT), "abandoned": (abandoned, ALONE)}
