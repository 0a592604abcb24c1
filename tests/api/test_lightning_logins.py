"""Logins by a Lightning wallet (LUD-04): it signs a code, and who asked for the code is let in."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from payments.lnurl import decode
from payments.lnurl_auth import is_signed
from tests.world.account_fixtures import signed_in
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance, instance_of
from tests.world.lightning_wallet import key_of, scan_of, signature
from tests.world.lnbits_server import installed_python

pytestmark = pytest.mark.one_instance

LOGIN, JOIN = "/api/auth/lnurl/login", "/api/auth/lnurl/join"
WALLET, OTHER = (ec.derive_private_key(number, ec.SECP256K1()) for number in (7, 8))
# A stock wallet's library, as LNbits has it, with a seed of its own.
STOCK = """
import asyncio, sys
from lnurl import execute_login, handle
async def main():
    offer = await handle(sys.argv[1])
    told = await execute_login(offer, seed="00" * 32)
    print(told.json())
asyncio.run(main())
"""


async def code(at: Instance, **body: str) -> dict[str, str]:
    """Ask for a code."""
    answer = await at.post("/api/auth/lnurl", body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def scanned(
    at: Instance, made: dict[str, str], wallet: ec.EllipticCurvePrivateKey = WALLET, **other: str
) -> dict[str, Any]:
    """Have a wallet scan a code and sign it; return what it is answered."""
    assert made["k1"] in (decode(made["lnurl"]) or "")
    return await scan_of(at, made["lnurl"], wallet, **other)


async def fetched(at: Instance, made: dict[str, str], path: str = LOGIN) -> httpx2.Response:
    """Ask for what a code has come to; the client forgets the cookie."""
    answer = await at.post(path, {"k1": made["k1"], "secret": made["secret"]})
    at.http.cookies.clear()
    return answer


async def test_a_wallet_opens_the_account_of_its_key(instance: Instance) -> None:
    """Until it has signed there is a 202; the first login makes the account, the next finds it."""
    told = []
    for wallet in (WALLET, WALLET, OTHER):
        made = await code(instance)
        assert (await fetched(instance, made)).status_code == 202
        assert await scanned(instance, made, wallet) == {"status": "OK"}
        answer = await fetched(instance, made)
        assert answer.status_code == 200, answer.text
        assert answer.cookies["session"] == answer.json()["sessionToken"]
        told.append(answer.json())
    first, second, other = told
    assert (first["created"], second["created"], other["created"]) == (True, False, True)
    assert first["accountId"] == second["accountId"] != other["accountId"]
    shown = {"Authorization": f"Bearer {second['sessionToken']}"}
    me = (await instance.http.get("/api/auth/me", headers=shown)).json()
    assert (me["lightningKeys"], me["wallets"]) == ([key_of(WALLET)], [])
    assert me["login"]["by"] == "lightning"


async def test_the_code_alone_lets_nobody_in(instance: Instance) -> None:
    """Whoever sees it, and the wallet that signs it, don't know the secret; nor is one guessed."""
    made, other = await code(instance), await code(instance)
    assert made["secret"] not in made["lnurl"] and made["secret"] not in (
        decode(made["lnurl"]) or ""
    )
    await scanned(instance, made)
    for secret in ("0" * 64, other["secret"], made["k1"]):
        answer = await instance.post(LOGIN, {"k1": made["k1"], "secret": secret})
        assert (answer.status_code, answer.json()["code"]) == (401, "credential_invalid")
        assert "session" not in answer.cookies
    assert (await fetched(instance, made)).status_code == 200


async def test_a_code_is_good_once(instance: Instance) -> None:
    """A wallet may say the same twice; nobody else signs it then, and one fetch has it."""
    made = await code(instance)
    for _ in range(2):
        assert await scanned(instance, made) == {"status": "OK"}
    told = await scanned(instance, made, OTHER)
    assert told["status"] == "ERROR" and "used before" in told["reason"]
    body = {"k1": made["k1"], "secret": made["secret"]}
    answers = await asyncio.gather(*[instance.post(LOGIN, body) for _ in range(5)])
    assert sorted(answer.status_code for answer in answers) == [200, 202, 202, 202, 202]
    assert (await scanned(instance, made))["status"] == "ERROR"
    assert (await fetched(instance, made)).status_code == 202


