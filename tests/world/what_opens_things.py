"""What is in a world of ids and credentials: all that a stranger may have heard of is made here."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx2

from payments.lnurl import decode
from tests.world.account_fixtures import has, paid_in, signed_in
from tests.world.batch_doors import batch, bought, ended
from tests.world.house_fixtures import Instance
from tests.world.patience import PATIENCE_S, patiently
from tests.world.paying import credential, payment_in
from tests.world.session_fixtures import Holder, where

JOB, ASKED, PREPAID, TITLE = "planted-job", "planted-ask", "planted-request", "planted-title"
PERSON, PASSWORD = "planted-person", "planted-password"
SATS, FRESH, OWED = 1_789, 157, 33
PICTURE, CAST_BY = "planted-picture", "planted-cast"
WEBHOOK_SECRET = "planted-secret-of-a-webhook"
LENDER, PAY_TO = "planted-lender", "planted@example.org"
NOWHERE = "http://127.0.0.1:9/hook"


async def _session(instance: Instance, sats: int, key: str) -> tuple[dict[str, Any], Holder, str]:
    """Open a session whose deposit is paid over: it has a balance, and owes something back."""
    headers = {"Idempotency-Key": key}
    session = (await instance.post("/api/sessions", {"amount_sats": sats}, headers=headers)).json()
    paid = await instance.post(
        f"/api/dev/stub/pay/{session['invoice']['paymentHash']}", {"amountSats": sats + OWED}
    )
    shown = (await instance.http.get(f"{where(session)}&wait=55")).json()
    holder = Holder(instance, session["sessionId"], shown["macaroon"])
    return session, holder, paid.json()["preimage"]


async def _job(instance: Instance) -> dict[str, Any]:
    """Buy a job that owes something back."""
    key = secrets.token_hex(8)
    headers = {"Idempotency-Key": key}
    job = (await instance.post("/api/jobs", {"request": JOB}, headers=headers)).json()
    fee = job["evalInvoice"]["amountSats"]
    await instance.pay(job["evalInvoice"], amountSats=fee + OWED)
    asks = await instance.until(job["jobId"], "awaiting_work_payment", field="workInvoice")
    await instance.pay(asks["workInvoice"])
    done = await instance.until(job["jobId"], "complete")
    return {"job": done, "job_key": key}


async def _person(instance: Instance) -> dict[str, Any]:
    """Open an account, with a deposit."""
    async with httpx2.AsyncClient(base_url=instance.url, verify=False, timeout=PATIENCE_S) as http:
        body = {"username": f"{PERSON}-{secrets.token_hex(4)}", "password": PASSWORD}
        person = await http.post("/api/auth/login", json=body)
        me = await http.get("/api/auth/me")
        asked = await http.post("/api/account/deposits", json={"amountSats": FRESH})
        await instance.pay(asked.json()["invoice"])
        await http.get("/api/account")
        keys = "/api/v1/user/apikeys"
        key, *others = [(await http.post(keys, json={})).json() for _ in range(3)]
        limited = (await http.post(keys, json={"spendingLimitSats": 1})).json()["apiKey"]
        await http.post(f"{keys}/{others[0]['id']}/rotate", json={})
        await http.delete(f"{keys}/{others[1]['id']}")
    login = me.json()["login"]["id"]
    token = person.cookies["session"]
    ended = [each["apiKey"] for each in others]
    return {
        **{"person": person.json(), "token": token, "login": login, "key": key},
        **{"limited": limited, "ended_keys": ended},
    }


async def _owned(instance: Instance) -> dict[str, Any]:
    """Open another account, which casts a spell and is told of it; somebody without one casts the
    same.
    """
    owner = await signed_in(instance, f"owner-{secrets.token_hex(4)}")
    await paid_in(instance, owner, 1_000)
    await has(instance, owner, 1_000)
    key = (await instance.post("/api/v1/user/apikeys", {}, headers=owner)).json()["apiKey"]
    slug = f"planted-{secrets.token_hex(4)}"
    steps = [{"id": 1, "tool": "text-to-image", "inputs": {"prompt": CAST_BY}}]
    spell = {"slug": slug, "name": "Planted", "steps": steps}
    published = await instance.post("/api/v1/spells", spell, headers=owner)
    assert published.status_code == 201, published.text
    told = {"webhookUrl": NOWHERE, "webhookSecret": WEBHOOK_SECRET}
    body, at = {"slug": slug, "context": told}, "/api/v1/spells/cast"
    made = (await instance.post(at, body, headers=owner)).json()
    free = await bought(instance, {"slug": slug}, at)
    theirs, anybodys = [
        await _cast(instance, cast_id, headers)
        for cast_id, headers in ((made["castId"], owner), (free, {}))
    ]
    where = made["notify"]["deliveries"]
    notices: list[dict[str, Any]] = []
    async for look in patiently("nobody is told of the cast"):
        look.saw = log = (await instance.http.get(where, headers=owner)).json()
        if notices := log["notices"]:
            break
    return {
        **{"others_key": key, "others_cast": theirs, "cast": anybodys},
        **{"webhook": made["notify"]["id"], "notice": notices[0]["noticeId"]},
    }


async def _cast(instance: Instance, cast_id: str, headers: dict[str, str]) -> dict[str, str]:
    """Wait until a cast has ended; return its id, its item's, and its file's."""
    said: dict[str, Any] = {}
    async for look in patiently("the cast does not end", pause_s=0.02):
        answer = await instance.http.get(f"/api/v1/spells/casts/{cast_id}", headers=headers)
        look.saw = said = answer.json()
        if said["status"] in ("completed", "failed"):
            break
    [item] = said["stepGenerationIds"]
    at = f"/api/v1/generations/status/{item}"
    made = (await instance.http.get(at, headers=headers)).text
    file = re.search("/api/v1/artifacts/([0-9a-f]{32})", made)
    assert file is not None, made
    return {"id": cast_id, "item_id": item, "item": item, "artifact": file[1]}


async def _connected(instance: Instance) -> dict[str, Any]:
    """Connect a wallet."""
    asked = (await instance.post("/api/v1/wallets/connect/initiate", {})).json()
    await instance.pay(asked)
    at = f"/api/v1/wallets/connect/status/{asked['requestId']}"
    async for look in patiently("it is never connected"):
        look.saw = told = (await instance.http.get(at)).json()
        if told["status"] == "COMPLETED":
            break
    return {"connects": asked["requestId"], "connected": told["apiKey"]}


async def _ask(instance: Instance, key: str) -> tuple[str, str, str]:
    """Return an offer of a job by the call: its job's id, its challenges, its payment hash."""
    headers = {"Idempotency-Key": key}
    offer = await instance.post("/api/ask", {"request": ASKED}, headers=headers)
    assert offer.status_code == 402, offer.text
    told = offer.json()
    job_id = told["instance"].rpartition("/")[2]
    return job_id, offer.headers["www-authenticate"], told["paymentHash"]


