"""Other people's clients, as they come, buy from us; nothing is changed for it on either side."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pytest

from app.ports import Executor
from db.audit import audit
from payments.lnbits import LnbitsRail
from tests.world.batch_doors import batch, ended, sold_by
from tests.world.client_install import installed_clients
from tests.world.house_fixtures import Instance, instance_of
from tests.world.image_jobs import FILE as IMAGE_JOBS
from tests.world.lending_fixtures import buys, lends, open_house, painted
from tests.world.lnbits_server import LnbitsServer
from tests.world.npm import npm
from tests.world.rail_fixtures import wall_clock
from tests.world.scripted_agent import ScriptedAgent
from tests.world.scripted_maker import ScriptedMaker
from tests.world.scripted_tools import ScriptedTools
from tests.world.session_fixtures import opened
from tests.world.tool_fixtures import person

__all__ = ["open_house"]

CREDIT_SATS = 25
RUNNERS = Path(__file__).parents[1] / "stock_clients"
ASKS: list[dict[str, Any]] = [
    {"method": "GET", "request": "what is rain?"},
    {"method": "POST", "request": "and snow?"},
]
MEDIA: list[dict[str, Any]] = [
    {"method": "POST", "path": "/api/jobs", "body": batch("a cat", "a dog")},
    {"method": "POST", "path": "/api/jobs", "body": batch("a bird")},
    {
        "method": "POST",
        "path": "/v1/images/generate",
        "body": {"model": "nano-banana-2", "prompt": "a boat"},
    },
]
TAKEN = {"Authorization": "Basic dXNlcjpwYXNz"}  # by a proxy, so to say
BY_PROXY: list[dict[str, Any]] = [
    {"method": "POST", "request": "and hail?", "headers": TAKEN},
]


@pytest.fixture(scope="module")
def clients() -> Path:
    """The folder that they are installed in, made where it is not there yet."""
    return installed_clients()


async def run(command: Sequence[Path | str], asked: dict[str, Any], **environment: str) -> Any:
    """Let a client buy, in a process of its own; return what it tells.

    It tells a file: of what Node writes to a pipe, only 64 KiB get through before it exits.
    """
    with TemporaryFile() as told:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", **environment},
            stdin=subprocess.PIPE,
            stdout=told,
            stderr=subprocess.PIPE,
        )
        _, trouble = await process.communicate(json.dumps(asked).encode())
        assert process.returncode == 0, trouble.decode()
        told.seek(0)
        return json.loads(told.read())


def runs(clients: Path, name: str) -> tuple[list[Path | str], dict[str, str]]:
    """Return how a client's program is run, and in what environment."""
    program = next(RUNNERS.glob(f"{name}_buys.*"))
    if program.suffix == ".py":
        return [clients / "venv" / "bin" / "python", program], {}
    return ["node", program], {"NODE_PATH": str(clients / "node_modules")}


async def holds(
    instance: Instance, agent: ScriptedAgent, told: dict[str, Any], asks: list[dict[str, Any]]
) -> None:
    """Each ask was bought once, at its price, and its proof is good for the same job again."""
    for ask, [first, again] in zip(asks, told["told"], strict=True):
        assert first[0] == again[0] == 200, told
        assert first[1]["result"] == f"done: {ask['request']}"
        assert again[1]["jobId"] == first[1]["jobId"] and again[1]["result"] == first[1]["result"]
        assert agent.calls["work", ask["request"]] == 1
    assert told["spentSats"] == sum(first[1]["priceSats"] for first, _ in told["told"])
    query = "SELECT payment_hash FROM invoice WHERE state = 'settled' ORDER BY settled_at"
    paid = [row["payment_hash"] for row in await instance.built.db.read_all(query)]
    assert told.get("receipts") in (None, [payment_hash for payment_hash in paid for _ in "12"])
    assert await audit(instance.built.db) == []


