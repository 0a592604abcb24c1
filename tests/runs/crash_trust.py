"""What becomes of a worker that brings junk, each step so that it may be done again after a crash.

One worker makes what a buyer wants. Another brings plain pictures whatever is asked of it: what the
house asks it for, in the words of the first buyer, finds it out, and its own buyer is made whole.
"""

from collections.abc import Awaitable, Callable

from tests.runs.crash_buyer import Buyer, Json
from tests.runs.crash_lent import AT, painted
from tests.runs.crash_server import MAKES_NOTHING
from tests.world.patience import patiently

SIDE = 256
CANARIES = {"WORKERS": "true", "WORKER_CANARY_EVERY": "1", MAKES_NOTHING: "1"}
AMENDS = "SELECT 1 FROM payout WHERE reason = 'not made as asked'"


async def found_out(buyer: Buyer) -> None:
    """Have a worker found out, and take back what it has forfeited."""
    await _lends(buyer, "honest")
    await _lends(buyer, "liar")
    await _bought(buyer, "first", "SQUARES in a row")
    await _works(buyer, "honest", lambda: _is_made(buyer, "first"))
    await _bought(buyer, "second", "a plain wall")
    await _works(buyer, "liar", lambda: _is_banned(buyer))
    await buyer.until_there(AMENDS)
    buyer.path = buyer.made["second"]
    await buyer.take_refunds()


async def _asks(buyer: Buyer, name: str, method: str, path: str, **more: Json) -> Json:
    """Ask as a worker; that it is banned, or that a lease has ended, are answers too."""
    headers = {"Authorization": f"Bearer {buyer.made[name]}"}
    answer = await buyer.call(method, path, headers=headers, **more)
    assert answer.status_code in (200, 403, 409, 410), answer.text
    return Json(answer.json())


async def _lends(buyer: Buyer, name: str) -> None:
    if name not in buyer.made:
        answer = await buyer.call("POST", AT, json={"name": name, "payTo": buyer.wallet.url})
        assert answer.status_code == 201, answer.text
        buyer.made[name] = answer.json()["token"]


async def _bought(buyer: Buyer, name: str, prompt: str) -> None:
    if name not in buyer.made:
        body: Json = {
            "defaults": {"model": "scene-1", "width": SIDE, "height": SIDE},
            "images": [{"prompt": prompt}],
        }
        answer = await buyer.send("/api/jobs", body, f"{buyer.key} {name}")
        assert answer.status_code == 402, answer.text
        offer = Json(answer.json())
        buyer.made[f"{name} offer"] = offer
        buyer.made[name] = "/api/jobs/" + offer["instance"].rpartition("/")[2]
    await buyer.pay(buyer.made[f"{name} offer"])


async def _is_made(buyer: Buyer, name: str) -> bool:
    answer = await buyer.call("GET", buyer.made[name])
    assert answer.status_code == 200, answer.text
    return bool(answer.json()["job"]["status"] == "completed")


async def _is_banned(buyer: Buyer) -> bool:
    return bool((await _asks(buyer, "liar", "GET", f"{AT}/me"))["state"] == "banned")


async def _works(buyer: Buyer, name: str, is_over: Callable[[], Awaitable[bool]]) -> None:
    """Bring what waits until this is so; what was held before a crash comes first."""
    async for look in patiently(f"what the {name} one makes comes to nothing", pause_s=0.05):
        if await is_over():
            break
        look.saw = me = await _asks(buyer, name, "GET", f"{AT}/me")
        leases = me["leases"]
        if not leases:
            asks: Json = {"models": ["scene-1"], "maxPixels": 2048**2, "wait": 1}
            leases = (await _asks(buyer, name, "POST", f"{AT}/claims", json=asks)).get("leases", [])
        for lease in leases:
            await _brings(buyer, name, lease)


async def _brings(buyer: Buyer, name: str, lease: Json) -> None:
    where, size = f"/api/v1/leases/{lease['leaseId']}", lease["input"]
    headers = {"Authorization": f"Bearer {buyer.made[name]}", "Content-Type": "image/png"}
    data = painted(7, (size["width"], size["height"]))
    answer = await buyer.call("PUT", f"{where}/result", content=data, headers=headers)
    assert answer.status_code in (200, 409, 410, 503), answer.text
