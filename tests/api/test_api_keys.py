"""API keys: a program's way into an account. A key is shown once; after that its hash is known."""

import hashlib
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.keys.api_keys import Prefix, kept_of, key_of, looks_like_one, new_key, prefix_of, shown
from tests.world.account_fixtures import signed_in
from tests.world.clock import Clock
from tests.world.contract import refused
from tests.world.house_fixtures import Instance, instance_of

pytestmark = pytest.mark.one_instance

ME, KEYS = "/api/v1/user/me", "/api/v1/user/apikeys"


async def made(at: Instance, holder: dict[str, str], **body: Any) -> dict[str, Any]:
    """Make a key."""
    answer = await at.post(KEYS, body, headers=holder)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def listed(at: Instance, holder: dict[str, str]) -> list[dict[str, Any]]:
    """Return the keys of an account."""
    answer = await at.http.get(KEYS, headers=holder)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["apiKeys"])


@given(st.binary(min_size=32, max_size=32), st.sampled_from(Prefix), st.data())
def test_a_key_has_its_prefix_its_chance_and_a_checksum(
    chance: bytes, prefix: Prefix, data: st.DataObject
) -> None:
    """One character that is changed makes it none of ours, before any database is asked."""
    key = key_of(prefix, chance)
    assert re.fullmatch("(sk_live_bw_|uk_|wk_)[0-9A-Za-z]{49}", key) and prefix_of(key) is prefix
    assert kept_of(key) == hashlib.sha256(key.encode()).hexdigest() and looks_like_one(key)
    at = data.draw(st.integers(len(prefix), len(key) - 1))
    other = data.draw(
        st.sampled_from("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    )
    wrong = key[:at] + other + key[at + 1 :]
    assert kept_of(wrong) is None or wrong == key
    assert key not in shown(key) and prefix_of(shown(key)) is prefix


def test_two_keys_are_never_the_same() -> None:
    """Nor is what other credentials look like taken for one."""
    assert len({new_key(Prefix.SK) for _ in range(100)}) == 100
    for other in ("", "uk", "AgEJ", "0" * 64, "sk_live_" + "a" * 49):
        assert kept_of(other) is None
    assert not looks_like_one("0" * 64) and not looks_like_one("AgELc2Vzc2lvbg")


async def test_a_key_opens_its_account_on_every_surface(instance: Instance) -> None:
    """As `x-api-key`, as the document has it, and as a Bearer; with either prefix."""
    holder = await signed_in(instance)
    mine = (await instance.http.get("/api/auth/me", headers=holder)).json()["accountId"]
    for prefix, begins in (("sk_live", "sk_live_bw_"), ("uk", "uk_")):
        key = (await made(instance, holder, name=prefix, prefix=prefix))["apiKey"]
        assert key.startswith(begins)
        for headers in ({"x-api-key": key}, {"Authorization": f"Bearer {key}"}):
            for path in (ME, "/api/auth/me", "/api/account"):
                told = await instance.http.get(path, headers=headers)
                assert (told.status_code, told.json()["accountId"]) == (200, mine)
        told = await instance.http.get(ME, headers={"x-api-key": key})
        assert told.json()["apiKey"]["name"] == prefix
        assert (told.json()["username"], told.json()["points"]) == ("agent", 0)


@pytest.mark.one_instance(False)
async def test_only_the_hash_of_a_key_is_kept(instance: Instance) -> None:
    """It is in the answer that makes it, in no other, and nowhere in the database."""
    holder = await signed_in(instance)
    key = await made(instance, holder, name="server")
    [one] = await listed(instance, holder)
    assert one == {name: value for name, value in key.items() if name not in ("apiKey", "message")}
    assert one["name"] == "server" and one["key"] == shown(key["apiKey"])
    rows = await instance.built.db.read_all("SELECT to_jsonb(k) AS row FROM api_key k")
    assert key["apiKey"] not in json.dumps([dict(row) for row in rows], default=str)


async def test_what_is_no_key_of_anybodys_is_a_401(instance: Instance) -> None:
    """In the surface's own envelope; and nobody at all is told how one is shown."""
    other = new_key(Prefix.SK)
    for wrong in (other, other[:-1], "sk_live_", "uk_", "nonsense", ""):
        answer = await instance.http.get(ME, headers={"x-api-key": wrong})
        refused(answer, 401, "This API key isn't valid.")
        assert answer.json()["error"]["code"] == "UNAUTHORIZED"
        told = await instance.http.get("/api/account", headers={"x-api-key": wrong})
        assert (told.status_code, told.json()["code"]) == (401, "credential_invalid")
    refused(await instance.http.get(ME), 401, "This needs an account.")
    assert "x-api-key" in (await instance.http.get(ME)).json()["error"]["next"]


async def test_two_credentials_at_once_are_refused(instance: Instance) -> None:
    """Unless both are the same key."""
    holder = await signed_in(instance)
    one, two = [(await made(instance, holder))["apiKey"] for _ in range(2)]
    both = {"x-api-key": one, "Authorization": f"Bearer {one}"}
    assert (await instance.http.get(ME, headers=both)).status_code == 200
    for other in (f"Bearer {two}", holder["Authorization"]):
        answer = await instance.http.get(ME, headers={"x-api-key": one, "Authorization": other})
        refused(answer, 401, "two different credentials")


@pytest.mark.one_instance(False)
async def test_a_key_that_was_revoked_opens_nothing(instance: Instance) -> None:
    """It may revoke itself; another account's key is not there."""
    holder, stranger = await signed_in(instance), await signed_in(instance, "stranger")
    one, two = [await made(instance, holder) for _ in range(2)]
    path = f"{KEYS}/{one['id']}"
    refused(await instance.http.delete(path, headers=stranger), 404, "no API key with this id")
    mine = {"x-api-key": one["apiKey"]}
    assert (await instance.http.delete(path, headers=mine)).json() == {"ok": True}
    refused(await instance.http.get(ME, headers=mine), 401, "isn't valid")
    refused(await instance.http.delete(path, headers=holder), 404)
    assert [each["id"] for each in await listed(instance, holder)] == [two["id"]]


async def test_a_key_is_rotated(instance: Instance) -> None:
    """Another stands in its place, with its name and its prefix; the old one opens nothing."""
    holder, stranger = await signed_in(instance), await signed_in(instance, "stranger")
    old = await made(instance, holder, name="server", prefix="uk")
    path = f"{KEYS}/{old['id']}/rotate"
    refused(await instance.post(path, headers=stranger), 404)
    new = (await instance.post(path, headers={"x-api-key": old["apiKey"]})).json()
    assert new["apiKey"] != old["apiKey"] and new["apiKey"].startswith("uk_")
    assert (new["id"], new["name"]) == (old["id"], "server")
    refused(await instance.http.get(ME, headers={"x-api-key": old["apiKey"]}), 401)
    told = await instance.http.get(ME, headers={"x-api-key": new["apiKey"]})
    assert told.status_code == 200


async def test_a_key_does_not_change_a_password(instance: Instance) -> None:
    """Nor is there a login that it could end: both need one."""
    holder = await signed_in(instance)
    key = {"x-api-key": (await made(instance, holder))["apiKey"]}
    body = {"password": "secret", "newPassword": "another secret"}
    answer = await instance.post("/api/auth/password", body, headers=key)
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
    assert (await instance.post("/api/auth/logout", headers=key)).status_code == 403


@pytest.mark.one_instance(False)
async def test_bad_names_are_refused(instance: Instance) -> None:
    """With a sentence that says what is wrong; and there is an end to how many keys there are."""
    holder = await signed_in(instance)
    for body, says in (
        ({"name": ""}, "'name'"),
        ({"name": "x" * 65}, "'name'"),
        ({"name": "a\u0000b"}, "U+0000"),
        ({"prefix": "pk"}, "'prefix'"),
        ({"nome": "x"}, "'nome' is not known"),
    ):
        refused(await instance.post(KEYS, body, headers=holder), 400, says)
    for _ in range(50):
        await made(instance, holder)
    refused(await instance.post(KEYS, {}, headers=holder), 409, "50 API keys at most")


@pytest.mark.parametrize("minutes", [0, 5])
async def test_it_is_known_when_a_key_was_last_used(
    database_url: str, tmp_path: Path, minutes: int
) -> None:
    """To the minute."""
    clock = Clock()
    async with instance_of(database_url, tmp_path, clock=clock) as at:
        holder = await signed_in(at)
        key = {"x-api-key": (await made(at, holder))["apiKey"]}
        assert (await listed(at, holder))[0]["lastUsedAt"] is None
        await at.http.get(ME, headers=key)
        first = (await listed(at, holder))[0]["lastUsedAt"]
        assert first is not None
        clock.now += timedelta(minutes=minutes)
        await at.http.get(ME, headers=key)
        assert ((await listed(at, holder))[0]["lastUsedAt"] != first) is bool(minutes)


async def test_one_address_asks_a_hundred_times_in_a_quarter_of_an_hour(
    database_url: str, tmp_path: Path
) -> None:
    """The next is a 429 that says when to come back; other surfaces are not counted with it."""
    clock, most = Clock(), "100"
    async with instance_of(
        database_url, tmp_path, clock=clock, V1_REQUESTS_PER_15_MINUTES=most
    ) as at:
        holder = await signed_in(at)
        for left in reversed(range(100)):
            told = await at.http.get(ME, headers=holder)
            assert told.headers["x-ratelimit-remaining"] == str(left)
        over = await at.http.get(ME, headers=holder)
        refused(over, 429, "100 requests in 15 minutes")
        assert over.json()["error"]["code"] == "TOO_MANY_REQUESTS"
        assert 0 < int(over.headers["retry-after"]) <= 900
        assert (await at.http.get("/api/account", headers=holder)).status_code == 200
        clock.now += timedelta(minutes=15)
        assert (await at.http.get(ME, headers=holder)).status_code == 200
