"""The real LNbits of the tests, in a process of its own, with a proxy before it that counts calls.

It is told what its buyer's wallet shall do, and what was counted since it was last asked.
"""

import asyncio
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

from tests.world.fault_proxy import FaultProxy
from tests.world.lnbits_server import LnbitsServer


async def run() -> None:
    """Say where both are, then do as told, order by order, until the input ends."""
    async with LnbitsServer.running() as server, FaultProxy.before(server.url) as proxy:
        first = json.loads(await asyncio.to_thread(sys.stdin.readline))
        assert first["do"] == "start", first
        account = await server.new_account()
        keys = {"key": server.us.adminkey, "buyer_key": server.buyer.adminkey}
        keys |= {"account_key": account.first.adminkey, "token": account.token}
        _say({"url": server.url, "port": server.port, "counted_url": proxy.url, **keys})
        while line := await asyncio.to_thread(sys.stdin.readline):
            _say(await _done(json.loads(line), server, proxy))


async def _done(order: dict[str, Any], server: LnbitsServer, proxy: FaultProxy) -> dict[str, Any]:
    if order["do"] == "pay":
        await server.pay(server.buyer, order["bolt11"])
    elif order["do"] == "age":
        await asyncio.to_thread(_age, server.folder, order["payments"])
    elif order["do"] == "invoice":
        return {"bolt11": await server.create_invoice(server.buyer, order["sats"])}
    calls = {f"{method} {path}": n for (method, path), n in proxy.calls.items()}
    if order["do"] == "count":
        proxy.calls.clear()
    return {"calls": calls}


def _age(folder: Path, payments: int) -> None:
    """Give the wallet of the newest invoice so many payments that it was paid before."""
    with sqlite3.connect(folder / "data" / "database.sqlite3", timeout=60) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(apipayments)")]
        made = {"checking_id": "hex(randomblob(32))", "payment_hash": "hex(randomblob(32))"}
        values = [{**made, "status": "'success'"}.get(name, f"p.{name}") for name in columns]
        database.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            f" INSERT INTO apipayments ({', '.join(columns)}) SELECT {', '.join(values)} FROM n,"
            " (SELECT * FROM apipayments ORDER BY rowid DESC LIMIT 1) p",
            (payments,),
        )


def _say(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(run())
