"""Logins: an account by a name and a password, and a cookie that is good for seven days."""

import asyncio
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from app.keys.background import NICE, stand_back
from app.keys.passwords import AT_ONCE, DERIVATIONS, WAITING, Passwords
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from app.trade.logins import name_of
from db import people
from tests.world.clock import Clock
from tests.world.house_fixtures import Instance, instance_of

PASSWORD = "secret"  # that of the document's own example
NEW = "another secret"


async def log_in(at: Instance, name: str = "agent", password: str = PASSWORD) -> httpx2.Response:
    """Log in without a cookie of before."""
    at.http.cookies.clear()
    return await at.post("/api/auth/login", {"username": name, "password": password})


def by_cookie(token: str) -> dict[str, str]:
    """Return the headers of a client that has a cookie."""
    return {"Cookie": f"session={token}"}


def bearing(token: str) -> dict[str, str]:
    """Return the headers of a client that has a token."""
    return {"Authorization": f"Bearer {token}"}


async def token_of(at: Instance, name: str = "agent", password: str = PASSWORD) -> str:
    """Log in, and return the token; the client forgets the cookie."""
    answer = await log_in(at, name, password)
    assert answer.status_code == 200, answer.text
    token = answer.cookies["session"]
    at.http.cookies.clear()
    return token


async def test_the_first_login_opens_an_account_and_the_next_finds_it(instance: Instance) -> None:
    """The document's curl: a cookie of seven days. A recovery code is shown once, and no token."""
    first, second = await log_in(instance), await log_in(instance)
    assert (first.json()["created"], second.json()["created"]) == (True, False)
    assert first.json()["accountId"] == second.json()["accountId"]
    assert "recoveryCode" in first.json() and "recoveryCode" not in second.json()
    line = first.headers["set-cookie"]
    token = first.cookies["session"]
    assert line == f"session={token}; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax"
    assert token != second.cookies["session"] and len(token) == 64
    assert token not in first.text
    for headers in (by_cookie(token), bearing(token)):
        instance.http.cookies.clear()
        told = await instance.http.get("/api/auth/me", headers=headers)
        assert told.json()["username"] == "agent"
        assert told.json()["accountId"] == first.json()["accountId"]


async def test_behind_https_the_cookie_is_secure(database_url: str, tmp_path: Path) -> None:
    """A browser then sends it over TLS alone."""
    public_url = "https://boltwork.example"
    async with instance_of(database_url, tmp_path, PUBLIC_URL=public_url) as at:
        assert (await log_in(at)).headers["set-cookie"].endswith("; SameSite=Lax; Secure")


async def test_a_wrong_password_opens_nothing(instance: Instance) -> None:
    """Nor does a token that nobody was given; and nobody at all is asked to sign in."""
    token = await token_of(instance)
    answer = await log_in(instance, password="a guess")
    assert (answer.status_code, answer.json()["code"]) == (401, "credential_invalid")
    assert "session" not in answer.cookies
    other = token[:-1] + ("0" if token[-1] != "0" else "1")
    for headers in (by_cookie(other), bearing(other)):
        told = await instance.http.get("/api/auth/me", headers=headers)
        assert (told.status_code, told.json()["code"]) == (401, "credential_expired")
    told = await instance.http.get("/api/auth/me", headers=by_cookie("of-another-server"))
    assert (told.status_code, told.json()["code"]) == (401, "credential_required")


async def test_names_that_look_the_same_are_one() -> None:
    """After NFKC and in small letters; what is no name is refused."""
    assert {name_of(each) for each in ("agent", "AGENT", "ａｇｅｎｔ", "Agent")} == {"agent"}
    for wrong in ("ab", "a b c", "agént", "a" * 65, "agent\n", "аgent", "", "🤖🤖🤖"):
        with pytest.raises(BadInput):
            name_of(wrong)