async def _unpaid(instance: Instance) -> dict[str, Any]:
    """Ask by the call for a job that nobody pays for."""
    key = secrets.token_hex(8)
    job_id, _, _ = await _ask(instance, key)
    return {"unpaid": job_id, "ask_key": key}


async def _bought(instance: Instance) -> dict[str, Any]:
    """Buy a job by the call; what proves the payment, does so by L402 and by MPP."""
    job_id, lines, payment_hash = await _ask(instance, secrets.token_hex(8))
    paid = await instance.post(f"/api/dev/stub/pay/{payment_hash}")
    await instance.until(job_id, "complete")
    found, preimage = re.search('macaroon="([^"]+)"', lines), paid.json()["preimage"]
    assert found is not None
    by_mpp = f"Payment {credential(payment_in(lines), preimage)}"
    return {"asked": job_id, "proof": f"L402 {found[1]}:{preimage}", "credential": by_mpp}


async def _used(instance: Instance) -> dict[str, Any]:
    """Open a session and use it: a request, a conversation, and a macaroon that is revoked."""
    session, holder, preimage = await _session(instance, SATS, secrets.token_hex(16))
    said, (talk, _) = await asyncio.gather(holder.asked(PREPAID), _talk(instance, holder.headers))
    revoked = holder.child("child=revoked")
    gone = await holder.post("revoke", {"macaroon": revoked.macaroon})
    async with httpx2.AsyncClient(
        base_url=instance.url, verify=False, timeout=PATIENCE_S
    ) as http:  # nobody's yet
        page = await http.post(
            f"/sessions/{holder.session_id}/unlock", data={"macaroon": holder.macaroon}
        )
    return {
        **{"session": session, "holder": holder, "preimage": preimage, "revoked": revoked},
        **{"request": said["requestId"], "talk": str(talk)},
        **{"link": gone.json()["revoked"], "cookie": cookie_of(page)},
    }


async def _fresh(instance: Instance) -> dict[str, Any]:
    """Open a session that nobody uses."""
    key = secrets.token_hex(8)
    fresh, owner, _ = await _session(instance, FRESH, key)
    code, _ = secret_of((await instance.http.get(where(fresh))).json()["refunds"])
    return {"fresh": fresh, "owner": owner, "fresh_code": code, "session_key": key}


async def _other(instance: Instance) -> dict[str, Any]:
    """Open a session of somebody else's."""
    _, other, _ = await _session(instance, 200, secrets.token_hex(16))
    return {"other": other}


async def _visited(instance: Instance) -> dict[str, Any]:
    """Begin a conversation without a session."""
    visited, visitor = await _talk(instance, {})
    return {"visited": str(visited), "visitor": visitor}


