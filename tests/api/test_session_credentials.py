"""The macaroon of a session: what it allows, who sees it, and what is no credential at all."""

import base64
import re
import secrets
from datetime import timedelta

import pytest

from app.trade.sessions import caller_of
from payments import session_macaroon
from payments.key_ring import KeyRing
from payments.session_macaroon import Verified
from tests.world.clock import Clock
from tests.world.contract import refused
from tests.world.house_fixtures import Instance
from tests.world.macaroon_fixtures import raw, text_of
from tests.world.scripted_agent import ScriptedAgent
from tests.world.session_fixtures import (
    Holder,
    books_are_right,
    ceiling_sats,
    held,
    holder_of,
    made,
    take_back,
    where,
)

pytestmark = pytest.mark.one_instance


async def test_the_sessions_id_never_shows_it(instance: Instance) -> None:
    """Not before its first use and not after the end: the id shows the state and the balance."""
    session = await made(instance, 500)
    path = f"/api/sessions/{session['sessionId']}"
    seen = {"sessionId", "state", "balanceSats", "reservedSats", "minimumBalanceSats", "expiresAt"}
    assert set((await instance.http.get(path)).json()) == seen | {"invoice"}
    await instance.pay(session["invoice"])
    shown = (await instance.http.get(f"{path}?wait=55")).json()
    assert set(shown) == seen and (shown["state"], shown["balanceSats"]) == ("active", 500)
    holder = await holder_of(instance, session)
    await holder.asked()
    assert set((await instance.http.get(path)).json()) == seen
    await holder.post("close")
    shown = (await instance.http.get(path)).json()
    assert set(shown) == seen | {"expiredBecause"} and shown["state"] == "expired"


async def test_who_opened_it_is_shown_it_by_the_claim(instance: Instance) -> None:
    """The 201 says where: with a claim of its own, which is good until the macaroon is used."""
    answer = await instance.post("/api/sessions", {"amount_sats": 500})
    session = answer.json()
    claim = session["claim"]
    assert re.fullmatch("[0-9a-f]{32}", claim) and claim != session["sessionId"]
    assert answer.headers["location"] == where(session)
    assert f"GET {where(session)} shows the macaroon" in session["next"]
    assert "macaroon" not in (await instance.http.get(where(session))).json()  # it is not paid
    await instance.pay(session["invoice"])
    holder = await holder_of(instance, session)
    for _ in range(2):
        shown = (await instance.http.get(where(session))).json()
        assert shown["macaroon"] == holder.macaroon
    await holder.asked()
    used = await instance.http.get(where(session))
    assert used.status_code == 200 and "macaroon" not in used.json()
    assert (await holder.status())["macaroon"] == holder.macaroon


async def test_no_other_claim_shows_anything(instance: Instance) -> None:
    """Another session's, one that is not whole, two at once: 401, and not even the state."""
    session, other = await made(instance), await made(instance)
    await instance.pay(session["invoice"])
    path, mine, claim = f"/api/sessions/{session['sessionId']}", session["claim"], other["claim"]
    odd = (claim, "", mine[:-1], mine.upper(), f"{mine}&claim={mine}", "%00", "x" * 5_000)
    for wrong in (session["sessionId"], *odd):
        refused(await instance.http.get(f"{path}?claim={wrong}"), 401, "claim isn't valid")
    row = await instance.built.db.read_one(
        "SELECT s::text AS kept FROM session s WHERE id = %(id)s", id=session["sessionId"]
    )
    assert row is not None and mine not in row["kept"]


async def test_a_new_credential_ends_the_claim(instance: Instance) -> None:
    """Who revokes all of them is the only one to be shown the new one."""
    session = await made(instance)
    await instance.pay(session["invoice"])
    holder = await holder_of(instance, session)
    assert (await holder.post("revoke")).status_code == 200
    assert "macaroon" not in (await instance.http.get(where(session))).json()


