"""Logins under attack: guesses from many addresses let nobody in, and lock nobody out for good; and
what opens an account stands in no log, error, metric, trace, table or backup.
"""

import asyncio
import os
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from app.keys.api_keys import Prefix, new_key
from app.telemetry import tracing
from db import backup
from db.embedded import packaged_binaries
from tests.world.account_fixtures import has, paid_in
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance, instance_of
from tests.world.lightning_wallet import scan_of
from tests.world.notice_server import NoticeServer
from tests.world.trace_collector import Collector, collecting

GUESSES = int(os.environ.get("GUESSES", "1000"))
AT_ONCE = 16
TOOLS = packaged_binaries()
CLOSES = "planted-secret-of-the-operator-012"
PEOPLE, PASSWORD = ("alice", "bob", "carol"), "planted-password-of-theirs"
ME = "/api/v1/user/me"


async def log_in(at: Instance, name: str, password: str, address: str) -> httpx2.Response:
    """Log in from an address, without a cookie."""
    body = {"username": name, "password": password}
    answer = await at.post("/api/auth/login", body, headers={"X-Forwarded-For": address})
    at.http.cookies.clear()
    return answer


async def attack(at: Instance, guesses: int) -> Counter[int]:
    """Guess at everybody's password, recovery code and key, each guess from one of many addresses;
    return how they were answered.
    """
    told: Counter[int] = Counter()
    room = asyncio.Semaphore(AT_ONCE)

    async def guess(number: int) -> None:
        address = f"198.51.{number % 200}.{number // 200 % 250 + 1}"
        name, headers = PEOPLE[number % len(PEOPLE)], {"X-Forwarded-For": address}
        async with room:
            if number % 10 == 0:
                body = {
                    "username": name,
                    "recoveryCode": f"{number:032x}",
                    "newPassword": "a thief's own",
                }
                answer = await at.post("/api/auth/recover", body, headers=headers)
            elif number % 10 == 1:
                shown = {"x-api-key": new_key(Prefix.SK), **headers}
                answer = await at.http.get(ME, headers=shown)
            else:
                answer = await log_in(at, name, f"guess {number}", address)
        assert "session" not in answer.cookies
        told[answer.status_code] += 1

    await asyncio.gather(*(guess(number) for number in range(guesses)))
    return told


async def test_many_guesses_from_many_addresses_let_nobody_in(
    database_url: str, tmp_path: Path
) -> None:
    """Whoever is signed in stays so, whoever has a recovery code gets in meanwhile, and everybody
    gets in by the password once a quarter of an hour is over.
    """
    clock = Clock()
    async with instance_of(database_url, tmp_path, clock=clock, TRUSTED_PROXIES="1") as at:
        opened = {name: await log_in(at, name, PASSWORD, "192.0.2.1") for name in PEOPLE}
        told = await attack(at, GUESSES)
        assert set(told) <= {401, 429} and told.total() == GUESSES
        assert told[429] > GUESSES // 2  # most of them are not even looked at
        for name, first in opened.items():
            shown = {"Authorization": f"Bearer {first.cookies.get('session')}"}
            me = await at.http.get("/api/auth/me", headers=shown)
            assert (me.status_code, me.json()["username"]) == (200, name)
        closed = await log_in(at, PEOPLE[0], PASSWORD, "192.0.2.2")
        assert closed.status_code == 429 and 0 < int(closed.headers["retry-after"]) <= 900
        body = {
            "username": PEOPLE[1],
            "recoveryCode": opened[PEOPLE[1]].json()["recoveryCode"],
            "newPassword": PASSWORD,
        }
        found = await at.post("/api/auth/recover", body, headers={"X-Forwarded-For": "192.0.2.3"})
        at.http.cookies.clear()
        assert found.status_code == 200, found.text
        clock.forward(minutes=15)
        for name in PEOPLE:
            assert (await log_in(at, name, PASSWORD, "192.0.2.4")).status_code == 200


