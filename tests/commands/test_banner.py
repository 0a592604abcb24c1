"""What a start says of itself, and who may read its numbers."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2

from app.main import make_rail, utc_now
from app.serving import banner
from db.unused_port import unused_port
from pricing.oracle import Oracle
from tests.world.house_fixtures import Instance, fixed_oracle, instance_of, settings_for
from tests.world.lnbits_server import LnbitsServer
from tests.world.patience import PATIENCE_S
from tests.world.server_process import ServerProcess

TOKEN = "an-operators-token-0123456789"
REAL: dict[str, Any] = {
    "BOLTWORK_ENV": "production",
    "LNBITS_URL": "http://user:planted@lnbits.internal:5000",
    "LNBITS_API_KEY": "planted",
    "BOLTWORK_SECRET": "planted" * 5,
    "OPERATOR_TOKEN": TOKEN,
    "ALLOW_EMBEDDED_MODEL": True,
}


def said(folder: Path, **settings: object) -> dict[str, str]:
    """Return what the banner says, by what it is about."""
    lines = banner.notes(settings_for(folder, **settings))
    return dict(line.split(": ", 1) for line in lines)


def test_production_names_its_parts(tmp_path: Path) -> None:
    """Rail, agents, price and database are named as in development, and no secret is."""
    claude = {"ANTHROPIC_API_KEY": "planted", "GEMINI_API_KEY": "planted"}
    url = "postgresql://boltwork:planted@db.internal:5433/market?sslmode=require"
    parts = said(tmp_path, **REAL, **claude, DATABASE_URL=url)
    assert parts["environment"] == "production"
    assert parts["rail"] == "LNbits at lnbits.internal:5000, invoices for bc."
    assert "claude-" in parts["agents"] and "gemini-" in parts["agents"]
    assert parts["database"] == "Postgres at db.internal:5433, database market"
    assert "kraken" in parts["price"] and "nothing is sold until they do" in parts["price"]
    assert "planted" not in str(parts)
    assert set(said(tmp_path)) == set(parts)
    fixed = said(tmp_path, **REAL, BTC_PRICE_USD_FALLBACK=90_000)["price"]
    assert "90,000 USD" in fixed


async def test_a_start_without_a_price_says_so() -> None:
    """Nothing can be sold without one: the banner names it, and a fixed price too."""
    oracle = Oracle((), clock=utc_now, fallback_microusd=None, development_microusd=None)
    [line] = [line async for line in banner.of_price(oracle)]
    assert line.startswith("price: NONE just now.") and "Nothing can be sold" in line
    [line] = [line async for line in banner.of_price(fixed_oracle(utc_now))]
    assert "fixed bitcoin price" in line


def test_a_server_prints_its_parts(server: ServerProcess) -> None:
    """The lines follow the address, on standard output."""
    server.start()
    lines = [server.line() for _ in range(6)]
    about = [line.split(":")[0].strip() for line in lines]
    assert about == ["environment", "rail", "agents", "database", "price", "price"], lines


# -------------------------------------------------------------- the numbers


async def test_production_shows_its_numbers_to_the_operator(
    database_url: str, tmp_path: Path
) -> None:
    """They tell what is earned: without the operator's token, and with another, it is a 401."""
    async with instance_of(database_url, tmp_path, **REAL | {"LNBITS_URL": "http://x"}) as running:
        for headers in ({}, {"Authorization": "Bearer another"}, {"Cookie": "boltwork_operator=1"}):
            answer = await running.http.get("/metrics", headers=headers)
            assert answer.status_code == 401 and "boltwork_" not in answer.text
        shown = await running.http.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        assert shown.status_code == 200 and "boltwork_rail_push_up" in shown.text


async def test_production_without_a_token_shows_nothing(database_url: str, tmp_path: Path) -> None:
    """Where no token is set, nobody is the operator."""
    bare = {name: value for name, value in REAL.items() if name != "OPERATOR_TOKEN"}
    async with instance_of(database_url, tmp_path, **bare | {"LNBITS_URL": "http://x"}) as running:
        assert (await running.http.get("/metrics")).status_code == 401


async def test_numbers_have_a_port_of_their_own(server: ServerProcess) -> None:
    """With METRICS_PORT a server answers them there alone, and nothing else."""
    port = unused_port()
    server.environment["METRICS_PORT"] = str(port)
    url = await asyncio.to_thread(server.start)
    async with httpx2.AsyncClient(timeout=PATIENCE_S) as http:
        assert (await http.get(f"{url}/metrics")).status_code == 404
        apart = await http.get(f"http://127.0.0.1:{port}/metrics")
        assert apart.status_code == 200 and "boltwork_rail_push_up" in apart.text
        assert (await http.get(f"http://127.0.0.1:{port}/api/healthz")).status_code == 404


# ---------------------------------------------------------------- the rail


async def test_an_address_of_no_lnbits_is_told_from_a_wrong_key(
    tmp_path: Path, lnbits: LnbitsServer, instance: Instance
) -> None:
    """Another server, a path too much, and a key that is not taken have a sentence each."""
    for url, key, reason in (
        (f"{lnbits.url}/no/such/path", lnbits.us.adminkey, "is no LNbits"),
        (instance.url, lnbits.us.adminkey, "is no LNbits"),
        (lnbits.url, "nobody", "does not accept the key"),
        (lnbits.url, lnbits.us.inkey, "cannot pay"),
    ):
        rail = make_rail(settings_for(tmp_path, LNBITS_URL=url, LNBITS_API_KEY=key), utc_now)
        trouble = await rail.healthy()
        await rail.close()
        assert trouble is not None and reason in trouble.reason, (url, trouble)