async def test_a_child_uses_it_up_and_never_sees_it(instance: Instance) -> None:
    """The first use of one that was made from it counts, and shows it the balance alone."""
    holder = await held(instance)
    child = holder.child("expires_at=9999999999")
    assert "macaroon" not in await child.status()
    narrow = holder.child("endpoints=request")
    refused(await instance.http.get(holder.path, headers=narrow.headers), 403, "'status'")


async def test_the_deposits_preimage_shows_it_again(instance: Instance) -> None:
    """It proves who paid. Another's, a wrong one and a damaged one show nothing."""
    holder, other = await held(instance), await held(instance)
    await holder.asked()
    await other.asked()
    preimages = {
        row["session_id"]: row["preimage"]
        for row in await instance.built.db.read_all("SELECT session_id, preimage FROM invoice")
    }
    mine = {"X-Payment-Preimage": preimages[holder.session_id].upper()}
    shown = (await instance.http.get(holder.path, headers=mine)).json()
    assert shown["macaroon"] == holder.macaroon
    for wrong in (preimages[other.session_id], secrets.token_hex(32)):
        answer = await instance.http.get(holder.path, headers={"X-Payment-Preimage": wrong})
        assert answer.status_code == 200 and "macaroon" not in answer.json()
    for odd in ("", "00", "g" * 64, "00" * 33, " ".join(["00"] * 32)):
        answer = await instance.http.get(holder.path, headers={"X-Payment-Preimage": odd})
        refused(answer, 400, "X-Payment-Preimage")


async def test_the_preimage_of_an_unpaid_deposit_proves_nothing(instance: Instance) -> None:
    """A hash whose preimage is known by other means opens nothing before it is paid."""
    session = await made(instance)
    path = f"/api/sessions/{session['sessionId']}"
    answer = await instance.post(
        f"{path}/refund", {"invoice": "lnbc1"}, headers={"X-Payment-Preimage": "00" * 32}
    )
    refused(answer, 401, "macaroon")


# ----------------------------------------------------------------------- what it allows


async def test_a_childs_budget_is_all_that_it_spends(instance: Instance) -> None:
    """What its requests do not need is its own again; beyond it is a 402, for its children too."""
    ceiling = await ceiling_sats(instance)
    holder = await held(instance)
    child = holder.child("child=helper", f"budget_sats={ceiling + 1}")
    spent = (await child.asked())["debitedSats"]
    assert spent > 1
    left = ceiling + 1 - spent
    answer = await child.ask()
    refused(answer, 402, f"the macaroon's budget has {left}")
    grandchild = child.child("budget_sats=1000")
    refused(await grandchild.ask(), 402, f"the macaroon's budget has {left}")
    other = holder.child("child=another", f"budget_sats={ceiling + 1}")
    assert (await other.asked())["state"] == "complete"
    assert (await holder.asked())["state"] == "complete"
    await books_are_right(instance)


async def test_what_breaks_costs_a_budget_nothing(instance: Instance) -> None:
    """A failed request gives all of it back, a rejected one all but the evaluation."""
    ceiling = await ceiling_sats(instance, "BREAK-WORK")
    holder = await held(instance)
    child = holder.child(f"budget_sats={ceiling + 5}")
    for _ in range(3):
        assert (await child.asked("BREAK-WORK"))["debitedSats"] == 0
    assert (await child.asked("REJECT"))["debitedSats"] == 5
    assert (await child.asked("hello"))["debitedSats"] > 5
    await books_are_right(instance)


async def test_a_childs_limit_for_one_request(instance: Instance) -> None:
    """`max_sats` is compared with the most that a request can cost."""
    ceiling = await ceiling_sats(instance)
    holder = await held(instance)
    refused(await holder.child(f"max_sats={ceiling - 1}").ask(), 403, "a request")
    refused(await holder.child("max_sats=9999", f"max_sats={ceiling - 1}").ask(), 403)
    assert (await holder.child(f"max_sats={ceiling}").asked())["state"] == "complete"