async def test_a_code_is_good_for_ten_minutes(database_url: str, tmp_path: Path) -> None:
    """And it must be ours: with its mark, and by nobody else's secret."""
    clock = Clock()
    async with instance_of(database_url, tmp_path, clock=clock) as at:
        made = await code(at)
        await scanned(at, made)
        clock.forward(seconds=601)
        assert (await fetched(at, made)).status_code == 401
        late = await code(at)
        clock.forward(seconds=601)
        assert (await scanned(at, late))["status"] == "ERROR"
        k1 = f"{int(clock().timestamp()) + 500:08x}" + "0" * 56
        query = {"tag": "login", "key": key_of(WALLET), "sig": signature(k1, WALLET)}
        told = (await at.http.get(f"/api/lnurl/auth/{k1}", params=query)).json()
        assert told["status"] == "ERROR" and "not ours" in told["reason"]


async def test_what_is_no_signature_is_refused(instance: Instance) -> None:
    """In LNURL's own words, whatever a wallet sends."""
    made = await code(instance)
    wrong: dict[str, Any]
    for wrong in (
        {"sig": signature("00" * 32, WALLET)},
        {"sig": ""},
        {"sig": "zz"},
        {"key": key_of(OTHER)},
        {"key": "04" + "0" * 128},
        {"key": "02" + "f" * 64},
        {"k1": "0" * 64},
        {"tag": "withdrawRequest"},
    ):
        told = await scanned(instance, made, WALLET, **wrong)
        assert told["status"] == "ERROR" and told["reason"].endswith("."), wrong
    assert (await fetched(instance, made)).status_code == 202
    assert not is_signed("", "", "") and not is_signed("0" * 64, key_of(WALLET), "30" * 8)


@pytest.mark.one_instance(False)
async def test_a_wallet_joins_an_account(instance: Instance) -> None:
    """It opens that from then on; one that opens another account is refused."""
    holder, stranger = await signed_in(instance), await signed_in(instance, "stranger")
    made = await code(instance, action="link")
    assert "action=link" in (decode(made["lnurl"]) or "")
    body = {"k1": made["k1"], "secret": made["secret"]}
    assert (await instance.post(JOIN, body)).status_code == 401
    assert (await instance.post(JOIN, body, headers=holder)).status_code == 202
    await scanned(instance, made)
    joined = await instance.post(JOIN, body, headers=holder)
    assert joined.json() == {"lightningKey": key_of(WALLET)}
    again = await code(instance)
    await scanned(instance, again)
    me = (await instance.http.get("/api/auth/me", headers=holder)).json()
    assert (await fetched(instance, again)).json()["accountId"] == me["accountId"]
    theirs = await code(instance)
    await scanned(instance, theirs)
    body = {"k1": theirs["k1"], "secret": theirs["secret"]}
    refused = await instance.post(JOIN, body, headers=stranger)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_possible_now")


async def test_new_accounts_are_counted(database_url: str, tmp_path: Path) -> None:
    """Keys cost nothing; whoever has an account is let in all the same."""
    async with instance_of(database_url, tmp_path, ACCOUNTS_PER_HOUR="1") as at:
        for wallet, status in ((WALLET, 200), (OTHER, 429), (WALLET, 200)):
            made = await code(at)
            await scanned(at, made, wallet)
            assert (await fetched(at, made)).status_code == status


async def test_a_server_that_does_not_know_its_address_makes_no_code(instance: Instance) -> None:
    """A Host is the caller's word: a wallet would sign for a server of his."""
    answer = await instance.post("/api/auth/lnurl", {}, headers={"Host": "elsewhere.example"})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_possible_now")


async def test_a_stock_wallet_signs_in(instance: Instance) -> None:
    """By the library that LNbits uses, unmodified, over HTTP."""
    made = await code(instance)
    stock = await asyncio.create_subprocess_exec(
        str(installed_python()), "-c", STOCK, made["lnurl"],
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, wrong = await stock.communicate()
    assert stock.returncode == 0, wrong.decode()
    assert json.loads(said)["status"] == "OK"
    assert (await fetched(instance, made)).status_code == 200
