"""One job by the call: 402 with an L402 challenge, then the result for the proof, once."""

import asyncio
from typing import Any

import httpx2
import pytest

from app.api.jobs.ask import PAID_WAIT_S
from db.audit import audit
from tests.world.asking import OFFER, ask
from tests.world.contract import refused
from tests.world.house_fixtures import Instance
from tests.world.scripted_agent import ScriptedAgent
from tests.world.session_fixtures import opened

pytestmark = pytest.mark.one_instance

ADDRESS = "somebody@example.org"


async def bought(instance: Instance, offer: httpx2.Response) -> dict[str, str]:
    """Pay for an offer; return the headers that prove it."""
    assert offer.status_code == 402, offer.text
    found = OFFER.match(offer.headers["www-authenticate"])
    assert found and found[1] == found[3] and found[2] == offer.json()["paymentRequest"]
    paid = await instance.post(f"/api/dev/stub/pay/{offer.json()['paymentHash']}")
    return {"Authorization": f"L402 {found[1]}:{paid.json()['preimage']}"}


async def test_a_proof_buys_one_job_and_shows_it_again(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """402 with a firm price, then 200 with the result, and the same result ever after."""
    offer = await ask(instance, "hello")
    proof = await bought(instance, offer)
    first = await ask(instance, "hello", **proof)
    assert first.status_code == 200, first.text
    said = first.json()
    assert said["state"] == "complete" and said["result"] == "done: hello"
    assert said["priceSats"] == offer.json()["amountSats"]
    [refund] = said["refunds"]
    assert refund["amountSats"] == said["priceSats"] - said["cost"]["totalSats"]
    again = await instance.post("/api/ask", {"request": "hello"}, headers=proof)
    assert again.json() == said
    assert scripted_agent.calls["work", "hello"] == 1
    receipt = (await instance.http.get(f"/api/jobs/{said['jobId']}/receipt")).json()["payload"]
    assert [payment["for"] for payment in receipt["payments"]] == ["ask"]
    assert receipt["chargedMsat"] == said["cost"]["totalSats"] * 1000
    assert await audit(instance.built.db) == []


async def test_fifty_proofs_at_once_are_one_purchase(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """One evaluation, one piece of work, fifty equal answers."""
    proof = await bought(instance, await ask(instance, "hello"))
    answers = await asyncio.gather(*(ask(instance, "hello", **proof) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert scripted_agent.calls == {("judge", "hello"): 1, ("work", "hello"): 1}
    assert await audit(instance.built.db) == []


async def test_a_proof_is_for_its_request_only(instance: Instance) -> None:
    """With another request there is a new challenge, and nothing is done."""
    proof = await bought(instance, await ask(instance, "hello"))
    other = await ask(instance, "another", **proof)
    assert other.status_code == 402 and OFFER.match(other.headers["www-authenticate"])
    lsat = await ask(
        instance, "hello", Authorization=proof["Authorization"].replace("L402", "LSAT")
    )
    assert lsat.status_code == 200


async def test_a_proof_that_can_not_be_read_is_never_asked_to_pay_again(instance: Instance) -> None:
    """Whoever shows one has paid: the answer is 401 and a sentence, and no invoice is made."""
    proof = await bought(instance, await ask(instance, "hello"))
    macaroon, _, preimage = proof["Authorization"].removeprefix("L402 ").partition(":")
    [before] = await instance.built.db.read_all("SELECT count(*) AS n FROM invoice")
    for broken in (
        f"{macaroon}:{'0' * 64}",
        f"{macaroon[:-6]}AAAA==:{preimage}",
        f"{macaroon}:{preimage}, L402 {macaroon}:{'0' * 64}",
        f"{macaroon} {preimage}",
        f'macaroon="{macaroon}", preimage="{preimage}"',
        "x:y",
        "x",
    ):
        for scheme in ("L402", "lsat", "LSAT\t"):
            answer = await ask(instance, "hello", Authorization=f"{scheme} {broken}".strip())
            refused(answer, 401, "This proof of payment isn't valid.")
            assert answer.json()["next"].startswith("Do not pay again.")
    assert [before] == await instance.built.db.read_all("SELECT count(*) AS n FROM invoice")
    assert (await ask(instance, "hello", **proof)).status_code == 200


async def test_a_proof_is_found_beside_what_a_proxy_wants(instance: Instance) -> None:
    """Twice under both names, beside a proxy's own credential, or in a header of its own."""
    offer = await ask(instance, "hello")
    value = (await bought(instance, offer))["Authorization"]
    lsat, basic = value.replace("L402", "LSAT"), "Basic dXNlcjpwYXNz"
    line, own = "Authorization", "Payment-Authorization"
    for headers in (
        [(line, lsat), (line, value)],
        [(line, f"{lsat}, {value}")],
        [(line, basic), (line, value)],
        [(line, basic), (own, value)],
        [(line, "Bearer of-the-proxy"), (own, lsat)],
    ):
        answer = await instance.http.get("/api/ask?request=hello", headers=headers)
        assert answer.status_code == 200, (headers, answer.text)
    both = await instance.http.get(
        "/api/ask?request=hello", headers=[(line, value), (line, "Bearer x")]
    )
    refused(both, 401, "There are two different credentials")


async def test_what_is_rejected_or_fails_is_told_and_owed_back(instance: Instance) -> None:
    """A rejected request costs the evaluation only, a failed one nothing."""
    costs: dict[str, Any] = {}
    for request in ("REJECT", "BREAK-WORK"):
        offer = await ask(instance, request)
        said = (await ask(instance, request, **await bought(instance, offer))).json()
        costs[said["state"]] = said["cost"]["totalSats"]
        [refund] = said["refunds"]
        assert refund["amountSats"] == said["priceSats"] - said["cost"]["totalSats"]
    assert costs == {"rejected": 5, "failed": 0}
    assert await audit(instance.built.db) == []


async def test_what_takes_longer_than_its_caller_waits_is_a_202(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """It names the job, which can be followed; the proof shows it again when it is done."""
    scripted_agent.go.clear()
    proof = await bought(instance, await ask(instance, "hello"))
    params = {"request": "hello", "wait": "0"}
    running = await instance.http.get("/api/ask", params=params, headers=proof)
    assert running.status_code == 202
    scripted_agent.go.set()
    done = await ask(instance, "hello", **proof)
    assert done.status_code == 200 and done.headers["location"] == running.headers["location"]


async def test_a_stock_client_is_answered_before_it_gives_up(
    instance: Instance, scripted_agent: ScriptedAgent
) -> None:
    """However long the work takes, a proof is answered within the five seconds that httpx waits:
    with the result, or with a 202 that says where it will be. Only who asks for it waits longer.
    """
    scripted_agent.go.clear()
    proof = await bought(instance, await ask(instance, "hello"))
    running = await instance.http.get("/api/ask?request=hello", headers=proof)
    assert PAID_WAIT_S < 5  # whoever waited for the work itself would wait for ever
    assert running.status_code == 202 and running.headers["retry-after"] == "1"
    where = running.headers["location"]
    held = asyncio.create_task(instance.http.get("/api/ask?request=hello&wait=55", headers=proof))
    job = asyncio.create_task(instance.http.get(f"{where}?wait=55"))
    scripted_agent.go.set()
    assert (await held).status_code == 200
    assert (await job).json()["state"] == "complete"


@pytest.mark.one_instance(False)
async def test_a_get_says_where_what_is_not_needed_goes(instance: Instance) -> None:
    """`refundTo` and `maxSats` in the query mean what they do in a body."""

    async def get(**more: str) -> httpx2.Response:
        return await instance.http.get("/api/ask", params={"request": "hello"} | more)

    refused(await get(maxSats="1"), 409, "This costs up to")
    for wrong in ("0", "-1", "1.5", "", "ten", "1e3", "1" * 12):
        refused(await get(maxSats=wrong), 400, "The parameter 'maxSats' must be a whole number")
    for wrong in ("", "nobody", "x@y"):
        assert (await get(refundTo=wrong)).status_code == 400
    offer = await get(maxSats="5000", refundTo=ADDRESS)
    proof = await bought(instance, offer)
    done = await instance.http.get(
        "/api/ask", params={"request": "hello", "refundTo": ADDRESS}, headers=proof
    )
    [refund] = done.json()["refunds"]
    assert refund["destination"] == "known"
    [row] = await instance.built.db.read_all("SELECT refund_to FROM payout")
    assert row["refund_to"] == ADDRESS
    same = {"Idempotency-Key": "00112233445566778899aabbccddeeff"}
    named = [
        await instance.http.get(f"/api/ask?request=a{more}", headers=same)
        for more in ("", "&wait=1", "&refundTo=you@example.org")
    ]
    assert [answer.status_code for answer in named] == [402, 402, 409]


async def test_a_limit_is_kept_before_anything_is_offered(instance: Instance) -> None:
    """What costs more than maxSats is not sold."""
    refused = await instance.post("/api/ask", {"request": "hello", "maxSats": 1})
    assert refused.status_code == 409


@pytest.mark.one_instance(False)
async def test_a_probe_without_a_request_makes_nothing(instance: Instance) -> None:
    """A HEAD, or a request that says nothing, is answered and leaves no trace."""
    assert (await instance.http.head("/api/ask", params={"request": "x"})).status_code == 402
    assert (await instance.http.get("/api/ask")).status_code == 400
    assert (await instance.http.put("/api/ask")).status_code == 405
    row = await instance.built.db.read_one("SELECT count(*) AS n FROM job")
    assert row == {"n": 0}


async def test_a_short_key_is_refused_whoever_asks(instance: Instance) -> None:
    """A stranger's key is all that tells it from others, and a session's is held to the same."""
    _, holds = await opened(instance)
    for shown in ({}, holds):
        short = await ask(instance, "hello", **{"Idempotency-Key": "f" * 15}, **shown)
        refused(short, 400, "at least 16 characters")
    long = {"Idempotency-Key": "f" * 16}
    first = await ask(instance, "hello", **long, **holds)
    again = await ask(instance, "hello", **long, **holds)
    assert first.json()["jobId"] == again.json()["jobId"]