async def test_a_child_is_for_some_endpoints(instance: Instance) -> None:
    """Elsewhere it is a 403 that names what is not allowed."""
    holder = await held(instance)
    child = holder.child("endpoints=request,topup", "endpoints=request,status")
    assert (await child.asked())["state"] == "complete"
    refused(await child.post("topup", {"amount_sats": 100}), 403, "'topup'")
    refused(await instance.http.get(holder.path, headers=child.headers), 403, "'status'")
    refused(await child.post("close"), 403, "'close'")
    assert (await holder.status())["state"] == "active"


@pytest.mark.parametrize("caveat", ["max_sats=1000", "budget_sats=1000"])
async def test_what_may_spend_less_never_ends_the_session(instance: Instance, caveat: str) -> None:
    """Closing, refunds and revoking are for those who may spend all of it."""
    holder = await held(instance)
    child = holder.child(caveat)
    for what, body in (("close", None), ("refund", {"refundTo": "a@b.org"}), ("revoke", None)):
        refused(await child.post(what, body), 403, repr(what))
    status = await holder.status()
    assert status["state"] == "active" and "refunds" not in status


async def test_a_child_is_for_some_tools(instance: Instance) -> None:
    """A request uses the agent."""
    holder = await held(instance)
    refused(await holder.child("tools=image").ask(), 403, "'agent'")
    assert (await holder.child("tools=agent,image").asked())["state"] == "complete"


async def test_a_childs_time_is_over(timed: Instance, clock: Clock) -> None:
    """From its last second on it is a 401, and the whole one goes on."""
    holder = await held(timed)
    until = int((clock.now + timedelta(hours=1)).timestamp())
    child = holder.child(f"expires_at={until}")
    clock.forward(minutes=59, seconds=59)
    assert (await child.asked())["state"] == "complete"
    clock.forward(seconds=1)
    refused(await child.ask(), 401, "has expired")
    assert (await holder.asked())["state"] == "complete"


# ------------------------------------------------------------------------- revocation


async def test_a_revoked_child_is_not_taken(instance: Instance) -> None:
    """Nor is what was made from it; the whole one and its other children are."""
    holder = await held(instance)
    child, other = holder.child("child=one"), holder.child("child=two")
    grandchild = child.child("budget_sats=500")
    told = await holder.post("revoke", {"macaroon": child.macaroon})
    assert told.status_code == 200 and "macaroon" not in told.json()
    again = await holder.post("revoke", {"macaroon": child.macaroon})
    assert again.json() == told.json()
    for revoked in (child, grandchild, child.child("endpoints=status,request")):
        refused(await revoked.ask(), 401, "revoked")
        refused(await instance.http.get(holder.path, headers=revoked.headers), 401, "revoked")
    assert (await other.asked())["state"] == (await holder.asked())["state"] == "complete"


async def test_a_child_revokes_itself_and_no_other(instance: Instance) -> None:
    """Neither one beside it, nor the one it was made from, nor all of them."""
    holder = await held(instance)
    child, other = holder.child("child=one"), holder.child("child=two")
    for wrong in (other.macaroon, holder.macaroon):
        refused(await child.post("revoke", {"macaroon": wrong}), 403, "only itself")
    refused(await child.post("revoke"), 403, "whole macaroon")
    assert (await child.post("revoke", {"macaroon": child.macaroon})).status_code == 200
    refused(await child.ask(), 401, "revoked")
    assert (await other.asked())["state"] == "complete"