@pytest.mark.parametrize("password", ["short", "x" * 257])
async def test_a_password_has_a_length(instance: Instance, password: str) -> None:
    """Six characters, as in the document's example, to 256."""
    answer = await log_in(instance, password=password)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_of_many_first_logins_one_opens_the_account(instance: Instance) -> None:
    """All with its password are in; those with another are not."""
    many = [log_in(instance) for _ in range(6)] + [log_in(instance, password=NEW)]
    answers = await asyncio.gather(*many)
    right = {answer.json()["accountId"] for answer in answers if answer.status_code == 200}
    assert sum(answer.json().get("created", False) for answer in answers) == 1
    assert len(right) == 1
    rows = await instance.built.db.read_all("SELECT id FROM user_account")
    assert len(rows) == 1
    assert {answer.status_code for answer in answers} == {200, 401}


async def test_the_same_work_is_done_for_names_known_and_unknown(instance: Instance) -> None:
    """One password is hashed: how long an answer takes says nothing of a name."""
    await token_of(instance)

    async def worked(name: str, password: str) -> float:
        before = DERIVATIONS._value.get()
        await log_in(instance, name, password)
        return float(DERIVATIONS._value.get() - before)

    assert await worked("agent", PASSWORD) == 1
    assert await worked("agent", "a guess") == 1
    assert await worked("nobody-yet", PASSWORD) == 1


async def test_ten_wrong_guesses_close_a_name_for_a_quarter_of_an_hour(
    database_url: str, tmp_path: Path
) -> None:
    """Whatever the password; other names, who is in, and the recovery code are not shut out."""
    clock = Clock()
    async with instance_of(database_url, tmp_path, clock=clock) as at:
        first = await log_in(at)
        token, code = first.cookies["session"], first.json()["recoveryCode"]
        for _ in range(10):
            assert (await log_in(at, password="a guess")).status_code == 401
        shut = await log_in(at)
        assert (shut.status_code, shut.json()["code"]) == (429, "rate_limited")
        assert 0 < int(shut.headers["retry-after"]) <= 900
        assert (await log_in(at, "another")).status_code == 200
        at.http.cookies.clear()
        assert (await at.http.get("/api/auth/me", headers=bearing(token))).status_code == 200
        body = {"username": "agent", "recoveryCode": code, "newPassword": NEW}
        assert (await at.post("/api/auth/recover", body)).status_code == 200
        clock.forward(seconds=901)
        assert (await log_in(at, password=NEW)).status_code == 200


async def test_guesses_at_once_are_counted_before_they_are_looked_at(instance: Instance) -> None:
    """Of forty at one moment, ten are looked at."""
    await token_of(instance)
    before = DERIVATIONS._value.get()
    answers = await asyncio.gather(*[log_in(instance, password=f"guess {n}") for n in range(40)])
    assert {answer.status_code for answer in answers} == {401, 429}
    assert DERIVATIONS._value.get() - before <= 10


async def test_right_passwords_are_no_guesses(instance: Instance) -> None:
    """Who logs in again and again is let in."""
    for _ in range(12):
        assert (await log_in(instance)).status_code == 200


async def test_one_address_guesses_at_many_names_fifty_times(instance: Instance) -> None:
    """Then nothing of it is looked at for a while."""
    names = [f"name-{number}" for number in range(6)]
    for name in names:
        await token_of(instance, name)
    answers = []
    for name in names:
        answers += [(await log_in(instance, name, "a guess")).status_code for _ in range(9)]
    assert answers.count(401) == 50 and answers[-1] == 429


async def test_new_accounts_are_limited_for_an_address(database_url: str, tmp_path: Path) -> None:
    """Whoever has one already logs in as before."""
    async with instance_of(database_url, tmp_path, ACCOUNTS_PER_HOUR="2") as at:
        statuses = [(await log_in(at, f"name-{n}")).status_code for n in (1, 2, 3, 1)]
        assert statuses == [200, 200, 429, 200]


