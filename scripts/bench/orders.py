"""Orders of pictures: what their buyer sends, and how he pays, over Lightning or in USDC."""

import asyncio
import json
import secrets
import time
from typing import Any

import psycopg

from payments.usdc.address import Address, address_of_key
from payments.usdc.authorization import Authorization, sign
from payments.usdc.network import NETWORKS
from payments.usdc.payment import Payment, UsdcOffer
from payments.usdc.x402 import SIGNATURE, header_of
from pricing.money import MicroUsdc

from .lines import Answer, Line, Wrong, request
from .stand import Server

MODEL = "scene-1"  # the embedded painter's own
PATH = "/api/jobs"
PATIENCE_S = 30
PROMPT = "picture {place} of a lighthouse on a rock at dusk, seen from a boat, the lamp just lit"


def order(items: int) -> str:
    """Return the body that asks for so many pictures."""
    images = [{"prompt": PROMPT.format(place=place)} for place in range(1, items + 1)]
    return json.dumps({"defaults": {"model": MODEL}, "images": images})


def expected(answer: Answer, status: int) -> dict[str, Any]:
    """Return what an answer says. Raises Wrong for one that is not as it should be."""
    if answer.status != status:
        raise Wrong(f"{answer.status} in place of {status}: {answer.body[:300]!r}")
    return answer.json()


async def bought(server: Server, database_url: str, items: int) -> str:
    """Buy so many pictures with the stub's wallet; return the batch's id."""
    line = Line(server[1])
    offer = expected(await line.ask(request("POST", PATH, order(items))), 402)
    paid = await line.ask(request("POST", f"/api/dev/stub/pay/{offer['paymentHash']}"))
    expected(paid, 200)
    line.close()
    batch_id = str(offer["instance"]).rpartition("/")[2]
    await until(database_url, "SELECT 1 FROM batch WHERE id = %s AND state = 'queued'", batch_id)
    return batch_id


async def cancel(line: Line, made: dict[str, Any]) -> None:
    """Cancel what was just bought: nothing of it waits any more."""
    shown = [f"Authorization: Bearer {made['sessionToken']}"] if "sessionToken" in made else []
    asked = request("POST", f"{PATH}/{made['jobId']}/cancel", "", *shown)
    expected(await line.ask(asked), 200)


async def until(database_url: str, query: str, *values: object) -> None:
    """Ask until a query has a row."""
    ended = time.monotonic() + PATIENCE_S
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        while time.monotonic() < ended:
            if await (await connection.execute(query.encode(), values)).fetchone():
                return
            await asyncio.sleep(0.01)
    raise Wrong(f"there is still nothing where {query}")


def signed(offer: dict[str, Any]) -> str:
    """Return the header line by which somebody new pays what a 402 asks for in USDC."""
    [asked] = offer["accepts"]
    key, now_s = secrets.token_bytes(32), int(time.time())
    network, amount = NETWORKS[asked["network"]], MicroUsdc(int(asked["amount"]))
    pay_to, window_s = Address(asked["payTo"]), int(asked["maxTimeoutSeconds"])
    nonce = f"0x{secrets.token_hex(32)}"
    until_s = now_s + window_s
    mine = Authorization(address_of_key(key), pay_to, amount, now_s - 60, until_s, nonce)
    usdc = UsdcOffer(network, pay_to, amount, window_s)
    told = Payment(usdc, mine, sign(key, mine, network)).asked()["paymentPayload"]
    return f"{SIGNATURE}: {header_of(told)}"
