"""`boltwork stub-facilitator`: the stub over HTTP, for x402 servers and clients outside."""

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

from payments.usdc.facilitator import HttpFacilitator
from payments.usdc.network import BASE_SEPOLIA
from payments.usdc.outcome import Declined, Settled, Unknown, Used, Valid
from payments.usdc.stub_chain import FAUCET
from tests.world.command import BARE, boltwork
from tests.world.patience import PATIENCE_S
from tests.world.usdc_fixtures import OFFER, PRICE, SHOP, Payer

COMMAND = Path(sys.executable).with_name("boltwork")
REAL = {
    "BOLTWORK_ENV": "production",
    "LNBITS_URL": "http://127.0.0.1:9",
    "LNBITS_API_KEY": "k",
    "BOLTWORK_SECRET": "s" * 32,
    "ANTHROPIC_API_KEY": "k",
}


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """The command, listening."""
    process = await asyncio.create_subprocess_exec(
        COMMAND, "stub-facilitator", "--port", "0",
        env=BARE | {"BOLTWORK_DATA": str(folder)}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            line = (await process.stdout.readline()).decode()
        assert " listens on http://127.0.0.1:" in line
        yield line.split(" listens on ")[1].strip(), process
    finally:
        if process.returncode is None:
            process.terminate()
        assert await process.wait() in (0, -9)


async def test_the_stub_is_served_with_its_chain_and_its_faults(tmp_path: Path) -> None:
    """Payments settle once, balances are shown, a fault happens as often as it was asked for, a
    connection can be cut in an answer; and what was settled outlives kill -9."""
    payer, now_s = Payer(), int(time.time())
    cut, settled = payer.pays(OFFER, now_s), payer.pays(OFFER, now_s)
    async with (
        served(tmp_path) as (url, process),
        httpx2.AsyncClient(base_url=url, timeout=PATIENCE_S) as http,
    ):
        facilitator = HttpFacilitator(url, BASE_SEPOLIA, timeout_s=PATIENCE_S)
        assert await facilitator.healthy() is None
        fault = {"call": "settle", "fault": "cut", "times": 9}
        assert (await http.post("/dev/faults", json=fault)).status_code == 204
        assert type(await facilitator.settle(cut)) is Unknown
        assert (await http.delete("/dev/faults")).status_code == 204
        assert await facilitator.verify(settled) == Valid()
        assert isinstance(await facilitator.settle(settled), Settled)
        late = payer.pays(OFFER, now_s, valid_before_s=now_s)
        assert isinstance(await facilitator.settle(late), Declined)
        process.kill()
        await process.wait()
        await facilitator.close()
    async with (
        served(tmp_path) as (url, _),
        httpx2.AsyncClient(base_url=url, timeout=PATIENCE_S) as http,
    ):
        facilitator = HttpFacilitator(url, BASE_SEPOLIA, timeout_s=PATIENCE_S)
        for paid in (cut, settled):
            assert isinstance(await facilitator.settle(paid), Used)
        asked = {"network": "eip155:84532", "address": SHOP.lower()}
        told = (await http.get("/dev/balance", params=asked)).json()
        assert told == {**asked, "address": SHOP, "amount": str(FAUCET + 2 * PRICE)}
        await facilitator.close()


async def test_what_is_sent_wrongly_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """Other JSON, no JSON, a payment for something else, a fault that there is not."""
    payer = Payer()
    other = payer.pays(OFFER, int(time.time()), payee=payer.address).asked()
    async with (
        served(tmp_path) as (url, _),
        httpx2.AsyncClient(base_url=url, timeout=PATIENCE_S) as http,
    ):
        for path, sent in (
            ("/settle", b""),
            ("/settle", b"[" * 9_000),
            ("/verify", b'{"paymentPayload":7}'),
            ("/dev/faults", b"{}"),
            ("/dev/faults", b'{"call":"verify","fault":"pending"}'),
            ("/dev/faults", b'{"call":"settle","fault":"cut","times":0}'),
        ):
            answer = await http.post(path, content=sent)
            assert answer.status_code == 400 and answer.json()["error"].endswith("."), path
        answers = [await http.post("/settle", json=other), await http.get("/dev/balance")]
        assert [answer.status_code for answer in answers] == [400, 400]
        assert (await http.get("/")).status_code == 404


def test_production_does_not_serve_it(tmp_path: Path) -> None:
    """It moves no real money; a port that is taken, or a folder that is none, is named."""
    said = boltwork("stub-facilitator", **REAL, BOLTWORK_DATA=str(tmp_path))
    assert said.returncode == 2 and "not for BOLTWORK_ENV=production" in said.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = boltwork("stub-facilitator", "--port", port, BOLTWORK_DATA=str(tmp_path))
        assert said.returncode == 1 and "another --host or --port" in said.stderr
    (tmp_path / "file").touch()
    said = boltwork("stub-facilitator", BOLTWORK_DATA=str(tmp_path / "file"))
    assert said.returncode == 1 and "BOLTWORK_DATA" in said.stderr
