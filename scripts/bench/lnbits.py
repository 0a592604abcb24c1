"""The real LNbits of the tests, in a process of its own, with a proxy before it that counts calls.

It is told what its buyer's wallet shall do, and what was counted since it was last asked.
"""

import asyncio
import json
import sys
from typing import Any

from tests.fault_proxy import FaultProxy
from tests.lnbits_server import LnbitsServer


async def run() -> None:
    """Say where both are, then do as told, order by order, until the input ends."""
    async with LnbitsServer.running() as server, FaultProxy.before(server.url) as proxy:
        first = json.loads(await asyncio.to_thread(sys.stdin.readline))
        assert first["do"] == "start", first
        keys = {"key": server.us.adminkey, "buyer_key": server.buyer.adminkey}
        _say({"url": server.url, "port": server.port, "counted_url": proxy.url, **keys})
        while line := await asyncio.to_thread(sys.stdin.readline):
            _say(await _done(json.loads(line), server, proxy))


async def _done(order: dict[str, Any], server: LnbitsServer, proxy: FaultProxy) -> dict[str, Any]:
    if order["do"] == "pay":
        await server.pay(server.buyer, order["bolt11"])
    elif order["do"] == "invoice":
        return {"bolt11": await server.create_invoice(server.buyer, order["sats"])}
    calls = {f"{method} {path}": n for (method, path), n in proxy.calls.items()}
    if order["do"] == "count":
        proxy.calls.clear()
    return {"calls": calls}


def _say(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(run())
