"""x402's own clients, as they come, read what we ask for and sign what we take."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from payments.usdc.outcome import Settled
from payments.usdc.stub_chain import FAUCET
from tests.local_chain import installed
from tests.usdc_fixtures import PRICE
from tests.usdc_shop import is_of, shop_in
from tests.usdc_world import UsdcWorld

RUNNERS = Path(__file__).parent / "stock_clients"


async def buy(language: str, asked: dict[str, Any]) -> Any:
    """Let the clients of a language buy, in a process of their own; return what they tell."""
    made, environment = installed(), {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    command = [made / "venv" / "bin" / "python", RUNNERS / "x402_buys.py"]
    if language == "node":
        command = [Path("node"), RUNNERS / "x402_buys.cjs"]
        environment["NODE_PATH"] = str(made / "node_modules")
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, trouble = await process.communicate(json.dumps(asked).encode())
    assert process.returncode == 0, trouble.decode()
    return json.loads(told)


@pytest.mark.parametrize(
    ("usdc_world", "language"),
    [("stock", "python"), ("stock", "node"), ("stub", "node")],
    indirect=["usdc_world"],
)
async def test_stock_clients_pay_and_are_answered(usdc_world: UsdcWorld, language: str) -> None:
    """Of Python (httpx, requests) and of npm (fetch, axios): each reads the header alone, signs
    what was offered, and is told of the transaction. Each pays the price, once, and what they have
    on the chain is what was sold."""
    payer, shop_keeper = usdc_world.payer, usdc_world.shop
    async with shop_in(usdc_world) as shop:
        key, network = "0x" + payer.key.hex(), "eip155:84532"
        bought = await buy(language, {"url": shop.url, "key": key, "network": network})
    assert len(bought) == len(shop.payments) == 2 and not shop.refused
    for told, paid in zip(bought, shop.payments, strict=True):
        settled = await usdc_world.became(paid)
        assert told["status"] == 200 and told["body"] == {"made": "a picture"}, told
        assert isinstance(settled, Settled) and is_of(told["settled"], settled)
        assert told["settled"]["payer"] == payer.address
    assert await usdc_world.has(payer) == FAUCET - 2 * PRICE
    assert await usdc_world.has(shop_keeper) == FAUCET + 2 * PRICE
