"""The wheel, installed where there is nothing else: every page and file, and what buyers can do."""

import asyncio
import hashlib
import json
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml

from app.commands.cli import COMMANDS
from tests.world.a1111_server import LOGIN
from tests.world.contract import without_prices
from tests.world.environments import ROOT, Built, Environment, build, tracked
from tests.world.patience import PATIENCE_S
from tests.world.provider_server import ProviderServer
from tests.world.server_process import ServerProcess

ROOMS = ("app", "db", "payments", "pricing", "statemachine")
PAGES = ("/", "/docs", "/operator", "/operator/books", "/openapi.yaml", "/openapi.json", "/metrics",
         "/api/healthz", "/api/readyz", "/.well-known/jwks.json", "/favicon.ico", "/workers",
         "/llms-full.txt")  # fmt: skip
TOKEN = "a-token-of-the-tests"
BUYERS = {"ask", "watch", "verify", "macaroon", "draw", "tools", "cast", "account", "lend"}
WALK = """
import importlib, pkgutil, app, db, payments, pricing, statemachine
for room in (app, db, payments, pricing, statemachine):
    assert "site-packages" in room.__file__
    for found in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
        if not found.name.startswith("db.migrations."):  # steps, which Alembic runs
            importlib.import_module(found.name)
            print(found.name)
"""


def contents(wheel: Path) -> dict[str, str]:
    """Return the digest of each file in a wheel."""
    with zipfile.ZipFile(wheel) as opened:
        return {name: hashlib.sha256(opened.read(name)).hexdigest() for name in opened.namelist()}


def test_the_wheel_holds_the_rooms_and_nothing_else(built: Built) -> None:
    """Each file of the five rooms is in it, byte by byte, and the contract with them; only their
    diagrams stay behind. No tests, no scripts."""
    wanted = {
        name: hashlib.sha256((ROOT / name).read_bytes()).hexdigest()
        for name in tracked()
        if name.split("/")[0] in ROOMS
        and not (name.startswith("statemachine/") and name.endswith(".md"))
    }
    assert wanted["app/openapi.yaml"] == wanted.get(
        "openapi.yaml", hashlib.sha256((ROOT / "openapi.yaml").read_bytes()).hexdigest()
    )
    held = contents(built.wheel)
    assert {name: digest for name, digest in held.items() if ".dist-info/" not in name} == wanted


def test_the_archive_of_sources_builds_the_same_wheel(built: Built, tmp_path: Path) -> None:
    """What is built of the sdist, unpacked where there is nothing else, holds the same files."""
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert contents(build("wheel", source, tmp_path / "wheel")) == contents(built.wheel)


def test_the_extra_server_is_all_that_a_server_imports(server_environment: Environment) -> None:
    """Every module of the wheel can be imported where only the locked packages of
    `boltwork[server]` are."""
    walked = server_environment.run(server_environment.python, "-c", WALK)
    assert walked.returncode == 0, walked.stderr[-1000:]
    assert {"app.main", "app.api.jobs.jobs", "db.embedded", "payments.lnbits"} <= {
        *walked.stdout.split()
    }