async def test_what_opens_an_account_stands_nowhere(
    database_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Passwords, recovery codes, tokens, keys, the secrets of codes, requests and webhooks: in no
    log, metric, trace or refusal, in no row of the database, and in no backup of it.
    """
    backup_at = tmp_path / "backup"
    async with (
        instance_of(database_url, tmp_path, LOG_LEVEL="debug", BOLTWORK_SECRET=CLOSES) as at,
        NoticeServer().running() as receiver,
        traced() as collector,
    ):
        first = await log_in(at, PEOPLE[0], PASSWORD, "192.0.2.1")
        token = str(first.cookies.get("session"))
        holder = {"Authorization": f"Bearer {token}"}
        key = (await at.post("/api/v1/user/apikeys", {}, headers=holder)).json()["apiKey"]
        asked = (await at.post("/api/v1/wallets/connect/initiate", {})).json()
        await at.pay(asked)
        await paid_in(at, {"x-api-key": key}, 100)
        await has(at, {"x-api-key": key}, 100)
        told = await _status(at, asked)
        code = (await at.post("/api/auth/lnurl", {})).json()
        await scan_of(at, code["lnurl"], ec.derive_private_key(5, ec.SECP256K1()))
        signed = {"k1": code["k1"], "secret": code["secret"]}
        by_wallet = (await at.post("/api/auth/lnurl/login", signed)).json()["sessionToken"]
        at.http.cookies.clear()
        hook = {"mode": "webhook", "url": receiver.url, "secret": "planted-secret-of-a-webhook"}
        run = {"toolId": "qr-code", "inputs": {"text": "hello"}, "delivery": hook}
        made = await at.post("/api/v1/generations/execute", run, headers={"x-api-key": key})
        assert made.status_code == 202, made.text
        await receiver.until(1)
        wrong = [
            await log_in(at, PEOPLE[0], f"{PASSWORD}!", "192.0.2.1"),
            await at.http.get(ME, headers={"x-api-key": key[:-1] + "!"}),
            await at.http.get(ME, headers={"x-api-key": key, **_bearing(by_wallet)}),
            await at.post("/api/auth/login", {"username": PEOPLE[0], "password": {"a": PASSWORD}}),
        ]
        assert all(answer.status_code >= 400 for answer in wrong)
        metrics = (await at.http.get("/metrics")).text
        secrets = {
            "password": PASSWORD,
            "recovery code": first.json()["recoveryCode"],
            "token": token,
            "key": key,
            "a request's id": asked["requestId"],
            "its key": told["apiKey"],
            "a code's secret": code["secret"],
            "a wallet's token": by_wallet,
            "a webhook's secret": hook["secret"],
            "what closes them": CLOSES,
        }
        kept = await _kept(at)
        await asyncio.to_thread(backup.dump, database_url, backup_at, TOOLS)
    logged = "".join(capfd.readouterr())
    places = {"log": logged, "metrics": metrics, "database": kept}
    places["traces"] = collector.raw.decode(errors="replace")
    places["backup"] = _told_of(backup_at)
    places["refusals"] = " ".join(answer.text + str(answer.headers) for answer in wrong)
    assert "answered" in logged and "api_key" in kept and "boltwork_http" in metrics
    assert "api_key" in places["backup"] and collector.named("POST /api/auth/login")
    found = [f"{what}: {where}" for what, secret in secrets.items()
             for where, text in places.items() if secret in text]  # fmt: skip
    assert found == []


@asynccontextmanager
async def traced() -> AsyncIterator[Collector]:
    """Send this process's traces to a collector for as long as the block lasts; all have arrived
    when it ends."""
    async with collecting() as collector:
        tracing.configure(collector.url)
        try:
            yield collector
        finally:
            await asyncio.to_thread(tracing.close)


def _told_of(backup_at: Path) -> str:
    """Return what a backup holds, as text."""
    words = [str(TOOLS / "pg_restore"), "--file=-", str(backup_at)]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


async def _status(at: Instance, asked: dict[str, Any]) -> dict[str, Any]:
    path = f"/api/v1/wallets/connect/status/{asked['requestId']}?wait=30"
    return dict((await at.http.get(path)).json())


def _bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def _kept(at: Instance) -> str:
    """Return all that the database holds, as text."""
    names = await at.built.db.read_all(
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    rows = []
    for each in names:
        query = f"SELECT to_jsonb(t)::text AS row FROM {each['name']} t"
        rows += [f"{each['name']} {row['row']}" for row in await at.built.db.read_all(query)]
    return "\n".join(rows)
