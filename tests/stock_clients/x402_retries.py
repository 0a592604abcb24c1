"""Asks x402's own Python client for one job again and again, as one does who is never answered.

On standard input, a line of JSON: `base`, `key` and `body`; then a line for each call that shall be
given up. On standard output: the status, the body and what PAYMENT-RESPONSE says of the last call.
"""

import asyncio
import base64
import json
import sys

from eth_account import Account
from x402 import x402Client
from x402.http.clients import x402HttpxClient
from x402.mechanisms.evm.exact import register_exact_evm_client


async def main() -> None:
    """Buy, with a new client and so a new nonce for each call, until one is answered."""
    asked = json.loads(await asyncio.to_thread(sys.stdin.readline))
    cut = asyncio.ensure_future(asyncio.to_thread(sys.stdin.readline))
    account = Account.from_key(asked["key"])
    while True:
        client = register_exact_evm_client(x402Client(), account)
        async with x402HttpxClient(client, timeout=600) as http:
            call = asyncio.create_task(http.post(f"{asked['base']}/api/jobs", json=asked["body"]))
            await asyncio.wait({call, cut}, return_when=asyncio.FIRST_COMPLETED)
            if not call.done() and cut.result():  # else nobody will cut off any more
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
                cut = asyncio.ensure_future(asyncio.to_thread(sys.stdin.readline))
                continue
            answer = await call
            told = json.loads(base64.b64decode(answer.headers["PAYMENT-RESPONSE"]))
            shown = {"status": answer.status_code, "body": answer.json(), "settled": told}
            print(json.dumps(shown), flush=True)
            return


asyncio.run(main())