@pytest.fixture(scope="module")
def serving(server_environment: Environment) -> Iterator[ServerProcess]:
    """`boltwork serve` of the wheel, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="boltwork-test-") as name:
        Path(name).chmod(0o711)  # another user runs Postgres for root
        process = ServerProcess(Path(name), OPERATOR_TOKEN=TOKEN)
        process.command = server_environment.command
        process.start()
        yield process
        process.stop()


def test_every_page_and_file_is_served(serving: ServerProcess) -> None:
    """Each page, the contract in both its forms, each static file, and whatever a page of it links
    to: 200, and the files byte by byte."""
    operator = {"Authorization": f"Bearer {TOKEN}"}
    with httpx2.Client(base_url=serving.url, headers=operator, timeout=PATIENCE_S) as http:
        seen = {path: http.get(path) for path in PAGES}
        assert {path: answer.status_code for path, answer in seen.items()} == {
            path: 200 for path in PAGES
        }
        assert seen["/openapi.yaml"].content == (ROOT / "openapi.yaml").read_bytes()
        told = without_prices(seen["/openapi.json"].json())
        assert told == without_prices(yaml.safe_load(seen["/openapi.yaml"].text))
        assert "createJob" in seen["/docs"].text and "tiles" in seen["/operator"].text
        links = set(re.findall(r'(?:href|src)="(/[^"#]*)"', seen["/"].text + seen["/docs"].text))
        assert any(link.startswith("/static/") for link in links)
        for link in links:
            assert http.get(link).status_code == 200, link
        for file in (ROOT / "app" / "web" / "static").iterdir():
            if file.suffix != ".txt":
                served = http.get(f"/static/{file.name}")
                assert served.status_code == 200 and served.content == file.read_bytes(), file


def test_a_buyer_needs_no_server(
    serving: ServerProcess, buyer_environment: Environment, tmp_path: Path
) -> None:
    """With the base install alone, `boltwork ask` buys a job over HTTP and pays for it, and
    `boltwork verify` finds its receipt genuine."""
    buyer = buyer_environment
    state = {"XDG_STATE_HOME": str(tmp_path), "BOLTWORK_URL": serving.url}
    asked = buyer.run(buyer.command, "ask", "Say hello.", "--json", **state)
    assert asked.returncode == 0, asked.stderr
    job = json.loads(asked.stdout)
    assert job["state"] == "complete" and job["result"]
    receipt = tmp_path / "receipt.json"
    receipt.write_bytes(
        httpx2.get(f"{serving.url}/api/jobs/{job['jobId']}/receipt", timeout=PATIENCE_S).content
    )
    checked = buyer.run(buyer.command, "verify", receipt, **state)
    assert checked.returncode == 0 and "Genuine" in checked.stdout
    assert buyer.run(buyer.command, "--version").stdout.startswith("boltwork ")


async def test_who_lends_a_machine_needs_no_server(
    buyer_environment: Environment, a1111_server: ProviderServer, tmp_path: Path
) -> None:
    """With the base install alone, `boltwork lend` makes things with a server of its owner's; the
    embedded painter comes with the extra, and it says so."""
    lender = buyer_environment
    state = {"XDG_STATE_HOME": str(tmp_path), "BOLTWORK_BACKEND_KEY": LOGIN}
    words = ("lend", "--url", "http://127.0.0.1:9", "--to", "you@example.org", "--model", "scene-1")
    backend = ("--backend", f"a1111:{a1111_server.url}")
    said = await asyncio.to_thread(lender.run, lender.command, *words, *backend, **state)
    assert (said.returncode, a1111_server.asked[0].path) == (5, "/sdapi/v1/sd-models"), said.stderr
    painted = await asyncio.to_thread(
        lender.run, lender.command, *words, "--backend", "scene", **state
    )
    assert painted.returncode == 2 and "pip install 'boltwork[server]'" in painted.stderr


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - BUYERS))
def test_what_needs_a_server_says_what_to_install(
    name: str, buyer_environment: Environment, tmp_path: Path
) -> None:
    """With the base install alone, each command of a server's is refused in one line that names
    the extra: no trace, and nothing is written."""
    words = {"payouts": ("payouts",), "keys": ("keys", "rotate"), "backup": ("backup", "x"),
             "restore": ("restore", "x"), "cells": ("cells", "x")}  # fmt: skip
    said = buyer_environment.run(
        buyer_environment.command, *words.get(name, (name,)), BOLTWORK_DATA=str(tmp_path / "data")
    )
    assert said.returncode == 1
    assert said.stderr.startswith("boltwork: ") and said.stderr.count("\n") == 1
    assert "pip install 'boltwork[server]'" in said.stderr
    assert not (tmp_path / "data").exists()