@pytest.mark.parametrize("named", [False, True])
async def test_all_are_revoked_but_a_new_one(instance: Instance, named: bool) -> None:
    """It is told to whoever revoked them, and not shown to those who know the session's id."""
    holder = await held(instance)
    child, request_id = holder.child("child=one"), await holder.begun()
    body = {"macaroon": holder.macaroon} if named else None
    told = (await holder.post("revoke", body)).json()
    assert told["revoked"] == "all"
    new = Holder(instance, holder.session_id, told["macaroon"])
    for old in (holder, child):
        refused(await old.ask(), 401, "revoked")
        refused(await old.post("revoke"), 401, "revoked")
    assert "macaroon" not in (await instance.http.get(holder.path)).json()
    assert (await new.status())["macaroon"] == new.macaroon
    assert (await new.ended(request_id))["state"] == "complete"
    assert (await new.asked())["state"] == "complete"
    await books_are_right(instance)


async def test_only_a_macaroon_of_the_session_can_be_revoked(instance: Instance) -> None:
    """Anything else is told to be none."""
    holder, other = await held(instance), await held(instance)
    for wrong in (other.macaroon, "junk", other.child("child=x").macaroon, "A" * 5_000):
        answer = await holder.post("revoke", {"macaroon": wrong})
        refused(answer, 400, "'macaroon'")
    refused(await holder.post("revoke", {"macaroon": ""}), 400)
    assert (await other.asked())["state"] == "complete"


# ------------------------------------------------------------------- others' requests


async def test_a_request_is_read_by_who_asked_and_those_above(instance: Instance) -> None:
    """A sister, and one that was made from the asker, find nothing there."""
    holder = await held(instance)
    child, sister = holder.child("child=one"), holder.child("child=two")
    request_id = (await child.asked())["requestId"]
    path = f"{holder.path}/requests/{request_id}"
    for reader in (child, holder):
        assert (await reader.ended(request_id))["result"] == "done: hello"
    for stranger in (sister, child.child("budget_sats=1")):
        refused(await instance.http.get(path, headers=stranger.headers), 404, "no request")
    refused(await instance.http.get(path), 401)
    other = await held(instance)
    refused(await instance.http.get(path, headers=other.headers), 401, "another session")
    elsewhere = f"{other.path}/requests/{request_id}"
    refused(await instance.http.get(elsewhere, headers=other.headers), 404, "no request")


async def test_a_job_that_no_session_paid_is_no_request(instance: Instance) -> None:
    """A job's own id opens nothing on a session."""
    holder = await held(instance)
    job = await instance.to_end("hello")
    path = f"{holder.path}/requests/{job['jobId']}"
    refused(await instance.http.get(path, headers=holder.headers), 404, "no request")


async def test_keys_of_two_children_never_meet(instance: Instance) -> None:
    """Each has what it asked for, whatever another calls its own."""
    holder = await held(instance)
    children = [holder.child(f"child={n}") for n in "ab"]
    said = [await child.asked("hello", key="mine") for child in (holder, *children)]
    assert len({one["requestId"] for one in said}) == 3
    assert (await children[0].asked("hello", key="mine")) == said[1]
    assert (await children[1].asked("other", key="yours"))["result"] == "done: other"
    await books_are_right(instance)


async def test_the_whole_macaroon_is_one_caller_under_every_root_key(instance: Instance) -> None:
    """After a rotation its holder finds what was asked before, and asks nothing twice."""
    holder = await held(instance)
    first = await holder.asked("hello", key="mine")
    found = await instance.built.credentials.verify(holder.macaroon)
    assert isinstance(found, Verified)
    ring = KeyRing()
    ring.hold({9: b"k" * 32}, 9, keep=frozenset({9}))
    again = session_macaroon.verify(
        session_macaroon.make(ring, found.session_id, found.nonce), ring
    )
    assert isinstance(again, Verified) and again.grant.links != found.grant.links
    assert caller_of(again) == caller_of(found)
    assert (await holder.asked("hello", key="mine")) == first


# -------------------------------------------------------------------------------- junk


