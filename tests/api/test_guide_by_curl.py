"""What a program with an account sends by curl, from its wallet's connection to its webhooks, as
its guide has it: only the server's address is another one, and the token that its wallet pays with.

The servers of others that the guide names stand on this machine, with certificates for their names.
"""

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.executors.toolbox import Toolbox
from payments.lnbits import LnbitsRail
from pricing.money import microusdc_of
from tests.world import guide_commands as guide
from tests.world.account_fixtures import right, signed_in
from tests.world.certificates import certificate_for
from tests.world.elsewhere import Elsewhere
from tests.world.house_fixtures import Instance, instance_of
from tests.world.lnbits_server import LnbitsServer
from tests.world.notice_server import Came, NoticeServer
from tests.world.patience import PATIENCE_S, patiently
from tests.world.receivers import Sent, in_javascript, in_python
from tests.world.scripted_tools import ScriptedTools
from tests.world.tool_fixtures import Pictures
from tests.world.usdc_world import UsdcWorld

SHOWN = {"displayName", "description", "toolId", "commandName", "costingModel", "metadata"}
SPELL: dict[str, Any] = {
    "slug": "epic-landscape-vfx",
    "name": "Epic landscape",
    "description": "A beautiful landscape, and then its colours.",
    "tags": ["landscape", "vfx"],
    "author_share_pct": 10,
    "parameters": {"input_prompt": {"type": "string", "default": "a valley", "maxLength": 200}},
    "steps": [
        {
            "id": 1,
            "tool": "text-to-image",
            "inputs": {"prompt": "{{parameters.input_prompt}}", "width": 256, "height": 256},
        },
        {"id": 2, "tool": "adjust", "inputs": {"image": "{{steps.1.outputs.0}}"}},
    ],
}
ENDED = ("completed", "failed")

Pays = Callable[[dict[str, Any]], Awaitable[object]]


@dataclass
class Program:
    """Runs the guide's commands in a folder of its own."""

    at: Instance
    folder: Path
    token: str | None = None  # that its wallet pays with
    api_key: str = ""

    async def runs(self, command: str, **named: str) -> Any:
        """Run a command as it stands in the guide; return the JSON that it printed."""
        script = command.replace(guide.BASE, f"{self.at.url}/api/v1")
        script = script.replace("curl ", "curl -sS ").replace(guide.ZERO, self.token or guide.ZERO)
        for name, value in named.items():
            script = script.replace(f"<{name}>", value)
        process = await asyncio.create_subprocess_exec(
            "bash", "-e", "-c", script, stdout=PIPE, stderr=PIPE, cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "API_KEY": self.api_key},
        )  # fmt: skip
        async with asyncio.timeout(PATIENCE_S):
            out, wrong = await process.communicate()
        assert process.returncode == 0, wrong.decode()
        return json.loads(out)

    async def polls(self, command: str, **named: str) -> dict[str, Any]:
        """Run a command until what it asks for has ended."""
        async for look in patiently("it never ends", pause_s=0.1):
            look.saw = told = dict(await self.runs(command, **named))
            if told["status"] in ENDED:
                break
        assert told["status"] == "completed", told
        return told


@dataclass
class Shop:
    """A server with the guide's spells, and the servers of others that it asks."""

    at: Instance
    pictures: Pictures
    hooks: NoticeServer


@asynccontextmanager
async def shop_in(database_url: str, folder: Path, **options: Any) -> AsyncIterator[Shop]:
    """Open it."""
    pictures, hooks = Pictures(), NoticeServer()
    (images_of, sees_images), (hooks_of, sees_hooks) = [
        certificate_for(name, folder) for name in (guide.IMAGES, guide.HOOKS)
    ]
    server = await asyncio.start_server(pictures.serve, "127.0.0.1", 0, ssl=images_of)
    async with server, hooks.running(hooks_of):
        at = server.sockets[0].getsockname()[1]
        fetch = Elsewhere({guide.IMAGES: at}, sees_images, "image/*")
        receivers = Elsewhere({guide.HOOKS: hooks.port}, sees_hooks, "*/*")
        parts: dict[str, Any] = {"fetch": fetch, "receivers": receivers, **options}
        parts["executors"] = [ScriptedTools("scene-1"), Toolbox()]
        async with instance_of(database_url, folder, **parts) as running:
            yield Shop(running, pictures, hooks)


async def follow(shop: Shop, program: Program, pays: Pays) -> None:
    """Go through the guide from its beginning to its end."""
    await _published(shop.at)
    await _connected(program, pays)
    await _looked_around(program)
    await _ran(program)
    await _cast(program)
    await _told(shop, program)
    assert shop.pictures.asked == ["/milady/4985.png"] * 2
    me = await program.runs(guide.ME)
    spent = await program.runs(guide.HISTORY)
    assert {tool["toolId"] for tool in spent["tools"]} == {"kontext", "text-to-image", "adjust"}
    assert me["points"] < 1_000 or me["balanceUsdc"] > 0
    await right(shop.at)


async def _published(at: Instance) -> None:
    """Somebody else publishes the guide's two spells."""
    author = await signed_in(at, "author")
    for slug in (SPELL["slug"], "my-spell-slug"):
        answer = await at.post("/api/v1/spells", {**SPELL, "slug": slug}, headers=author)
        assert answer.status_code == 201, answer.text