async def test_few_passwords_are_worked_on_and_sixteen_wait() -> None:
    """Whoever comes then is asked to come again; room is free again afterwards."""
    passwords = Passwords()
    many = [asyncio.ensure_future(passwords.hashed(PASSWORD)) for _ in range(AT_ONCE + WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Refusal) as caught:
        await passwords.hashed(PASSWORD)
    assert caught.value.why is Why.TOO_MANY and "Retry-After" in caught.value.headers
    with pytest.raises(Refusal):
        passwords.check_room()
    many[-1].cancel()
    kept = await asyncio.gather(*many[:-1])
    passwords.check_room()
    assert len(set(kept)) == len(kept), "each has a salt of its own"
    assert await passwords.is_right(PASSWORD, kept[0])
    assert not await passwords.is_right(PASSWORD + "!", kept[0])
    assert kept[0].startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_passwords_are_worked_on_when_nothing_else_is() -> None:
    """Their threads stand behind all others of the process; those stay where they are."""
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with ThreadPoolExecutor(1, initializer=stand_back) as threads:
        theirs = threads.submit(
            lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        ).result()
    assert theirs == min(19, own + NICE)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own


async def test_a_password_is_the_same_from_every_keyboard() -> None:
    """One sends é, another e and an accent."""
    passwords = Passwords()
    assert await passwords.is_right("cafe\u0301s!", await passwords.hashed("caf\u00e9s!"))


async def test_logging_out_ends_one_login(instance: Instance) -> None:
    """The cookie is taken back; other logins hold."""
    one, other = await token_of(instance), await token_of(instance)
    told = await instance.http.get("/api/auth/logins", headers=bearing(one))
    shown = told.json()["logins"]
    assert [login["isThisOne"] for login in shown] == [False, True]
    assert {login["by"] for login in shown} == {"password"}
    out = await instance.post("/api/auth/logout", headers=by_cookie(one))
    assert out.status_code == 200
    assert out.headers["set-cookie"].startswith("session=; Max-Age=0; Path=/; HttpOnly")
    assert (await instance.http.get("/api/auth/me", headers=bearing(one))).status_code == 401
    assert (await instance.http.get("/api/auth/me", headers=bearing(other))).status_code == 200


async def test_a_login_is_ended_by_its_account_alone(instance: Instance) -> None:
    """An id of another's is as unknown as none."""
    mine, lost = await token_of(instance), await token_of(instance)
    theirs = await token_of(instance, "another")
    told = await instance.http.get("/api/auth/logins", headers=bearing(mine))
    lost_id = next(one["id"] for one in told.json()["logins"] if not one["isThisOne"])
    path = f"/api/auth/logins/{lost_id}"
    assert (await instance.http.delete(path, headers=bearing(theirs))).status_code == 404
    assert (await instance.http.delete(path, headers=bearing(mine))).status_code == 200
    assert (await instance.http.delete(path, headers=bearing(mine))).status_code == 404
    assert (await instance.http.get("/api/auth/me", headers=bearing(lost))).status_code == 401


async def test_another_password_ends_all_other_logins(instance: Instance) -> None:
    """It takes the old one; the login that changes it holds."""
    one, other = await token_of(instance), await token_of(instance)
    body = {"password": "a guess", "newPassword": NEW}
    wrong = await instance.post("/api/auth/password", body, headers=bearing(one))
    assert wrong.status_code == 401
    body["password"] = PASSWORD
    done = await instance.post("/api/auth/password", body, headers=bearing(one))
    assert done.status_code == 200, done.text
    code = done.json()["recoveryCode"]
    assert (await instance.http.get("/api/auth/me", headers=bearing(one))).status_code == 200
    assert (await instance.http.get("/api/auth/me", headers=bearing(other))).status_code == 401
    assert (await log_in(instance)).status_code == 401
    assert (await log_in(instance, password=NEW)).status_code == 200
    instance.http.cookies.clear()
    body = {"username": "agent", "recoveryCode": code, "newPassword": PASSWORD}
    assert (await instance.post("/api/auth/recover", body)).status_code == 200


async def test_a_recovery_code_is_good_once(instance: Instance) -> None:
    """It sets another password, ends all logins, and gives another code."""
    first = await log_in(instance)
    token, code = first.cookies["session"], first.json()["recoveryCode"]
    body = {"username": "Agent", "recoveryCode": code.upper().replace("-", " "), "newPassword": NEW}
    instance.http.cookies.clear()
    done = await instance.post("/api/auth/recover", body)
    assert done.status_code == 200 and done.json()["recoveryCode"] != code
    instance.http.cookies.clear()
    assert (await instance.http.get("/api/auth/me", headers=bearing(token))).status_code == 401
    assert (await instance.post("/api/auth/recover", body)).status_code == 401
    assert (await log_in(instance, password=NEW)).status_code == 200
    instance.http.cookies.clear()
    unknown = await instance.post("/api/auth/recover", body | {"username": "nobody"})
    assert unknown.json()["error"] == "The username or the recovery code isn't right."


async def test_a_login_lasts_seven_days(database_url: str, tmp_path: Path) -> None:
    """Then it opens nothing, and its row is forgotten."""
    clock = Clock()
    async with instance_of(database_url, tmp_path, clock=clock) as at:
        token = await token_of(at)
        clock.forward(seconds=7 * 24 * 3600 - 1)
        assert (await at.http.get("/api/auth/me", headers=bearing(token))).status_code == 200
        clock.forward(seconds=2)
        assert (await at.http.get("/api/auth/me", headers=bearing(token))).status_code == 401
        await at.built.db.run("forget", lambda tx: people.forget(tx, clock()))
        assert await at.built.db.read_all("SELECT 1 FROM login") == []


async def test_an_account_has_fifty_logins_and_the_oldest_ends(instance: Instance) -> None:
    """So that a program that logs in each time leaves no heap of them."""
    first = await token_of(instance)
    for _ in range(people.MOST_LOGINS):
        last = await token_of(instance)
    assert (await instance.http.get("/api/auth/me", headers=bearing(first))).status_code == 401
    told = await instance.http.get("/api/auth/logins", headers=bearing(last))
    assert len(told.json()["logins"]) == people.MOST_LOGINS


@pytest.mark.one_instance
@pytest.mark.parametrize(
    "sent",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
async def test_a_page_of_another_site_does_nothing_with_a_cookie(
    instance: Instance, sent: dict[str, str]
) -> None:
    """Neither signs it anybody in, nor out; a token in the header is no browser's."""
    token = await token_of(instance)
    body = json.dumps({"password": PASSWORD, "newPassword": NEW})
    for path in ("/api/auth/password", "/api/auth/logout"):
        headers = {"Content-Type": "application/json", **by_cookie(token), **sent}
        answer = await instance.http.post(path, content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed"), path
    answer = await instance.http.post(
        "/api/auth/login",
        content=json.dumps({"username": "agent", "password": PASSWORD}),
        headers={"Content-Type": "application/json", **sent},
    )
    assert answer.status_code == 403 and "session" not in answer.cookies
    answer = await instance.post("/api/auth/logout", headers=bearing(token) | sent)
    assert answer.status_code == 200


async def test_no_password_code_or_token_is_written_anywhere(
    instance: Instance, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither in a row, nor in the log: hashes of them are."""
    password = "planted-password-4711"
    first = await log_in(instance, "planted", password)
    token, code = first.cookies["session"], first.json()["recoveryCode"].replace("-", "")
    await log_in(instance, "planted", password + "!")
    rows = await instance.built.db.read_all(
        "SELECT row_to_json(i)::text AS line FROM identity i UNION ALL"
        " SELECT row_to_json(l)::text FROM login l UNION ALL"
        " SELECT row_to_json(r)::text FROM rate_limit r"
    )
    written = capfd.readouterr().err + "".join(row["line"] for row in rows)
    assert "planted" in written, "the name is a name"
    for secret in (password, token, code):
        assert secret not in written
