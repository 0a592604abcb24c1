"""Logins by a wallet: a message of ERC-4361, signed, with a nonce of ours that is good once."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app import advance
from payments.siwe import SignIn, Wrong, personal_digest, signed_in
from payments.usdc.address import address_of_key
from payments.usdc.authorization import signature_of
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance, instance_of

pytestmark = pytest.mark.one_instance

KEY, OTHER = bytes(range(1, 33)), bytes(range(2, 34))
ADDRESS = address_of_key(KEY)
DOMAIN = "boltwork.example"


async def message_for(at: Instance, key: bytes = KEY) -> str:
    """Return a message for the holder of a key to sign."""
    answer = await at.http.get("/api/auth/nonce", params={"address": address_of_key(key)})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["message"])


def signed(message: str, key: bytes = KEY) -> dict[str, str]:
    """Return a message with its signature."""
    return {"message": message, "signature": signature_of(key, personal_digest(message))}


async def sign_in(at: Instance, key: bytes = KEY) -> dict[str, Any]:
    """Sign in with a key; the client forgets the cookie."""
    answer = await at.post("/api/auth/siwe", signed(await message_for(at, key), key))
    assert answer.status_code == 200, answer.text
    assert answer.cookies["session"] == answer.json()["sessionToken"]
    at.http.cookies.clear()
    return dict(answer.json())


def bearing(token: str) -> dict[str, str]:
    """Return the headers of who has a token."""
    return {"Authorization": f"Bearer {token}"}


async def test_a_signature_opens_the_account_of_its_address(instance: Instance) -> None:
    """The first one makes it; a token and a cookie of seven days are the same thing."""
    first, second, other = (
        await sign_in(instance),
        await sign_in(instance),
        await sign_in(instance, OTHER),
    )
    assert (first["created"], second["created"], other["created"]) == (True, False, True)
    assert first["accountId"] == second["accountId"] != other["accountId"]
    me = await instance.http.get("/api/auth/me", headers=bearing(second["sessionToken"]))
    assert me.json()["wallets"] == [ADDRESS] and "username" not in me.json()
    assert me.json()["login"]["by"] == "wallet"


async def test_who_has_paid_with_an_address_has_its_account(instance: Instance) -> None:
    """A payment over x402 has proven it before; at once or later, there is one account."""
    of_wallet = advance.accounts.of_wallet
    shell = instance.built.shell
    paid = await asyncio.gather(*[shell.do(of_wallet, ADDRESS) for _ in range(5)])
    assert len(set(paid)) == 1
    assert (await sign_in(instance))["accountId"] == paid[0]


async def test_a_nonce_is_good_once_for_ten_minutes(database_url: str, tmp_path: Path) -> None:
    """And it must be ours. Of many at once with one nonce, one is let in."""
    clock = Clock()
    async with instance_of(database_url, tmp_path, clock=clock) as at:
        body = signed(await message_for(at))
        answers = await asyncio.gather(*[at.post("/api/auth/siwe", body) for _ in range(6)])
        assert sorted(answer.status_code for answer in answers) == [200, *[401] * 5]
        late = signed(await message_for(at))
        clock.forward(seconds=601)
        assert (await at.post("/api/auth/siwe", late)).status_code == 401
        message = await message_for(at)
        before, _, nonce = message.partition("Nonce: ")
        for forged in ("f" + nonce[1:], "0" * 8 + nonce[8:], "deadbeef" * 9 + nonce[72:]):
            refused = await at.post("/api/auth/siwe", signed(f"{before}Nonce: {forged}"))
            assert refused.status_code == 401, forged


async def test_a_message_for_another_server_lets_nobody_in(instance: Instance) -> None:
    """Else whoever has one signed for his own could use it here."""
    message = await message_for(instance)
    host = instance.url.partition("://")[2]
    for other in ("evil.example", f"{host}.evil.example", "localhost"):
        body = signed(message.replace(host, other))
        refused = await instance.post("/api/auth/siwe", body, headers={"Host": host})
        assert refused.status_code == 401 and "another server" in refused.json()["error"]
    body = signed(message.replace(host, "evil.example"))
    refused = await instance.post("/api/auth/siwe", body, headers={"Host": "evil.example"})
    assert refused.status_code == 409, "a Host is the caller's own word"
    body = signed(message.replace(f"URI: http://{host}", "URI: http://evil.example"))
    assert (await instance.post("/api/auth/siwe", body)).status_code == 401


@pytest.mark.one_instance(False)
async def test_a_wallet_joins_an_account_and_never_two(instance: Instance) -> None:
    """It opens that account from then on; one that opens another is refused."""
    made = await instance.post("/api/auth/login", {"username": "agent", "password": "secret"})
    token = made.cookies["session"]
    instance.http.cookies.clear()
    for _ in range(2):  # again is the same
        body = signed(await message_for(instance))
        joined = await instance.post("/api/auth/wallets", body, headers=bearing(token))
        assert (joined.status_code, joined.json()) == (200, {"wallet": ADDRESS})
    assert (await sign_in(instance))["accountId"] == made.json()["accountId"]
    await sign_in(instance, OTHER)
    body = signed(await message_for(instance, OTHER), OTHER)
    refused = await instance.post("/api/auth/wallets", body, headers=bearing(token))
    assert (refused.status_code, refused.json()["code"]) == (409, "not_possible_now")
    assert (await instance.post("/api/auth/wallets", body)).status_code == 401
    no_password = {"password": "secret", "newPassword": "another secret"}
    theirs = (await sign_in(instance, OTHER))["sessionToken"]
    answer = await instance.post("/api/auth/password", no_password, headers=bearing(theirs))
    assert answer.status_code == 409


MESSAGE = (
    "https://boltwork.example wants you to sign in with your Ethereum account:\n"
    f"{ADDRESS}\n\nI accept the terms.\n\nURI: https://boltwork.example/login\nVersion: 1\n"
    "Chain ID: 1\nNonce: 32891756abcdefgh\nIssued At: 2026-06-01T11:59:00.000Z\n"
    "Expiration Time: 2026-06-01T16:00:00+02:30\nNot Before: 2026-06-01T11:59:00Z\n"
    "Request ID: some-id\nResources:\n- ipfs://bafy/\n- https://example.com/my"
)


def looked_at(message: str, signature: str | None = None) -> SignIn | Wrong:
    """Return who has signed a message, at noon."""
    return signed_in(message, signature or signed(message)["signature"], DOMAIN, Clock().now)


def test_every_field_of_the_standard_is_read() -> None:
    """Scheme, statement, times, request and resources may be there, or not."""
    assert looked_at(MESSAGE) == SignIn(ADDRESS, "32891756abcdefgh")
    bare = MESSAGE.replace("https://boltwork.example wants", "boltwork.example wants")
    bare = bare.replace("I accept the terms.\n", "").partition("\nExpiration")[0]
    assert looked_at(bare) == SignIn(ADDRESS, "32891756abcdefgh")
    assert looked_at(MESSAGE.replace(ADDRESS, ADDRESS.lower())) != looked_at(bare.lower())
    signature = signed(MESSAGE)["signature"]
    low = signature[:-2] + f"{int(signature[-2:], 16) - 27:02x}"
    assert looked_at(MESSAGE, low) == looked_at(MESSAGE), "some wallets count from 0"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("https://boltwork.example wants", "https://boltwork.example.evil wants"),
        ("URI: https://boltwork.example/", "URI: https://evil.example/"),
        ("Version: 1", "Version: 2"),
        ("Nonce: 32891756abcdefgh", "Nonce: short"),
        ("11:59:00.000Z", "11:49:59Z"),
        ("11:59:00.000Z", "12:01:01Z"),
        ("2026-06-01T11:59:00.000Z", "2026-13-01T11:59:00Z"),
        ("16:00:00+02:30", "11:59:59Z"),
        ("Not Before: 2026-06-01T11:59:00Z", "Not Before: 2026-06-01T12:00:30Z"),
        ("\nVersion: 1\nChain ID: 1", "\nChain ID: 1\nVersion: 1"),
        ("Chain ID: 1", "Chain ID: 01"),
        ("I accept the terms.", "One.\nTwo."),
        (ADDRESS, ADDRESS.swapcase().replace("0X", "0x")),
        ("some-id", "x" * 5_000),
    ],
)
def test_a_message_that_says_otherwise_lets_nobody_in(old: str, new: str) -> None:
    """However well it is signed."""
    assert old in MESSAGE
    assert isinstance(looked_at(MESSAGE.replace(old, new)), Wrong)


def test_a_signature_is_of_its_message_and_of_its_address() -> None:
    """One letter more, another key, or junk, and it is nobody's."""
    signature = signed(MESSAGE)["signature"]
    for wrong in (
        signed(MESSAGE + " ")["signature"],
        signed(MESSAGE, OTHER)["signature"],
        signature[:-2],
        signature.upper(),
        "0x" + "00" * 65,
        "",
        "0x",
        "é" * 132,
    ):
        assert isinstance(looked_at(MESSAGE, wrong or "0x"), Wrong), wrong