def secret_of(refunds: list[dict[str, Any]]) -> tuple[str, str]:
    """Return a withdraw code for what a stranger's invoice asks for, and the secret behind it."""
    [code] = [each["lnurlWithdraw"] for each in refunds if each["amountSats"] == OWED]
    url = decode(code)
    assert url is not None
    return code, url.rpartition("/")[2]


async def _lent(instance: Instance) -> dict[str, Any]:
    """Lend a machine, and open its page."""
    body = {"name": LENDER, "payTo": PAY_TO}
    made = (await instance.post("/api/v1/workers", body)).json()
    async with httpx2.AsyncClient(base_url=instance.url, verify=False, timeout=PATIENCE_S) as http:
        page = await http.post("/workers/me/unlock", data={"token": made["token"]})
        holder = {"Authorization": f"Bearer {made['token']}"}
        key = await http.post("/api/v1/workers/me/horde-key", headers=holder)
    return {
        **{"worker": made["workerId"], "worker_token": made["token"]},
        **{"worker_cookie": cookie_of(page), "horde_key": key.json()["apiKey"]},
    }


@dataclass(frozen=True)
class Things:
    """All that is made for a world, and what it is called by."""

    job: dict[str, Any]
    job_key: str
    session: dict[str, Any]  # in use; `fresh` is not
    fresh: dict[str, Any]
    fresh_code: str
    session_key: str
    holder: Holder
    owner: Holder  # of the fresh one
    other: Holder
    revoked: Holder
    link: str  # that was revoked
    cookie: str  # of the session's page
    preimage: str
    request: str
    unpaid: str
    ask_key: str
    asked: str
    proof: str
    credential: str
    talk: str
    visited: str
    visitor: str
    person: dict[str, Any]
    token: str
    login: str
    key: dict[str, Any]
    limited: str  # a key that may spend one sat
    ended_keys: list[str]  # one that another has replaced, one that was revoked
    others_key: str
    others_cast: dict[str, str]  # which that account has paid for
    cast: dict[str, str]  # which somebody without an account has paid for
    webhook: str  # of the account's cast
    notice: str  # that it was sent
    connects: str
    connected: str  # its key
    batch: str
    item: str
    worker: str
    worker_token: str
    worker_cookie: str  # of its page
    horde_key: str


async def _pictured(instance: Instance) -> dict[str, Any]:
    """Buy a picture."""
    batch_id = await bought(instance, batch(PICTURE))
    return {"batch": batch_id, "item": (await ended(instance, batch_id))["images"][0]["id"]}


async def _talk(instance: Instance, headers: Mapping[str, str]) -> tuple[int, str]:
    """Begin a conversation; return its id, and the cookie by which a visitor is known again."""
    async with httpx2.AsyncClient(
        base_url=instance.url, verify=False, timeout=PATIENCE_S
    ) as http:  # it is no TLS
        path = "/api/gemini/conversations"
        begun = await http.post(path, json={"title": TITLE}, headers=headers)
        return begun.json()["id"], cookie_of(begun) if "set-cookie" in begun.headers else ""


def cookie_of(answer: httpx2.Response) -> str:
    """Return the cookie that an answer sets."""
    return str(answer.headers["set-cookie"]).partition(";")[0]


# What is made at once, and the names by which the database knows it.
PARTS: tuple[
    tuple[Callable[[Instance], Awaitable[dict[str, Any]]], Callable[[Things], list[str]]], ...
] = (
    (_job, lambda made: [made.job["jobId"]]),
    (_used, lambda made: [made.holder.session_id, made.request, f"talk {made.talk}."]),
    (_fresh, lambda made: [made.owner.session_id]),
    (_other, lambda made: [made.other.session_id]),
    (_unpaid, lambda made: [made.unpaid]),
    (_bought, lambda made: [made.asked]),
    (_visited, lambda made: [f"talk {made.visited}."]),
    (_pictured, lambda made: [made.batch]),
    (_connected, lambda made: [made.connects]),
    (_person, lambda made: [made.person["accountId"]]),
    (_owned, lambda made: [made.others_cast["id"], made.cast["id"]]),
    (_lent, lambda made: [made.worker]),
)


def owned_by(made: Things) -> list[str]:
    """Return the names of all of it."""
    return [name for _, names in PARTS for name in names(made)]


async def made_in(
    instance: Instance, kept: Things | None = None, moved: Collection[str] = ()
) -> Things:
    """Make all of it anew; of what is kept, only the parts that are named in what has moved."""
    lost = [
        make
        for make, names in PARTS
        if kept is None or any(name in line for name in names(kept) for line in moved)
    ]
    parts = await asyncio.gather(*(make(instance) for make in lost))
    fields = {name: value for part in parts for name, value in part.items()}
    return Things(**fields) if kept is None else replace(kept, **fields)
