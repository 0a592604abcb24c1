"""What a fuzzer meets of the market: an account, batches in each state, and orders in USDC."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx2

from payments.usdc.address import Address
from payments.usdc.network import BASE_SEPOLIA
from payments.usdc.payment import UsdcOffer
from payments.usdc.x402 import read_header
from pricing.money import MicroUsdc
from tests.runs.crash_server import MovableClock
from tests.world.patience import patiently
from tests.world.usdc_fixtures import Payer, header

JOBS, GENERATIONS = "/api/jobs", "/v1/images/generate"
DEPOSIT_SATS = 1_000_000
SPARE = 4
ENDED = ("completed", "failed", "cancelled")
# Two that are delivered; one of which is; none of which is; and one that is nobody's to pay for.
BOUGHT = (("a red boat", "a blue boat"), ("a green boat", "REFUSE"), ("BREAK",))
FILM = {"job_type": "video", "defaults": {"model": "scene-1-film"}, "images": [{"prompt": "a"}]}


@dataclass
class Market:
    """An account's token, and what was bought, by the names that the surface has for it."""

    token: str = ""
    spare: list[str] = field(default_factory=list)  # tokens of its other logins, to be ended
    batches: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    generations: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)  # PAYMENT-SIGNATURE: settled, new, and none


async def furnish(http: httpx2.AsyncClient, clock: MovableClock) -> Market:
    """Open an account with a balance, and buy with it, with an invoice and with an order."""
    market = Market()
    person = {"username": f"fuzz-{clock().timestamp():.6f}".replace(".", "-"), "password": "secret"}
    market.token, *market.spare = [await _token(http, person, clock) for _ in range(1 + SPARE)]
    holder = {"Authorization": f"Bearer {market.token}"}
    made = await http.post(
        "/api/account/deposits", json={"amountSats": DEPOSIT_SATS}, headers=holder
    )
    paid = made.raise_for_status().json()["invoice"]["paymentHash"]
    (await http.post(f"/api/dev/stub/pay/{paid}")).raise_for_status()
    async for look in patiently("the deposit does not arrive"):
        look.saw = shown = (await http.get("/api/account", headers=holder)).json()
        if shown["balanceSats"] >= DEPOSIT_SATS:
            break
    for prompts in BOUGHT:
        await _batch(http, market, holder, _images(*prompts))
    await _batch(http, market, holder, FILM)
    unpaid = await http.post(JOBS, json=_images("a yellow boat"))
    market.batches.append(unpaid.json()["instance"].rsplit("/", 1)[-1])
    bought = await http.post(
        GENERATIONS, json={"model": "scene-1", "prompt": "a boat"}, headers=holder
    )
    market.generations.append(bought.raise_for_status().json()["id"])
    logins = await http.get("/api/auth/logins", headers=holder)
    rows = logins.raise_for_status().json()["logins"]
    market.logins = [each["id"] for each in rows if not each["isThisOne"]]
    await _ordered(http, market, clock())
    return market


async def _token(http: httpx2.AsyncClient, person: dict[str, str], clock: MovableClock) -> str:
    login = await http.post("/api/auth/login", json=person)
    if login.status_code == 429:  # whoever was here before has guessed too often
        clock.forward(int(login.headers["retry-after"]))
        login = await http.post("/api/auth/login", json=person)
    login.raise_for_status()
    http.cookies.delete("session")
    return str(login.cookies["session"])


def _images(*prompts: str) -> dict[str, Any]:
    return {"defaults": {"model": "scene-1"}, "images": [{"prompt": each} for each in prompts]}


async def _batch(
    http: httpx2.AsyncClient, market: Market, holder: dict[str, str], body: dict[str, Any]
) -> None:
    made = (await http.post(JOBS, json=body, headers=holder)).raise_for_status().json()
    market.batches.append(made["jobId"])
    async for look in patiently("the batch does not end"):
        answer = await http.get(f"{JOBS}/{made['jobId']}", params={"wait": 5}, headers=holder)
        look.saw = said = answer.raise_for_status().json()
        if said["job"]["status"] in ENDED:
            break
    market.ended.append(made["jobId"])
    market.items += [each["id"] for each in said.get("images", said.get("videos", ()))]


async def _ordered(http: httpx2.AsyncClient, market: Market, now: datetime) -> None:
    body = _images("a white boat")
    asked = await http.post(JOBS, json=body)
    told = read_header(asked.headers["PAYMENT-REQUIRED"])
    assert told is not None
    said = told["accepts"][0]
    offer = UsdcOffer(
        BASE_SEPOLIA, Address(said["payTo"]), MicroUsdc(int(said["amount"])),
        said["maxTimeoutSeconds"],
    )  # fmt: skip
    now_s = int(now.timestamp())
    payer = Payer(f"fuzz {now.timestamp()}")
    first, second, late = (
        header(payer.pays(offer, now_s, valid_before_s=now_s + ahead_s))
        for ahead_s in (offer.window_s, offer.window_s, -1)
    )
    made = await http.post(JOBS, json=body, headers={"PAYMENT-SIGNATURE": first})
    market.batches.append(made.raise_for_status().json()["jobId"])
    market.orders = [first, second, late, "e30="]
