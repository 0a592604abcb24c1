"""MPP beside L402 on what is bought by the call: one invoice, two ways to prove its payment, one
purchase. What is no proof is a 402 with MPP's word for it, and loses nobody anything.
"""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.operator.key_rotation import rotate
from app.plant import loops_of
from db.audit import audit
from payments.mpp import content_digest
from tests.world.asking import OFFER, ask
from tests.world.clock import Clock
from tests.world.contract import refused
from tests.world.house_fixtures import Instance
from tests.world.paying import credential, decoded, payment_in
from tests.world.scripted_agent import ScriptedAgent
from tests.world.session_fixtures import opened

pytestmark = pytest.mark.one_instance

PROBLEMS = "https://paymentauth.org/problems/"
SPEAKS = {"Accept-Payment": "lightning/charge"}
Proof = dict[str, str]


async def paid(instance: Instance, offer: httpx2.Response, **how: Any) -> tuple[Proof, Proof]:
    """Pay for an offer; return the headers that prove it, by MPP and by L402."""
    assert offer.status_code == 402, offer.text
    done = await instance.post(f"/api/dev/stub/pay/{offer.json()['paymentHash']}", how)
    preimage = done.json()["preimage"]
    lines = offer.headers["www-authenticate"]
    challenge, l402 = payment_in(lines), OFFER.search(lines)
    assert l402 is not None
    name = challenge.get("header", "Authorization")
    by_mpp = {name: f"Payment {credential(challenge, preimage)}"}
    return by_mpp, {"Authorization": f"L402 {l402[1]}:{preimage}"}


def problem(answer: httpx2.Response, name: str, says: str = "") -> None:
    """Hold an answer to being a 402 with this problem, and with a new offer that can be paid."""
    assert answer.status_code == 402, answer.text
    told = answer.json()
    assert told["type"] == PROBLEMS + name and says in told["detail"], told
    assert told["detail"] == told["error"] and answer.headers["cache-control"] == "no-store"
    challenge = payment_in(answer.headers["www-authenticate"])
    details = decoded(challenge["request"])["methodDetails"]
    assert details["invoice"] == told["paymentRequest"]
    assert "payment-receipt" not in answer.headers
    if name != "payment-required":
        assert told["next"].startswith("If you have paid, do not pay again.")


async def offers_made(instance: Instance) -> int:
    """Return how many invoices there are."""
    [row] = await instance.built.db.read_all("SELECT count(*) AS n FROM invoice")
    return int(row["n"])


# --------------------------------------------------------------------------- the offer


async def test_one_402_offers_both_for_one_invoice(instance: Instance) -> None:
    """L402 is the first line and Payment the second; who speaks MPP is told of it first."""
    offer = await ask(instance, "hello")
    problem(offer, "payment-required")
    told, lines = offer.json(), offer.headers.get_list("www-authenticate")
    l402, payment = OFFER.fullmatch(lines[0]), payment_in(lines[1])
    assert len(lines) == 2 and l402 is not None and l402[2] == told["paymentRequest"]
    request = decoded(payment["request"])
    assert request["amount"] == str(told["amountSats"]) and request["currency"] == "sat"
    assert request["methodDetails"] == {
        "invoice": told["paymentRequest"],
        "paymentHash": told["paymentHash"],
        "network": "regtest",  # as the stub has it
    }
    assert payment["realm"] == "127.0.0.1" and payment["expires"][:19] == told["expiresAt"][:19]
    assert told["instance"].rpartition("/")[2] not in str(request), "the job's id is a secret"
    for headers, first in (
        (SPEAKS, "Payment"),
        ({"Accept-Payment": "tempo/charge, */*;q=0.1"}, "Payment"),
        ({"Accept-Payment": "tempo/charge"}, "L402"),
        ({"Accept-Payment": "lightning/charge;q=0"}, "L402"),
        ({"Accept-Payment": "!"}, "L402"),
        ({"Authorization": "Payment x"}, "Payment"),
    ):
        lines = (await ask(instance, "hello", **headers)).headers.get_list("www-authenticate")
        assert len(lines) == 2 and lines[0].startswith(f"{first} "), (headers, lines)


