"""Buys with x402's own Python clients: a job and an image over httpx, an image over requests.

With `ask`, an answer to that instead, by both. On standard input, JSON: `base` and `key`. On
standard output, for each: the status, the body, and what the header PAYMENT-RESPONSE says.
"""

import asyncio
import base64
import json
import sys
from typing import Any

from eth_account import Account
from x402 import x402Client, x402ClientSync
from x402.http.clients import x402_requests, x402HttpxClient
from x402.mechanisms.evm.exact import register_exact_evm_client

JOB = {"images": [{"prompt": "a cat riding a rocket through space"}]}
IMAGE = {"model": "nano-banana-pro", "prompt": "A serene Japanese garden with cherry blossoms"}


async def by_httpx(base: str, key: str, ask: str | None) -> list[Any]:
    """Buy by POST, and answers by GET."""
    client = register_exact_evm_client(x402Client(), Account.from_key(key))
    async with x402HttpxClient(client, timeout=60) as http:
        if ask:
            return [await http.get(f"{base}/api/ask", params={"request": ask})]
        job = await http.post(f"{base}/api/jobs", json=JOB)
        return [job, await http.post(f"{base}/v1/images/generate", json=IMAGE)]


def by_requests(base: str, key: str, ask: str | None) -> Any:
    """Buy by POST."""
    client = register_exact_evm_client(x402ClientSync(), Account.from_key(key))
    if ask:
        http, body = x402_requests(client), {"request": ask}
        return http.post(f"{base}/api/ask", json=body, timeout=60)
    return x402_requests(client).post(f"{base}/v1/images/generate", json=IMAGE, timeout=60)


def main() -> None:
    """Buy."""
    asked, told = json.load(sys.stdin), []
    how = asked["base"], asked["key"], asked.get("ask")
    for bought in (*asyncio.run(by_httpx(*how)), by_requests(*how)):
        settled = json.loads(base64.b64decode(bought.headers["PAYMENT-RESPONSE"]))
        told.append({"status": bought.status_code, "body": bought.json(), "settled": settled})
    print(json.dumps(told))


main()
