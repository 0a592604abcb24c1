"""A whole Boltwork that is a cell: all that it makes for others to show begins with its digits."""

import re
from base64 import b64decode, urlsafe_b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.agents.chat import WorkerChat
from db.audit import audit
from payments.challenge import BadProof, Proof
from payments.macaroon import Macaroon, read
from payments.session_macaroon import named_by
from payments.usdc.x402 import read_header
from tests.world.account_fixtures import signed_in
from tests.world.asking import OFFER, ask
from tests.world.house_fixtures import Instance, instance_of
from tests.world.patience import PATIENCE_S, patiently
from tests.world.paying import payment_in
from tests.world.scripted_agent import ScriptedAgent
from tests.world.scripted_maker import ScriptedMaker
from tests.world.what_opens_world import TOKEN, build

CELL, NUMBER = "b7", 0xB7
ID = re.compile("[0-9a-f]{32}")
# What has the shape of an id, and is none: the hash of one, and what clients name.
NO_IDS = {("connect_request", "id"), ("idempotency_key", "key")}
COLUMNS = """
SELECT table_name, column_name FROM information_schema.columns
 WHERE table_schema = 'public' AND data_type IN ('text', 'character varying')
   AND table_name NOT LIKE 'procrastinate%%'
"""


@pytest.fixture
async def cell(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent
) -> AsyncIterator[Instance]:
    """An instance that is a cell."""
    async with instance_of(
        database_url,
        tmp_path,
        agent=scripted_agent,
        chat=WorkerChat(scripted_agent, 100_000, ScriptedMaker()),
        executors=[ScriptedMaker()],
        OPERATOR_TOKEN=TOKEN,
        CREDIT_SATS="200",
        WORKERS="true",
        CELL=CELL,
    ) as running:
        yield running


async def foreign_ids(at: Instance) -> dict[str, list[str]]:
    """Return the columns that hold an id which is no id of this cell's, with what they hold."""
    found: dict[str, list[str]] = {}
    for table, column in [tuple(row.values()) for row in await at.built.db.read_all(COLUMNS)]:
        query = f'SELECT DISTINCT "{column}" AS held FROM "{table}" WHERE "{column}" IS NOT NULL'
        held = [str(row["held"]) for row in await at.built.db.read_all(query)]
        foreign = [each for each in held if ID.match(each) and not each.startswith(CELL)]
        foreign = [each for each in foreign if re.fullmatch("[0-9a-f]{32}(:.*)?", each)]
        if foreign and (table, column) not in NO_IDS:
            found[f"{table}.{column}"] = foreign
    return found


async def test_every_id_begins_with_the_digits_of_its_cell(cell: Instance) -> None:
    """Of jobs, sessions, batches, casts, payouts, logins, workers: whatever the tables hold."""
    async with httpx2.AsyncClient(base_url=cell.url, timeout=PATIENCE_S) as http:
        world = await build(cell, http)
    named = {name for known in world.known.values() for name in known.ids.values()}
    ids = [name for name in named if ID.fullmatch(name)]
    assert len(ids) > 10
    assert await foreign_ids(cell) == {}
    assert await audit(cell.built.db) == []


async def test_credentials_hold_their_cell_where_a_router_reads_it(cell: Instance) -> None:
    """Challenges of a 402, a session's macaroon, a login, keys: in the form that they ever had."""
    offer = await ask(cell, "hello")
    found = OFFER.match(offer.headers["www-authenticate"])
    assert found is not None and b64decode(found[1] + "==")[43] == NUMBER
    challenge = payment_in(", ".join(offer.headers.get_list("www-authenticate")))
    assert len(challenge["id"]) == 48 and urlsafe_b64decode(challenge["id"])[0] == NUMBER
    [accepted] = (read_header(offer.headers["payment-required"]) or {})["accepts"]
    assert accepted["extra"]["cell"] == CELL
    paid = (await cell.post(f"/api/dev/stub/pay/{offer.json()['paymentHash']}")).json()
    proof = {"Authorization": f"L402 {found[1]}:{paid['preimage']}"}
    assert (await ask(cell, "hello", **proof)).status_code == 200
    made = (await cell.post("/api/sessions", {"amount_sats": 1000})).json()
    await cell.pay(made["invoice"])
    macaroon = await _macaroon(cell, made)
    whole = read(macaroon)
    assert isinstance(whole, Macaroon)
    named = named_by(whole)
    assert getattr(named, "session_id", "") == made["sessionId"]
    assert urlsafe_b64decode(macaroon[:20])[14] == NUMBER
    holder = await signed_in(cell)
    assert re.fullmatch("Bearer b7[0-9a-f]{62}", holder["Authorization"])
    key = (await cell.post("/api/v1/user/apikeys", {"name": "k"}, headers=holder)).json()
    assert re.fullmatch("sk_live_bw_b7[0-9A-Za-z]{47}", _key_in(key))
    me = await cell.http.get("/api/v1/user/me", headers={"x-api-key": _key_in(key)})
    assert me.status_code == 200
    worker = await cell.post("/api/v1/workers", {"name": "w", "payTo": "you@example.org"})
    token = worker.json()["token"]
    assert token.startswith("wk_b7") and worker.json()["workerId"].startswith(CELL)
    given = {"Authorization": f"Bearer {token}"}
    stock = await cell.http.post("/api/v1/workers/me/horde-key", headers=given)
    assert re.search(r'"b7[0-9A-Za-z]{20}"', stock.text)


async def test_what_was_made_before_there_were_cells_holds(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent
) -> None:
    """A macaroon and a proof of before are good in the cell; those of another cell are not."""
    async with instance_of(database_url, tmp_path, agent=scripted_agent) as before:
        offer = await ask(before, "hello")
        found = OFFER.match(offer.headers["www-authenticate"])
        assert found is not None
        paid = (await before.post(f"/api/dev/stub/pay/{offer.json()['paymentHash']}")).json()
        headers = {"authorization": f"L402 {found[1]}:{paid['preimage']}"}
    for digits in ("b7", "0a"):
        async with instance_of(database_url, tmp_path, agent=scripted_agent, CELL=digits) as now:
            assert isinstance(await now.built.credentials.accept(headers), Proof)
            challenge = (await ask(now, "hello")).headers["www-authenticate"]
            new = OFFER.match(challenge)
            assert new is not None
            ours = {"authorization": f"L402 {new[1]}:{'0' * 64}"}
    async with instance_of(database_url, tmp_path, agent=scripted_agent, CELL="b7") as other:
        refused = await other.built.credentials.accept(ours)
        assert isinstance(refused, BadProof) and "not in use" in refused.reason


async def _macaroon(at: Instance, made: dict[str, Any]) -> str:
    path = f"/api/sessions/{made['sessionId']}?claim={made['claim']}"
    async for look in patiently("there is no macaroon", pause_s=0.01):
        look.saw = shown = (await at.http.get(path)).json()
        if "macaroon" in shown:
            break
    return str(shown["macaroon"])


def _key_in(told: dict[str, Any]) -> str:
    found = re.search(r"sk_live_bw_\w{49}", str(told))
    assert found is not None, told
    return found[0]