def junk(holder: Holder, other: Holder) -> dict[str, list[str]]:
    """Return what is no credential of this session, by what is wrong with it."""
    whole, flipped = raw(holder.macaroon), bytearray(raw(holder.macaroon))
    flipped[-1] ^= 1
    return {
        "none": [],
        "two that differ": [f"Bearer {holder.macaroon}", f"Bearer {other.macaroon}"],
        "nothing behind Bearer": ["Bearer"],
        "no scheme": [holder.macaroon],
        "another scheme": [f"Basic {base64.b64encode(b'a:b').decode()}"],
        "a digest": ['Digest username="a"'],
        "a word": ["Bearer junk"],
        "no base64": ["Bearer !!!!"],
        "one character": ["Bearer A"],
        "a JSON web token": ["Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."],
        "too long": [f"Bearer {'A' * 5_000}"],
        "zeros": [f"Bearer {text_of(bytes(200))}"],
        "chance": [f"Bearer {text_of(secrets.token_bytes(120))}"],
        "cut": [f"Bearer {text_of(whole[:-1])}"],
        "cut in the middle": [f"Bearer {text_of(whole[: len(whole) // 2])}"],
        "more behind it": [f"Bearer {text_of(whole + b'x')}"],
        "a signature changed": [f"Bearer {text_of(bytes(flipped))}"],
        "another session's": [f"Bearer {other.macaroon}"],
        "a child of another session's": [f"Bearer {other.child('child=x').macaroon}"],
        "an unknown caveat": [f"Bearer {holder.child('colour=red').macaroon}"],
        "a caveat without a value": [f"Bearer {holder.child('max_sats').macaroon}"],
        "a caveat that is no number": [f"Bearer {holder.child('max_sats=1e3').macaroon}"],
        "a caveat below zero": [f"Bearer {holder.child('budget_sats=-1').macaroon}"],
        "over": [f"Bearer {holder.child('expires_at=1').macaroon}"],
        "a caveat emptied": [
            "Bearer " + text_of(raw(holder.child("child=x").macaroon).replace(b"child=x", b""))
        ],
        "a caveat widened": [
            "Bearer " + text_of(raw(holder.child("max_sats=1").macaroon).replace(b"=1", b"=9"))
        ],
        "not ASCII": ["Bearer ☃☃☃☃"],
        "two macaroons": [f"Bearer {holder.macaroon} {holder.macaroon}"],
    }


async def test_junk_is_a_clean_401(instance: Instance, scripted_agent: ScriptedAgent) -> None:
    """Whatever is sent for a credential: a sentence, nothing of our insides, nothing done."""
    holder, other = await held(instance), await held(instance)
    for wrong, values in junk(holder, other).items():
        headers = [(b"authorization", value.encode()) for value in values]
        for method, what in (("POST", "request"), ("POST", "topup"), ("POST", "close"),
                             ("POST", "refund"), ("POST", "revoke"),
                             ("GET", f"requests/{'0' * 32}")):  # fmt: skip
            answer = await instance.http.request(
                method, f"{holder.path}/{what}", headers=headers, json={"request": "x"}
            )
            assert answer.status_code == 401, (wrong, what, answer.text)
            refused(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer"), wrong
    assert not scripted_agent.calls
    assert (await holder.status())["balanceSats"] == (await other.status())["balanceSats"] == 2_000


async def test_a_session_that_is_over_still_knows_its_holder(instance: Instance) -> None:
    """Requests can be read and refunds taken with the same macaroon, and nothing spent."""
    holder = await held(instance)
    request_id = (await holder.asked())["requestId"]
    assert (await holder.post("close")).status_code == 200
    assert (await holder.ended(request_id))["state"] == "complete"
    refused(await holder.ask(), 410, "closed")
    refused(await holder.post("topup", {"amount_sats": 100}), 409, "closed")
    [refund] = (await holder.status())["refunds"]
    assert (await take_back(holder, refund["amountSats"])).status_code == 200
    await books_are_right(instance)
