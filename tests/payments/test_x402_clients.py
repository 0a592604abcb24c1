"""x402's own clients, as they come, read what we ask for and sign what we take."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from db import ledger
from db.audit import audit
from payments.usdc.stub_chain import FAUCET
from statemachine.entries import RAIL_USDC, Asset
from tests.world.batch_doors import sold_by
from tests.world.house_fixtures import instance_of
from tests.world.local_chain import installed
from tests.world.scripted_agent import ScriptedAgent
from tests.world.scripted_maker import ScriptedMaker
from tests.world.usdc_world import UsdcWorld

RUNNERS = Path(__file__).parents[1] / "stock_clients"


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


# What each client of a language buys: the status of its answer, and the price.
BUYS = {
    "python": ((201, 25_000), (202, 50_000), (202, 50_000)),
    "node": ((202, 50_000), (202, 250_000)),
}


@pytest.mark.parametrize(
    ("usdc_world", "language"),
    [("stock", "python"), ("stock", "node"), ("stub", "python"), ("stub", "node")],
    indirect=["usdc_world"],
)
async def test_stock_clients_buy_from_a_real_instance(
    usdc_world: UsdcWorld, language: str, database_url: str, tmp_path: Path
) -> None:
    """Of Python (httpx, requests) and of npm (fetch, axios): each reads the 402, signs what is
    offered, and is given what it bought, with the transaction. Each pays the price, once; what is
    on the chain is what is in the books. An image is polled to its end, and its file is there."""
    payer, shop_keeper = usdc_world.payer, usdc_world.shop
    settings = settings_of(usdc_world)
    async with sold_by(database_url, tmp_path, ScriptedMaker(), **settings) as shop:
        usdc = shop.built.usdc
        assert usdc is not None
        before = await usdc.ledger.balance_microusdc(usdc.pay_to)
        asked = {"base": shop.url, "key": "0x" + payer.key.hex(), "network": "eip155:84532"}
        bought = await buy(language, asked)
        total = sum(price for _, price in BUYS[language])
        for told, (status, price) in zip(bought, BUYS[language], strict=True):
            assert told["status"] == status, told
            assert told["settled"]["success"] and told["settled"]["amount"] == str(price)
            assert told["settled"]["payer"] == payer.address
        if language == "node":
            [file] = bought[0]["body"]["output"]
            assert bought[0]["body"]["ended"] == "completed" and file["type"] == "image/png"
            assert (await shop.http.get(file["url"])).content.startswith(b"\x89PNG")
        rests = await ledger.balance(shop.built.db, RAIL_USDC.name, Asset.MICROUSDC)
        after = await usdc.ledger.balance_microusdc(usdc.pay_to)
        assert isinstance(after, int) and isinstance(before, int) and after - before == total
        assert await usdc_world.has(payer) == FAUCET - total and rests == total
        assert usdc_world.name == "stub" or await usdc_world.has(shop_keeper) == FAUCET + total
        assert [finding.line for finding in await audit(shop.built.db)] == []


@pytest.mark.parametrize(
    ("usdc_world", "language"),
    [("stock", "node"), ("stub", "python"), ("stub", "node")],
    indirect=["usdc_world"],
)
async def test_stock_clients_buy_an_answer(
    usdc_world: UsdcWorld, language: str, database_url: str, tmp_path: Path
) -> None:
    """Of an agent, by GET and by POST: each is answered with a result, and has paid for one job."""
    payer, agent, settings = usdc_world.payer, ScriptedAgent(), settings_of(usdc_world)
    async with instance_of(database_url, tmp_path, agent=agent, **settings) as shop:
        asked = {"base": shop.url, "key": "0x" + payer.key.hex(), "network": "eip155:84532"}
        bought = await buy(language, {**asked, "ask": "what is rain?"})
        paid = 0
        for told in bought:
            assert told["status"] == 200, told
            assert told["body"]["result"] == "done: what is rain?"
            assert told["settled"]["success"] and told["settled"]["payer"] == payer.address
            paid += int(told["settled"]["amount"])
        assert len({told["body"]["jobId"] for told in bought}) == 2
        assert agent.calls["work", "what is rain?"] == 2
        came = await shop.built.db.read_all("SELECT amount_microusdc FROM usdc_authorization")
        assert sum(row["amount_microusdc"] for row in came) == paid
        assert [finding.line for finding in await audit(shop.built.db)] == []


def settings_of(world: UsdcWorld) -> dict[str, Any]:
    """Return the settings of an instance that is paid in this world."""
    if world.stock is None:
        return {}  # its own stub, with the chain that is in this folder
    return {
        "FACILITATOR_URL": world.stock.url,
        "USDC_PAY_TO": world.shop.address,
        "CHAIN_RPC_URL": world.stock.chain.url,
        "CHAIN_DEPTH": 0,
    }