@pytest.mark.parametrize("name", ["l402_requests", "lightning_tools", "pympp", "mppx"])
async def test_clients_buy(
    clients: Path, instance: Instance, scripted_agent: ScriptedAgent, name: str
) -> None:
    """By GET and by POST; for another request at the same address they buy another job, and what
    has proven a payment is good for the same job again. Clients of MPP read its receipts, and pay
    in a header of its own where Authorization is taken.
    """
    command, environment = runs(clients, name)
    speaks_mpp = name in ("pympp", "mppx")
    asks = ASKS + BY_PROXY if speaks_mpp else ASKS
    told = await run(command, {"url": instance.url, "asks": asks}, **environment)
    await holds(instance, scripted_agent, told, asks)
    assert ("receipts" in told) == speaks_mpp


@pytest.mark.parametrize("name", ["l402_requests", "lightning_tools", "pympp", "mppx"])
async def test_clients_buy_images_and_films(
    clients: Path, database_url: str, tmp_path: Path, name: str
) -> None:
    """By the job and by the call, as they buy an answer: each once, and the same again by the same
    proof; another body at the same address is another purchase.
    """
    async with sold_by(database_url, tmp_path, ScriptedMaker()) as shop:
        command, environment = runs(clients, name)
        told = await run(command, {"url": shop.url, "asks": MEDIA}, **environment)
        await _are_bought(shop, told)


async def _are_bought(shop: Instance, told: dict[str, Any]) -> None:
    for ask, [first, again] in zip(MEDIA, told["told"], strict=True):
        assert first[0] == again[0] == (202 if ask["path"].startswith("/v1/") else 201), told
        ids = {answer[1].get("jobId") or answer[1]["id"] for answer in (first, again)}
        assert len(ids) == 1
        assert (await ended(shop, ids.pop()))["job"]["status"] == "completed"
    assert told["spentSats"] == 8 + 4 + 50
    count = "SELECT count(*) AS n FROM invoice WHERE state = 'settled'"
    assert [row["n"] for row in await shop.built.db.read_all(count)] == [len(MEDIA)]
    assert await audit(shop.built.db) == []


