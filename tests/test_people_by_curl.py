"""The calls of a program with an account, by curl: connected over Lightning, then its own."""

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from payments.lnbits import LnbitsRail
from tests.account_fixtures import right
from tests.house_fixtures import Instance, instance_of
from tests.lnbits_server import LnbitsServer
from tests.patience import PATIENCE_S, patiently

# As they are written there, but for the address of the server.
INITIATE = """
curl -X POST "{at}/wallets/connect/initiate" \\
  -H 'Content-Type: application/json' \\
  -d '{{"tokenAddress":"0x0000000000000000000000000000000000000000"}}'
"""
STATUS = """curl "{at}/wallets/connect/status/{request_id}" """
ACCOUNT = (
    """
curl -H "x-api-key: $API_KEY" \\
     {at}/user/me
""",
    """
curl -H "x-api-key: $API_KEY" \\
     {at}/user/dashboard
""",
    """
curl -H "x-api-key: $API_KEY" \\
     "{at}/user/history?timeUnit=month&offset=0"
""",
)

Pays = Callable[[dict[str, Any]], Awaitable[object]]


async def curl(command: str, api_key: str = "") -> dict[str, Any]:
    """Run a command in a shell; return the JSON that it printed."""
    environment = {"PATH": "/usr/bin:/bin", "API_KEY": api_key}
    process = await asyncio.create_subprocess_exec(
        "bash", "-e", "-c", command, stdout=PIPE, stderr=PIPE, env=environment
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0, err.decode()
    return dict(json.loads(out))


async def walk(instance: Instance, pays: Pays) -> None:
    """Connect a wallet by paying, and use the account that this has opened."""
    at = f"{instance.url}/api/v1"
    asked = await curl(INITIATE.format(at=at))
    assert {"requestId", "magicAmount", "tokenAddress", "expiresAt", "depositToAddress"} <= {*asked}
    status = STATUS.format(at=at, request_id=asked["requestId"])
    assert (await curl(status))["status"] == "PENDING"
    await pays(asked)
    async for look in patiently("it is never connected"):
        look.saw = told = await curl(status)
        if told["status"] == "COMPLETED":
            break
    assert told["apiKey"].startswith("sk_live_") and told["message"]
    me, dashboard, history = [
        await curl(command.format(at=at), told["apiKey"]) for command in ACCOUNT
    ]
    assert me["points"] == dashboard["points"] == 1_000 and history["timeUnit"] == "month"
    assert "apiKey" not in await curl(status)
    wrong = await curl(ACCOUNT[0].format(at=at), "sk_live_nonsense")
    assert wrong["error"]["code"] == "UNAUTHORIZED" and wrong["error"]["message"]
    await right(instance)


async def test_on_the_stub_rail(instance: Instance) -> None:
    """Paid with the stub's wallet."""
    await walk(instance, instance.pay)


async def test_on_a_real_lnbits(database_url: str, tmp_path: Path, lnbits: LnbitsServer) -> None:
    """Paid from another wallet of a real LNbits."""
    rail = LnbitsRail(lnbits.url, lnbits.us.adminkey, clock=lambda: datetime.now(UTC))
    async with instance_of(database_url, tmp_path, rail=rail) as running:
        await walk(running, lambda asked: lnbits.pay(lnbits.buyer, asked["depositToAddress"]))