async def _connected(program: Program, pays: Pays) -> None:
    """1 and 3: a wallet is connected by what it pays, and its account looked at."""
    asked = await program.runs(guide.INITIATE)
    assert {"requestId", "magicAmount", "tokenAddress", "expiresAt", "depositToAddress"} <= {*asked}
    status = {"requestId": asked["requestId"]}
    assert (await program.runs(guide.STATUS, **status))["status"] == "PENDING"
    await pays(asked)
    async for look in patiently("it is never connected", pause_s=0.1):
        look.saw = told = await program.runs(guide.STATUS, **status)
        if told["status"] == "COMPLETED":
            break
    assert told["apiKey"].startswith("sk_live_") and told["message"]
    program.api_key = told["apiKey"]
    me, dashboard = await program.runs(guide.ME), await program.runs(guide.DASHBOARD)
    assert me["points"] == dashboard["points"] and me["points"] + me["balanceUsdc"] > 0
    assert (await program.runs(guide.HISTORY))["timeUnit"] == "month"
    assert "apiKey" not in await program.runs(guide.STATUS, **status)


async def _looked_around(program: Program) -> None:
    """4 and 5: the tools and the spells that there are."""
    assert set((await program.runs(guide.TOOLS))[0]) >= SHOWN
    tool = await program.runs(guide.TOOL)
    assert tool["toolId"] == "kontext" and tool == await program.runs(guide.REGISTRY)
    [first, second] = await program.runs(guide.MARKETPLACE)
    assert {first["slug"], second["slug"]} == {SPELL["slug"], "my-spell-slug"}
    assert {"spellId", "name", "description", "uses", "author", "tags", "createdAt"} <= {*first}
    assert (await program.runs(guide.SPELL))["slug"] == SPELL["slug"]
    quote = await program.runs(guide.QUOTE)
    steps = quote["stepBreakdown"]
    assert [step["stepId"] for step in steps] == [1, 2] and quote["totalRuntimeMs"] > 0
    assert quote["totalCostPts"] >= sum(step["estimatedCostPts"] for step in steps) > 0


async def _ran(program: Program) -> None:
    """6: a run of a tool is waited for, and read alone and with others that aren't known."""
    made = await program.runs(guide.EXECUTE)
    assert made["status"] == "processing" and made["checkAfterMs"] > 0, made
    run = {"generationId": made["generationId"]}
    said = await program.polls(guide.RUN, **run)
    picture = await program.at.http.get(said["outputs"][0]["data"]["images"][0]["url"])
    assert picture.status_code == 200 and picture.headers["content-type"] == "image/png"
    several = (await program.runs(guide.RUNS, **run))["generations"]
    assert [each["status"] for each in several] == ["completed", "failed", "failed"]
    assert several[0]["outputs"] == said["outputs"]


async def _cast(program: Program) -> None:
    """7: a spell is cast, and polled until its steps are made."""
    cast = await program.runs(guide.CAST)
    assert cast["status"] == "running", cast
    said = await program.polls(guide.CAST_STATUS, castId=cast["castId"])
    assert said["_id"] == cast["castId"] and len(said["stepGenerationIds"]) == 2
    assert said["costUsd"] > 0 and said["startedAt"] < said["completedAt"]


async def _told(shop: Shop, program: Program) -> None:
    """8: a run and a cast are told of at their ends, signed as the guide's receivers check it."""
    run = await program.runs(guide.EXECUTE_TOLD)
    assert (run["status"], run["toolId"]) == ("accepted", "kontext"), run
    assert run["delivery"]["url"] == f"https://{guide.HOOKS}/webhooks/generation-complete"
    [ran] = await shop.hooks.until(1)
    cast = await program.runs(guide.CAST_TOLD)
    _, ended = await shop.hooks.until(2)
    assert (ran.told["event"], ran.told["generationId"]) == (
        "generation.completed",
        run["generationId"],
    )
    assert (ended.told["event"], ended.told["castId"]) == ("spell.completed", cast["castId"])
    assert ended.told["spellSlug"] == "my-spell-slug" and len(ended.told["generationIds"]) == 2
    sent = [_sent(came) for came in (ran, ended)]
    assert in_javascript(sent) == in_python(sent) == [200, 200]


def _sent(came: Came) -> Sent:
    return Sent(came.body, came.headers["x-webhook-signature"], guide.SECRET)


@pytest.mark.parametrize("usdc_world", ["stock"], indirect=True)
async def test_the_guide_with_a_wallet_on_a_chain(
    usdc_world: UsdcWorld, database_url: str, tmp_path: Path
) -> None:
    """The wallet sends exactly the amount that it is asked for, in a transaction of a chain."""
    stock, payer = usdc_world.stock, usdc_world.payer
    assert stock is not None
    settings = {
        "FACILITATOR_URL": stock.url,
        "USDC_PAY_TO": usdc_world.shop.address,
        "CHAIN_RPC_URL": stock.chain.url,
        "CHAIN_DEPTH": 0,
    }

    async def pays(asked: dict[str, Any]) -> None:
        amount, payee = microusdc_of(asked["magicAmount"]), asked["depositToAddress"]
        await stock.chain.transfer(payer.address, payee, amount)
        await stock.chain.mine(1)

    async with shop_in(database_url, tmp_path, **settings) as shop:
        await follow(shop, Program(shop.at, tmp_path, stock.chain.network.token), pays)


async def test_the_guide_over_lightning(
    database_url: str, tmp_path: Path, lnbits: LnbitsServer
) -> None:
    """As it stands: its invoice is paid from another wallet of a real LNbits."""
    rail = LnbitsRail(lnbits.url, lnbits.us.adminkey, clock=lambda: datetime.now(UTC))
    async with shop_in(database_url, tmp_path, rail=rail) as shop:

        async def pays(asked: dict[str, Any]) -> None:
            await lnbits.pay(lnbits.buyer, asked["depositToAddress"])

        await follow(shop, Program(shop.at, tmp_path), pays)
