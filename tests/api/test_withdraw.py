"""LNURL-withdraw: one code to scan, one payment, and nothing that a claim would not be allowed."""

import asyncio
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from db import ledger
from payments.lnurl import decode
from pricing.money import Msat
from statemachine.entries import Asset
from tests.world.house_fixtures import Instance, instance_of
from tests.world.lnbits_server import LnbitsServer
from tests.world.pay_server import invoice
from tests.world.refund_fixtures import bought, until_refund
from tests.world.scripted_agent import ScriptedAgent

pytestmark = pytest.mark.one_instance


async def failed(house: Instance) -> tuple[dict[str, Any], str]:
    """Return a job that owes its work payment back, and the URL behind the refund's code."""
    job = await house.to_end("BREAK-WORK")
    url = decode(job["refunds"][0]["lnurlWithdraw"])
    assert url is not None
    return job, url


async def scan(house: Instance, url: str) -> dict[str, Any]:
    """Return what a wallet finds at a URL, on this server whatever its public name."""
    answer = await house.http.get(urlsplit(url).path)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    return dict(answer.json())


async def call(house: Instance, callback: str, **query: Any) -> dict[str, Any]:
    """Return what the callback answers to a wallet."""
    answer = await house.http.get(urlsplit(callback).path, params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def make(house: Instance, amount_msat: int) -> str:
    """Return an invoice of the buyer's wallet."""
    stub = house.built.stub
    assert stub is not None
    return (await stub.buyer_invoice(Msat(amount_msat), "mine", 600)).bolt11


async def test_a_refund_is_withdrawn_by_scanning_its_code(instance: Instance) -> None:
    """The offer has the keys of LUD-03 and no other; the payment follows; a second use is over."""
    job, url = await failed(instance)
    sats = job["refunds"][0]["amountSats"]
    assert job["refunds"][0]["lnurlWithdraw"].isupper()
    assert re.fullmatch(f"{instance.url}/api/lnurl/withdraw/[0-9a-f]{{32}}", url)
    assert job["jobId"] not in url
    offer = await scan(instance, url)
    assert set(offer) == {
        "tag", "callback", "k1", "defaultDescription", "minWithdrawable", "maxWithdrawable",
    }  # fmt: skip
    assert offer["tag"] == "withdrawRequest"
    assert offer["minWithdrawable"] == offer["maxWithdrawable"] == sats * 1000
    assert "?" not in offer["callback"] and offer["callback"].startswith(f"{url}/")
    mine = await make(instance, sats * 1000)
    assert await call(instance, offer["callback"], k1=offer["k1"], pr=mine) == {"status": "OK"}
    job = await until_refund(instance, job["jobId"], refundState="paid", attempts=1)
    assert "lnurlWithdraw" not in job["refunds"][0]
    for pr in (mine, await make(instance, sats * 1000)):
        again = await call(instance, offer["callback"], k1=offer["k1"], pr=pr)
        assert again == {"status": "ERROR", "reason": "This refund was paid already."}
    assert await scan(instance, url) == {
        "status": "ERROR",
        "reason": "This refund was paid already.",
    }
    rail_msat = await ledger.balance(instance.built.db, "rail:lightning", Asset.MSAT)
    assert rail_msat == await instance.built.rail.balance_msat()


@pytest.mark.parametrize("wrong", ["k1", "no k1", "no pr", "amount", "ours", "network", "garbage"])
async def test_a_wrong_callback_is_an_error_and_pays_nothing(
    instance: Instance, wrong: str
) -> None:
    """What a claim would be refused for, a withdrawal is; the refund stays owed."""
    job, url = await failed(instance)
    offer = await scan(instance, url)
    amount_msat = offer["maxWithdrawable"]
    query = {"k1": offer["k1"], "pr": await make(instance, amount_msat)}
    if wrong == "k1":
        query["k1"] = "0" * 64
    elif wrong in ("no k1", "no pr"):
        del query[wrong.removeprefix("no ")]
    elif wrong == "ours":
        query["pr"] = (await instance.create())["evalInvoice"]["paymentRequest"]
    else:
        query["pr"] = {
            "amount": await make(instance, amount_msat + 1000),
            "network": invoice(amount_msat, network="bc"),
            "garbage": "lnbcrt1\x00\xff",
        }[wrong]
    said = await call(instance, offer["callback"], **query)
    assert said["status"] == "ERROR" and set(said) == {"status", "reason"}
    told = await instance.job(job["jobId"])
    assert (told["refunds"][0]["attempts"], told["refunds"][0]["refundState"]) == (0, "pending")


@pytest.mark.parametrize(
    "which", ["surplus", "work-overpaid", "%00", "x" * 500, "é", "undone:", "-"]
)
async def test_there_is_nothing_to_withdraw_where_nothing_is_owed(
    instance: Instance, which: str
) -> None:
    """An id, and a secret that is not wholly right, are answered an error of LNURL."""
    job, url = await failed(instance)
    secret = urlsplit(url).path.rpartition("/")[2]
    for known in (job["jobId"], "0" * 32, "x", secret.upper(), secret[:-1], f"{secret}0"):
        for path in (f"/api/lnurl/withdraw/{known}", f"/api/lnurl/withdraw/{known}/{which}"):
            for each in (path, f"{path}/callback?k1=1&pr=lnbc1"):
                answer = await instance.http.get(each)
                assert answer.status_code == 200
                assert answer.json()["status"] == "ERROR", answer.text


async def test_each_refund_has_a_secret_of_its_own(instance: Instance) -> None:
    """It opens that one, and is derived from no id: whoever knows the job's, or a withdrawal of
    the same kind, knows nothing of it."""
    urls = {(await failed(instance))[1] for _ in range(3)}
    assert len({urlsplit(url).path for url in urls}) == 3
    for url in urls:
        assert (await scan(instance, url))["tag"] == "withdrawRequest"


async def test_the_challenge_of_one_refund_is_none_of_another(instance: Instance) -> None:
    """The k1 of a withdrawal is bound to its secret."""
    job, url = await failed(instance)
    _, other = await failed(instance)
    offer, elsewhere = await scan(instance, url), await scan(instance, other)
    pr = await make(instance, offer["maxWithdrawable"])
    said = await call(instance, offer["callback"], k1=elsewhere["k1"], pr=pr)
    assert said["status"] == "ERROR" and "k1" in said["reason"]
    assert (await instance.job(job["jobId"]))["refunds"][0]["attempts"] == 0


@pytest.mark.parametrize("which", ["undone", "surplus", "work-overpaid"])
async def test_a_code_of_an_earlier_version_opens_nothing(instance: Instance, which: str) -> None:
    """Its address held the job's id: a wallet is told, in its own words, to scan again."""
    job, _ = await failed(instance)
    path = f"/api/lnurl/withdraw/{job['jobId']}/{which}"
    for each in (path, f"{path}/callback?k1={'0' * 64}&pr=lnbc1"):
        said = await scan(instance, each)
        assert said["status"] == "ERROR" and "an old one" in said["reason"]


@pytest.mark.parametrize("odd", ["%00", "x" * 500, "é", "undone:", "-"])
async def test_an_odd_address_is_an_error_of_lnurl_too(instance: Instance, odd: str) -> None:
    """No text in the place of the secret is anything else than unknown."""
    for path in (f"/api/lnurl/withdraw/{odd}", f"/api/lnurl/withdraw/{odd}/callback?k1=1&pr=1"):
        answer = await instance.http.get(path)
        assert answer.status_code == 200
        assert answer.json()["status"] == "ERROR", answer.text


async def test_a_head_pays_nothing(instance: Instance) -> None:
    """Whoever only looks at a callback changes nothing."""
    job, url = await failed(instance)
    offer = await scan(instance, url)
    query = {"k1": offer["k1"], "pr": await make(instance, offer["maxWithdrawable"])}
    answer = await instance.http.head(urlsplit(offer["callback"]).path, params=query)
    assert answer.status_code == 200
    assert (await instance.job(job["jobId"]))["refunds"][0]["attempts"] == 0


async def test_fifty_wallets_at_once_withdraw_once(instance: Instance) -> None:
    """Fifty invoices for one code, and as many claims: one payment."""
    job, url = await failed(instance)
    offer = await scan(instance, url)
    mine = [await make(instance, offer["maxWithdrawable"]) for _ in range(50)]
    claims = [
        instance.post(f"/api/jobs/{job['jobId']}/refund", {"invoice": bolt11})
        for bolt11 in mine[:25]
    ]
    calls = [call(instance, offer["callback"], k1=offer["k1"], pr=bolt11) for bolt11 in mine[25:]]
    answers = await asyncio.gather(*calls, *claims)
    taken = [
        answer
        for answer in answers
        if answer == {"status": "OK"}
        or (isinstance(answer, httpx2.Response) and answer.status_code in (200, 202))
    ]
    assert len(taken) == 1
    await until_refund(instance, job["jobId"], refundState="paid", attempts=1)
    rows = await instance.built.db.read_all(
        "SELECT outcome FROM payout_attempt WHERE payout_id LIKE %(its)s", its=f"{job['jobId']}%"
    )
    assert [row["outcome"] for row in rows] == ["settled"]


# ------------------------------------------------------------------------ what the code holds


@pytest.mark.parametrize(
    ("host", "begins"),
    [
        ("pay.example.org", "https://pay.example.org/api/"),
        ("pay.example.org:8443", "https://pay.example.org:8443/api/"),
        ("127.0.0.1:8402", "http://127.0.0.1:8402/api/"),
        ("[::1]:8402", "http://[::1]:8402/api/"),
        ("abcdef.onion", "http://abcdef.onion/api/"),
        ("127.0.0.1.example.org", "https://127.0.0.1.example.org/api/"),
    ],
)
async def test_a_code_leads_where_its_reader_asked(
    instance: Instance, host: str, begins: str
) -> None:
    """Without PUBLIC_URL it is the Host of the request; https wherever wallets demand it."""
    job, _ = await failed(instance)
    answer = await instance.http.get(f"/api/jobs/{job['jobId']}", headers={"Host": host})
    url = decode(answer.json()["refunds"][0]["lnurlWithdraw"])
    assert url is not None and url.startswith(begins)


async def test_an_odd_host_gets_no_code(instance: Instance) -> None:
    """A Host that is none is not written into a code."""
    job, _ = await failed(instance)
    path = f"/api/jobs/{job['jobId']}"
    answer = await instance.http.get(path, headers={"Host": "x.org/evil?"})
    assert "lnurlWithdraw" not in answer.json()["refunds"][0]


async def test_the_operator_says_how_we_are_reached(
    database_url: str, tmp_path: Path, scripted_agent: ScriptedAgent
) -> None:
    """With PUBLIC_URL set, codes and callbacks hold that, whatever the Host."""
    async with instance_of(
        database_url, tmp_path, agent=scripted_agent, PUBLIC_URL="https://work.example.org"
    ) as house:
        _, url = await failed(house)
        assert url.startswith("https://work.example.org/api/lnurl/withdraw/")
        offer = await scan(house, url)
        assert offer["callback"] == f"{url}/callback"


# ---------------------------------------------------------------------- for real, through LNbits


async def test_a_real_wallet_withdraws_a_refund(
    lenient_on_lnbits: Instance, lnbits: LnbitsServer
) -> None:
    """LNbits scans the code with its own LNURL library and receives the sats; once."""
    job = await bought(lenient_on_lnbits, lnbits)
    [refund] = job["refunds"]
    before = await lnbits.balance_msat(lnbits.buyer)
    ours = await lnbits.balance_msat(lnbits.us)
    offer = await lnbits.scan(lnbits.buyer, refund["lnurlWithdraw"])
    incoming = await lnbits.withdraw(lnbits.buyer, offer)
    assert incoming["extra"]["lnurl_response"] is True, incoming
    await until_refund(lenient_on_lnbits, job["jobId"], refundState="paid", attempts=1)
    sats = refund["amountSats"]
    assert await lnbits.balance_msat(lnbits.buyer) == before + sats * 1000
    assert await lnbits.balance_msat(lnbits.us) == ours - sats * 1000
    again = await lnbits.withdraw(lnbits.buyer, offer)
    assert "paid already" in again["extra"]["lnurl_response"]
    with pytest.raises(RuntimeError, match="paid already"):
        await lnbits.scan(lnbits.buyer, refund["lnurlWithdraw"])
    assert await lnbits.balance_msat(lnbits.buyer) == before + sats * 1000
