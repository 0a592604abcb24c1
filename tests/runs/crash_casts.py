"""What a caster of a spell does over HTTP, each step so that it may be done again after a crash.

Five steps, of which the third is refused for good the first time that it is tried: then the cast is
resumed, and what is missing is made.
"""

from typing import Any

import httpx2

from tests.runs.crash_batches import SILENT_S
from tests.runs.crash_buyer import Buyer, Json
from tests.world.patience import patiently

SATS = 2_000
AUTHOR, CASTER = "author", "caster"
SPELL: Json = {
    "slug": "five-steps",
    "name": "Five steps",
    "author_share_pct": 10,
    "steps": [
        {"id": 1, "tool": "qr-code", "inputs": {"text": "boltwork"}},
        {"id": 2, "tool": "resize", "inputs": {"image": "{{steps.1.outputs.0}}"}},
        {
            "id": 3,
            "tool": "retouch",
            "inputs": {"input_image": "{{steps.2.outputs.0}}", "input_prompt": "REFUSE ONCE"},
        },
        {"id": 4, "tool": "crop", "inputs": {"image": "{{steps.3.outputs.0}}"}},
        {"id": 5, "tool": "caption", "inputs": {"image": "{{steps.4.outputs.0}}", "text": "x"}},
    ],
}


async def cast(buyer: Buyer) -> None:
    """Publish a spell, cast it from another account, and resume it where it failed."""
    if "published" not in buyer.done:
        await _in(buyer, AUTHOR)
        answer = await _asked(buyer, "POST", "/api/v1/spells", SPELL)
        assert answer.status_code == 201, answer.text
        buyer.done.add("published")
    await _in(buyer, CASTER)
    await _paid_in(buyer)
    body = {"slug": SPELL["slug"]}
    begun = await buyer.send("/api/v1/spells/cast", body, "the cast")
    assert begun.status_code == 202, begun.text
    path = f"/api/v1/spells/casts/{begun.json()['castId']}"
    said = await _ended(buyer, path)
    while said["status"] == "failed":
        assert "be made of that" in said["steps"][2]["error"], said
        resumed = await _asked(buyer, "POST", f"{path}/resume", {})
        assert resumed.status_code in (200, 202), resumed.text
        said = await _ended(buyer, path)
    assert [step["status"] for step in said["steps"]] == ["completed"] * 5, said
    standing = (await _asked(buyer, "GET", "/api/account")).json()
    assert standing["balanceSats"] == SATS - said["chargedSats"], (standing, said)
    await _taken_out(buyer, standing["balanceSats"])


async def _taken_out(buyer: Buyer, sats: int) -> None:
    sent = await buyer.send("/api/account/withdrawals", {"amountSats": sats}, "taken out")
    assert sent.status_code == 201, sent.text
    buyer.path = "/api/account"
    await buyer.take_refunds()


async def _asked(buyer: Buyer, method: str, path: str, body: Json | None = None) -> httpx2.Response:
    """Ask, again while the server can't answer just now."""
    async for look in patiently("there is no answer but", pause_s=0.2):
        answer = await buyer.call(method, path, json=body)
        look.saw = answer.text
        if answer.status_code != 503:
            break
    return answer


async def _in(buyer: Buyer, name: str) -> None:
    """Sign in, with an account that is opened by it the first time."""
    buyer.headers.pop("Authorization", None)
    body = {"username": name, "password": f"the password of {name}"}
    answer = await _asked(buyer, "POST", "/api/auth/login", body)
    assert answer.status_code == 200, answer.text
    buyer.headers["Authorization"] = f"Bearer {answer.cookies['session']}"


async def _paid_in(buyer: Buyer) -> None:
    if "paid in" in buyer.done:
        return
    asked = await buyer.send("/api/account/deposits", {"amountSats": SATS}, "deposit")
    assert asked.status_code == 201, asked.text
    await buyer.pay(asked.json()["invoice"])
    async for look in patiently("the deposit is never there"):
        look.saw = standing = (await _asked(buyer, "GET", "/api/account")).json()
        if standing["balanceSats"] == SATS:
            break
        buyer.clock.forward(2)
    buyer.done.add("paid in")


async def _ended(buyer: Buyer, path: str) -> dict[str, Any]:
    """Wait until a cast has ended; where nothing moves, whoever held a step has died."""
    said: dict[str, Any] = {}
    seen, still = "", 0
    async for look in patiently("the cast does not end", pause_s=0.1):
        answer = await _asked(buyer, "GET", path)
        assert answer.status_code == 200, answer.text
        look.saw = said = answer.json()
        if said["status"] in ("completed", "failed"):
            break
        still = still + 1 if answer.text == seen else 0
        seen = answer.text
        if still and still % 40 == 0:
            buyer.outwait_the_dead(SILENT_S)
    return said
