"""What is in a world of ids and credentials: all that a stranger may have heard of is made here."""

import asyncio
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from payments.lnurl import decode
from tests.batch_doors import batch, bought, ended
from tests.house_fixtures import Instance
from tests.paying import credential, payment_in
from tests.session_fixtures import Holder, where

JOB, ASKED, PREPAID, TITLE = "planted-job", "planted-ask", "planted-request", "planted-title"
PERSON, PASSWORD = "planted-person", "planted-password"
SATS, FRESH, OWED = 1_789, 157, 33
PICTURE = "planted-picture"


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


async def _job(instance: Instance, key: str) -> dict[str, Any]:
    """Buy a job that owes something back."""
    headers = {"Idempotency-Key": key}
    job = (await instance.post("/api/jobs", {"request": JOB}, headers=headers)).json()
    fee = job["evalInvoice"]["amountSats"]
    await instance.pay(job["evalInvoice"], amountSats=fee + OWED)
    asks = await instance.until(job["jobId"], "awaiting_work_payment", field="workInvoice")
    await instance.pay(asks["workInvoice"])
    done = await instance.until(job["jobId"], "complete")
    return done | {"hash": job["evalInvoice"]["paymentHash"]}


async def _person(instance: Instance) -> tuple[dict[str, Any], str, str]:
    """Open an account; return what was said of it, its token, and the id of its login."""
    async with httpx2.AsyncClient(base_url=instance.url, verify=False) as http:
        body = {"username": f"{PERSON}-{secrets.token_hex(4)}", "password": PASSWORD}
        person = await http.post("/api/auth/login", json=body)
        me = await http.get("/api/auth/me")
        asked = await http.post("/api/account/deposits", json={"amountSats": FRESH})
        await instance.pay(asked.json()["invoice"])
        await http.get("/api/account")
    return person.json(), person.cookies["session"], me.json()["login"]["id"]


async def _ask(instance: Instance, key: str) -> tuple[str, str, str]:
    """Return an offer of a job by the call: its job's id, its challenges, its payment hash."""
    headers = {"Idempotency-Key": key}
    offer = await instance.post("/api/ask", {"request": ASKED}, headers=headers)
    assert offer.status_code == 402, offer.text
    told = offer.json()
    job_id = told["instance"].rpartition("/")[2]
    return job_id, offer.headers["www-authenticate"], told["paymentHash"]


async def _bought(instance: Instance, key: str) -> tuple[str, str, str]:
    """Buy a job by the call; return its id, and what proves the payment: by L402, and by MPP."""
    job_id, lines, payment_hash = await _ask(instance, key)
    paid = await instance.post(f"/api/dev/stub/pay/{payment_hash}")
    await instance.until(job_id, "complete")
    found, preimage = re.search('macaroon="([^"]+)"', lines), paid.json()["preimage"]
    assert found is not None
    by_mpp = f"Payment {credential(payment_in(lines), preimage)}"
    return job_id, f"L402 {found[1]}:{preimage}", by_mpp


def secret_of(refunds: list[dict[str, Any]]) -> tuple[str, str]:
    """Return a withdraw code for what a stranger's invoice asks for, and the secret behind it."""
    [code] = [each["lnurlWithdraw"] for each in refunds if each["amountSats"] == OWED]
    url = decode(code)
    assert url is not None
    return code, url.rpartition("/")[2]


@dataclass(frozen=True)
class Things:
    """All that is made for a world, and what it is called by."""

    job: dict[str, Any]
    session: dict[str, Any]  # in use; `fresh` is not
    fresh: dict[str, Any]
    holder: Holder
    owner: Holder  # of the fresh one
    other: Holder
    revoked: Holder
    preimage: str
    request: str
    unpaid: str
    asked: str
    proof: str
    credential: str
    talk: str
    visited: str
    visitor: str
    person: dict[str, Any]
    token: str
    login: str
    batch: str
    item: str
    keys: list[str]


async def made_in(instance: Instance) -> Things:
    """Make all of it, anew."""
    keys = [secrets.token_hex(8) for _ in range(4)]
    (
        job,
        (session, holder, preimage),
        (fresh, owner, _),
        (_, other, _),
        (unpaid, _, _),
        (asked, proof, shown),
    ) = await asyncio.gather(
        _job(instance, keys[0]),
        _session(instance, SATS, secrets.token_hex(16)),
        _session(instance, FRESH, keys[1]),
        _session(instance, 200, secrets.token_hex(16)),
        _ask(instance, keys[2]),
        _bought(instance, keys[3]),
    )
    said, (talk, _), (visited, visitor), (batch_id, item) = await asyncio.gather(
        holder.asked(PREPAID),
        _talk(instance, holder.headers),
        _talk(instance, {}),
        _pictured(instance),
    )
    person, token, login = await _person(instance)
    return Things(
        job=job,
        session=session,
        fresh=fresh,
        holder=holder,
        owner=owner,
        other=other,
        revoked=holder.child("child=revoked"),
        preimage=preimage,
        request=said["requestId"],
        unpaid=unpaid,
        asked=asked,
        proof=proof,
        credential=shown,
        talk=str(talk),
        visited=str(visited),
        visitor=visitor,
        person=person,
        token=token,
        login=login,
        batch=batch_id,
        item=item,
        keys=keys,
    )


async def _pictured(instance: Instance) -> tuple[str, str]:
    """Buy a picture; return the ids of its batch and of itself."""
    batch_id = await bought(instance, batch(PICTURE))
    return batch_id, (await ended(instance, batch_id))["images"][0]["id"]


async def _talk(instance: Instance, headers: Mapping[str, str]) -> tuple[int, str]:
    """Begin a conversation; return its id, and the cookie by which a visitor is known again."""
    async with httpx2.AsyncClient(base_url=instance.url, verify=False) as http:  # it is no TLS
        path = "/api/gemini/conversations"
        begun = await http.post(path, json={"title": TITLE}, headers=headers)
        return begun.json()["id"], cookie_of(begun) if "set-cookie" in begun.headers else ""


def cookie_of(answer: httpx2.Response) -> str:
    """Return the cookie that an answer sets."""
    return str(answer.headers["set-cookie"]).partition(";")[0]