async def test_a_generated_client_buys_an_image(
    clients: Path, database_url: str, tmp_path: Path
) -> None:
    """What a stock generator makes of another network's document works with us as it is: it looks
    at its credits, buys with them, fetches the picture, and is told what it needs for another one.
    """
    made = tmp_path / "image_jobs_client"
    generator = clients / "venv" / "bin" / "openapi-python-client"
    settings = tmp_path / "generator.yaml"
    settings.write_text(f"post_hooks: []\npackage_name_override: {made.name}\n")
    where: list[Path | str] = ["--path", IMAGE_JOBS, "--config", settings, "--output-path", made]
    generating = await asyncio.create_subprocess_exec(
        *(generator, "generate", *where, "--meta", "none"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert await generating.wait() == 0
    async with sold_by(database_url, tmp_path, ScriptedMaker()) as shop:
        key = (await person(shop, 5 * CREDIT_SATS))["x-api-key"]
        [*command], _ = runs(clients, "generated")
        job = {"prompt": "a boat", "model": "flux-schnell", "tier": "pro", "width": 640}
        told = await run([*command, tmp_path], {"url": shop.url, "key": key, "job": job})
        assert told["same"] and told["available"] and told["costs"] == 3
        assert (told["status"], told["credits"]) == ("completed", [5, 2])
        assert told["short"] == ["INSUFFICIENT_CREDITS", 2, 3]
        file = await shop.http.get(told["result"])
        assert file.status_code == 200 and file.headers["content-type"] == "image/png"
        assert await audit(shop.built.db) == []


PAID = {
    "GET /api/ask",
    "POST /api/ask",
    "POST /api/jobs",
    "POST /v1/images/generate",
    "POST /v1/videos/generate",
    "POST /api/v1/jobs",
    "POST /api/v1/generations/execute",
    "POST /api/v1/spells/cast",
}


def estimate(price: dict[str, str]) -> str:
    """Return a price of the contract as AgentCash's tool tells it."""
    bounds = f"{price['min']}-{price['max']}" if "min" in price else "dynamic"
    return f"{price.get('amount', bounds)} {price['currency']}"


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Instance]:
    """An instance that sells all that is sold by the call, in bitcoin and in USDC."""
    makers: list[Executor] = [ScriptedMaker(), ScriptedTools("toolbox")]
    async with instance_of(database_url, tmp_path, executors=makers) as running:
        yield running


async def test_mppx_finds_nothing_to_complain_of(clients: Path, shop: Instance) -> None:
    """Its own check of servers, led by the contract: each address that is paid for, its challenge,
    and what a broken credential is answered with. It reads what is asked for in USDC, too.
    """
    mppx = clients / "node_modules" / ".bin" / "mppx"
    how = ["-H", "Accept-Payment:lightning/charge", "--query", "request=hello", "--output-json"]
    told = await run([mppx, "validate", shop.url, *how], {})
    summary = told["summary"]
    assert (summary["failed"], summary["warnings"], summary["skipped"]) == (0, 0, 0), told
    checked = {f"{each['method']} {each['path']}": each for each in told["endpoints"]}
    assert checked.keys() == PAID
    for name, each in checked.items():
        found = [check["label"] for check in (*each["challenge"], *each["errorHandling"])]
        assert "Realm matches server hostname" in found, told
        assert "Error response includes fresh challenge" in found, told
        assert any("x402" in label for label in found), (name, found)


async def test_what_the_contract_says_of_prices_is_read_by_tools(
    clients: Path, shop: Instance
) -> None:
    """In both of the dialects that tools read it in: mppx finds it valid, and AgentCash's discovery
    finds each address that is paid for, with its protocols, and what is sent and answered there."""
    node = clients / "node_modules"
    document = f"{shop.url}/openapi.json"
    contract = (await shop.http.get(document)).json()["paths"]
    valid = await run([node / ".bin" / "mppx", "discover", "validate", document, "--json"], {})
    assert (valid["valid"], valid["errorCount"], valid["warningCount"]) == (True, 0, 0), valid
    tool: list[Path | str] = ["node", node / "@agentcash" / "discovery" / "bin" / "discovery.js"]
    found = await run([*tool, "discover", shop.url, "--json"], {})
    read = {f"{each['method']} {each['path']}": each for each in found["resources"]}
    sold = {name for name, each in read.items() if each.get("authHint", "").endswith("paid")}
    assert sold == PAID, found
    for name in sorted(PAID):
        method, _, path = name.partition(" ")
        told = await run([*tool, "check", shop.url + path, "--json"], {})
        [each] = [each for each in told["advisories"] if each["method"] == method]
        assert {"inputSchema", "outputSchema"} <= {*each}
        assert each["protocols"] == ["x402", "mpp", "l402"]
        price = contract[path][method.lower()]["x-payment-info"]["price"]
        assert each["estimatedPrice"] == estimate(price), each


async def test_a_client_of_l402_needs_llms_txt_and_nothing_else(
    clients: Path, shop: Instance
) -> None:
    """From its words alone it knows where to send what: it buys an answer and an image, and each
    proof is good for the same one again."""
    python, program = clients / "venv" / "bin" / "python", RUNNERS / "llms_txt_buys.py"
    told = await run([python, program], {"llms": f"{shop.url}/llms.txt"})
    [answer, image] = told["told"]
    assert [answer[0][0], image[0][0]] == [200, 202], told
    assert answer[0][1]["result"].startswith("done: ")
    assert answer[1][1]["jobId"] == answer[0][1]["jobId"]
    assert image[1][1]["id"] == image[0][1]["id"]
    assert told["spentSats"] == answer[0][1]["priceSats"] + 50
    assert await audit(shop.built.db) == []


@pytest.fixture
async def on_lnbits(
    database_url: str, tmp_path: Path, lnbits: LnbitsServer, scripted_agent: ScriptedAgent
) -> AsyncIterator[Instance]:
    """An instance whose rail is a wallet of the real LNbits."""
    rail = LnbitsRail(lnbits.url, lnbits.us.adminkey, network="bc", clock=wall_clock, timeout_s=10)
    async with instance_of(database_url, tmp_path, rail=rail, agent=scripted_agent) as running:
        yield running


@pytest.mark.parametrize("name", ["bolthub", "pympp", "mppx"])
async def test_clients_buy_from_another_wallet_of_lnbits(
    clients: Path,
    on_lnbits: Instance,
    lnbits: LnbitsServer,
    scripted_agent: ScriptedAgent,
    name: str,
) -> None:
    """By GET and by POST; what they have paid is in our wallet."""
    ours, theirs = await lnbits.balance_msat(lnbits.us), await lnbits.balance_msat(lnbits.buyer)
    command, environment = runs(clients, name)
    wallet = {"url": lnbits.url, "key": lnbits.buyer.adminkey}
    asked = {"url": on_lnbits.url, "lnbits": wallet, "asks": ASKS}
    told = await run(command, asked, **environment)
    await holds(on_lnbits, scripted_agent, told, ASKS)
    spent_msat = told["spentSats"] * 1000
    assert await lnbits.balance_msat(lnbits.us) == ours + spent_msat
    assert await lnbits.balance_msat(lnbits.buyer) == theirs - spent_msat


async def test_bolthub_buys_images_from_another_wallet_of_lnbits(
    clients: Path, database_url: str, tmp_path: Path, lnbits: LnbitsServer
) -> None:
    """By the job and by the call; what was paid is in our wallet."""
    rail = LnbitsRail(lnbits.url, lnbits.us.adminkey, network="bc", clock=wall_clock, timeout_s=10)
    ours = await lnbits.balance_msat(lnbits.us)
    async with sold_by(database_url, tmp_path, ScriptedMaker(), rail=rail) as shop:
        command, environment = runs(clients, "bolthub")
        wallet = {"url": lnbits.url, "key": lnbits.buyer.adminkey}
        told = await run(command, {"url": shop.url, "lnbits": wallet, "asks": MEDIA}, **environment)
        await _are_bought(shop, told)
        assert await lnbits.balance_msat(lnbits.us) == ours + 1_000 * told["spentSats"]


async def test_npm_macaroon_narrows_a_session(clients: Path, instance: Instance) -> None:
    """What it hands out spends from the session up to its limits, and no further."""
    session_id, holder = await opened(instance)
    whole = holder["Authorization"].removeprefix("Bearer ")
    small, helper = npm(
        clients / "node_modules",
        {"token": whole, "add": ["max_sats=10"]},
        {"token": whole, "add": ["child=helper", "budget_sats=60"]},
    )

    async def ask(token: str) -> tuple[int, int]:
        path, sent = f"/api/sessions/{session_id}/request", {"request": "hello"}
        answer = await instance.post(path, sent, headers={"Authorization": f"Bearer {token}"})
        return answer.status_code, answer.json().get("debitedSats", 0)

    assert await ask(small) == (403, 0)  # it would cost more than ten
    answers = [await ask(helper) for _ in range(9)]
    codes, debits = [code for code, _ in answers], [sats for _, sats in answers]
    assert codes == sorted(codes) and set(codes) == {200, 402}
    assert 0 < sum(debits) <= 60
    code, last = await ask(whole)
    status = (await instance.http.get(f"/api/sessions/{session_id}", headers=holder)).json()
    assert code == 200 and status["balanceSats"] == 2_000 - sum(debits) - last
    assert await audit(instance.built.db) == []


async def test_a_stock_worker_lends_its_machine(clients: Path, open_house: Instance) -> None:
    """It is given a picture, brings it and is paid; what it breaks off is another's turn at once;
    and what it is refused, it reads in words of its own.
    """
    lender, other = await lends(open_house, "stock"), await lends(open_house, "another")
    key = (await lender.asks("POST", "/api/v1/workers/me/horde-key")).json()
    bought_id = await buys(open_house, "a red boat", "a blue boat")
    command = [clients / "venv" / "bin" / "python", RUNNERS / "horde_lends.py"]
    asked = {"url": key["url"], "key": key["apiKey"], "model": "scene-1"}
    told = await run(command, asked)
    pay = (await lender.me())["earnings"]["msat"]
    assert told == {
        **{"made": "a red boat", "model": "scene-1", "left": "a blue boat", "nothing": []},
        **{"reward": pay["earned"] // 1_000, "accumulated": pay["earned"] // 1_000},
        **{"kudos": pay["free"] // 1_000, "fulfilled": 1},
        "refused": ["WorkerNotFound", "InvalidAPIKey"],
    }
    assert pay["earned"] > 0 and pay["held"] == pay["earned"] // 2
    assert (await other.brings(await other.one(), painted())).status_code == 200
    assert (await ended(open_house, bought_id))["job"]["status"] == "completed"
    assert await audit(open_house.built.db) == []