async def test_the_same_key_is_offered_the_same_payment(instance: Instance) -> None:
    """Its challenge too is the same, down to its id: it is made of the offer and nothing else."""
    same = {"Idempotency-Key": "00112233445566778899aabbccddeeff"}
    first, again = [await ask(instance, "hello", **same) for _ in "12"]
    challenges = [payment_in(each.headers["www-authenticate"]) for each in (first, again)]
    assert challenges[0] == challenges[1]


# --------------------------------------------------------------------------- the purchase


async def test_a_credential_buys_one_job_and_shows_it_again(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """With a receipt each time; the L402 proof of the same payment shows the same job."""
    offer = await ask(instance, "hello")
    proof, l402 = await paid(instance, offer)
    answers = [await ask(instance, "hello", **each) for each in (proof, proof, l402)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["result"] == "done: hello"
    challenge = payment_in(offer.headers["www-authenticate"])
    for answer in answers[:2]:
        assert "private" in answer.headers["cache-control"]
        receipt = decoded(answer.headers["payment-receipt"])
        assert receipt.pop("timestamp").endswith("Z")
        assert receipt == {
            "challengeId": challenge["id"],
            "method": "lightning",
            "reference": offer.json()["paymentHash"],
            "status": "success",
        }
    assert "payment-receipt" not in answers[2].headers
    assert scripted_agent.calls == {("judge", "hello"): 1, ("work", "hello"): 1}
    assert await audit(instance.built.db) == []


async def test_both_proofs_at_once_are_one_purchase(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """Fifty of them: one evaluation, one piece of work, fifty equal answers."""
    proofs = await paid(instance, await ask(instance, "hello"))
    answers = await asyncio.gather(*(ask(instance, "hello", **proofs[n % 2]) for n in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert scripted_agent.calls == {("judge", "hello"): 1, ("work", "hello"): 1}
    assert await audit(instance.built.db) == []


async def test_a_key_that_is_none_is_refused_beside_a_proof_too(instance: Instance) -> None:
    """Whichever proof it is, good or not: nothing is lost, and without the key it buys."""
    by_mpp, by_l402 = await paid(instance, await ask(instance, "hello"))
    wrong = {"Authorization": by_mpp["Authorization"][:-4] + "AAAA"}
    for proof in (by_mpp, by_l402, wrong):
        answer = await ask(instance, "hello", **proof, **{"Idempotency-Key": "short"})
        refused(answer, 400, "Idempotency-Key must have at least")
    assert (await ask(instance, "hello", **by_mpp)).status_code == 200


async def test_what_takes_longer_is_a_202_with_the_receipt(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """The payment is through, whatever becomes of the work."""
    scripted_agent.go.clear()
    proof, _ = await paid(instance, await ask(instance, "hello"))
    running = await instance.http.get("/api/ask?request=hello&wait=0", headers=proof)
    assert running.status_code == 202 and "payment-receipt" in running.headers
    scripted_agent.go.set()
    assert (await ask(instance, "hello", **proof)).status_code == 200


# --------------------------------------------------------------------------- what is no proof


async def test_a_challenge_is_for_the_body_that_it_was_made_for(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """With another one, or by GET, it is told what it is for, and nothing is lost."""
    body = b'{"request": "hello"}'
    offer = await instance.http.post("/api/ask", content=body)
    assert payment_in(offer.headers["www-authenticate"])["digest"] == content_digest(body)
    proof, _ = await paid(instance, offer)
    for other in (b'{"request":"hello"}', b'{"request": "hello", "maxSats": 500}'):
        answer = await instance.http.post("/api/ask", content=other, headers=proof)
        problem(answer, "invalid-challenge", "with that one it is still good")
    by_get = await ask(instance, "hello", **proof)
    problem(by_get, "invalid-challenge", "made for another request")
    right = await instance.http.post("/api/ask", content=body, headers=proof)
    assert right.status_code == 200 and right.json()["result"] == "done: hello"
    assert scripted_agent.calls["work", "hello"] == 1


async def test_a_proof_is_for_its_request_only(instance: Instance) -> None:
    """What was asked for in the address is compared as well; so it is with L402."""
    for proof in await paid(instance, await ask(instance, "hello")):
        problem(await ask(instance, "another", **proof), "invalid-challenge", "another request")
        assert (await ask(instance, "hello", **proof)).status_code == 200


async def test_each_thing_that_is_wrong_has_its_name(instance: Instance) -> None:
    """Malformed, of a challenge that is none of ours, with another's preimage: a 402 each, with a
    new offer; nothing was bought by it, and the right credential is still good.
    """
    offer = await ask(instance, "hello")
    proof, _ = await paid(instance, offer)
    other, _ = await paid(instance, await ask(instance, "hello"))
    challenge = payment_in(offer.headers["www-authenticate"])
    preimage = decoded(other["Authorization"].removeprefix("Payment "))["payload"]["preimage"]
    cases = [
        ("malformed-credential", "x"),
        ("malformed-credential", "dGhpcyBpcyBnYXJiYWdl"),
        ("malformed-credential", credential(challenge, "")),
        ("invalid-challenge", credential(challenge | {"realm": "example.org"}, preimage)),
        ("invalid-challenge", credential(challenge | {"id": "A" * 48}, preimage)),
        ("verification-failed", credential(challenge, preimage)),
        ("verification-failed", credential(challenge, "0" * 64)),
    ]
    for name, text in cases:
        answer = await ask(instance, "hello", Authorization=f"Payment {text}")
        problem(answer, name, "This proof of payment isn't valid here.")
        assert answer.headers["www-authenticate"].startswith("Payment ")
    elsewhere = credential(challenge | {"method": "tempo"}, preimage)
    answer = await ask(instance, "hello", Authorization=f"Payment {elsewhere}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["type"] == PROBLEMS + "method-unsupported"
    assert answer.json()["code"] == "payment_method_unsupported"
    assert (await ask(instance, "hello", **proof)).status_code == 200
    assert await audit(instance.built.db) == []


async def test_what_is_wrong_with_a_challenge_of_ours_is_never_paid_twice(
    instance: Instance,
) -> None:
    """Clients pay what a 402 offers, also when it answers a credential: so the same invoice is
    offered again, paid or not, and not where its job is. Another request is another purchase.
    """
    offer = await ask(instance, "hello")
    challenge = payment_in(offer.headers["www-authenticate"])
    wrong = {"Authorization": f"Payment {credential(challenge, '0' * 64)}"}
    elsewhere = {"Payment-Authorization": wrong["Authorization"]}
    before = await offers_made(instance)
    for turn in range(2):
        for shown, name in ((wrong, "verification-failed"), (elsewhere, "malformed-credential")):
            answer = await ask(instance, "hello", **shown)
            problem(answer, name)
            assert answer.json()["paymentRequest"] == offer.json()["paymentRequest"]
            assert "instance" not in answer.json()
            assert payment_in(answer.headers["www-authenticate"])["request"] == challenge["request"]
        if not turn:
            proof, _ = await paid(instance, offer)
    assert await offers_made(instance) == before
    assert (await ask(instance, "hello", **proof)).status_code == 200
    other = await ask(instance, "another", **wrong)
    problem(other, "verification-failed")
    assert other.json()["paymentRequest"] != offer.json()["paymentRequest"]


async def test_a_preimage_that_leaked_is_no_payment(
    timed: Instance, clock: Clock, tmp_path: Path
) -> None:
    """Whoever knows it before the invoice is paid buys nothing with it. While it can be paid the
    answer is to come again; when it has lapsed, that its time is over. Paid late, it is owed back.
    """
    offer = await ask(timed, "hello")
    payment_hash = offer.json()["paymentHash"]
    with sqlite3.connect(tmp_path / "stub.sqlite3") as store:
        query = "SELECT preimage FROM invoices WHERE payment_hash = ?"
        [(preimage,)] = store.execute(query, (payment_hash,)).fetchall()
    challenge = payment_in(offer.headers["www-authenticate"])
    proof = {"Authorization": f"Payment {credential(challenge, preimage)}"}
    before = await offers_made(timed)
    answer = await ask(timed, "hello", **proof)
    refused(answer, 503, "Do not pay again.")
    assert answer.json()["code"] == "payment_unconfirmed"
    assert "payment-receipt" not in answer.headers
    assert await offers_made(timed) == before
    clock.forward(hours=2)
    await loops_of(timed.built).expiry.turn()
    problem(await ask(timed, "hello", **proof), "payment-expired", "nobody has paid for it")
    await paid(timed, offer, late=True)
    said = await ask(timed, "hello", **proof)
    assert said.status_code == 200 and said.json()["state"] == "failed", said.text
    [refund] = said.json()["refunds"]
    assert refund["amountSats"] == offer.json()["amountSats"]
    assert await audit(timed.built.db) == []


async def test_what_was_paid_in_time_is_good_afterwards(timed: Instance, clock: Clock) -> None:
    """However late its proof is shown: `expires` says until when it can be paid."""
    proof, _ = await paid(timed, await ask(timed, "hello"))
    first = await ask(timed, "hello", **proof)
    clock.forward(days=3)
    again = await ask(timed, "hello", **proof)
    assert first.status_code == again.status_code == 200
    assert again.json()["result"] == first.json()["result"] == "done: hello"


async def test_a_rotation_lets_offers_go_on_until_their_key_is_forgotten(
    instance: Instance,
) -> None:
    """Then they are none of ours."""
    proof, _ = await paid(instance, await ask(instance, "hello"))
    built = instance.built
    await rotate(built.db, built.credentials.seal, built.clock())
    newer, _ = await paid(instance, await ask(instance, "newer"))
    assert (await ask(instance, "hello", **proof)).status_code == 200
    await rotate(built.db, built.credentials.seal, built.clock(), forget=True)
    await ask(instance, "hello")  # the process hears of it when it next makes one
    problem(await ask(instance, "newer", **newer), "invalid-challenge", "key that is not in use")


# --------------------------------------------------------------------------- the header


@pytest.mark.parametrize("taken", ["Basic dXNlcjpwYXNz", "Digest username=x"])
async def test_where_authorization_is_taken_the_challenge_names_another_header(
    instance: Instance, taken: str
) -> None:
    """And its credential is taken from there alone, beside what stands in Authorization."""
    offer = await ask(instance, "hello", Authorization=taken)
    assert payment_in(offer.headers["www-authenticate"])["header"] == "Payment-Authorization"
    proof, _ = await paid(instance, offer)
    wrong = {"Authorization": proof["Payment-Authorization"]}
    answer = await ask(instance, "hello", **wrong)
    problem(answer, "malformed-credential", "in which header it is sent")
    right = await ask(instance, "hello", Authorization=taken, **proof)
    assert right.status_code == 200 and "payment-receipt" in right.headers


async def test_two_who_would_pay_are_one_too_many(instance: Instance) -> None:
    """A session's macaroon beside a credential, or an L402 proof: one of them is to be sent."""
    _, holder = await opened(instance)
    proof, l402 = await paid(instance, await ask(instance, "hello"))
    for other in (holder, l402):
        lines = [("Authorization", each["Authorization"]) for each in (proof, other)]
        answer = await instance.http.get("/api/ask?request=hello", headers=lines)
        refused(answer, 401, "There are two different credentials")
    answer = await instance.http.get("/api/gemini/conversations", headers=proof)
    refused(answer, 401, "This takes a session's macaroon")
