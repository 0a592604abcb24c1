"""Bad input gets the seed's error envelope and a sentence that says what to do: never a 500, never
a stack trace, and nothing is lost. Rows 9, 17, 26 and 29 of the fault catalogue.
"""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest import Subtests

from db import ledger
from tests.world.contract import CONTRACT, refused
from tests.world.house_fixtures import Instance
from tests.world.invoices import make, taken_apart, with_checksum

pytestmark = pytest.mark.one_instance

JSON = {"Content-Type": "application/json"}
DEEP = 130_000


async def books(house: Instance) -> dict[str, Any]:
    """Return all that is owed, held and written, to compare before with after."""
    db = house.built.db
    return {
        "ledger": await ledger.trial_balance(db),
        "owed": await db.read_all("SELECT id, state, attempts, amount FROM payout ORDER BY 1"),
        "attempts": await db.read_all(
            "SELECT payment_hash, outcome FROM payout_attempt ORDER BY 1"
        ),
        "entries": await db.read_all("SELECT count(*) AS n FROM entry"),
        "jobs": await db.read_all("SELECT id, state, version FROM job ORDER BY id"),
        "keys": await db.read_all("SELECT count(*) AS n FROM idempotency_key"),
        "rail": await house.built.rail.balance_msat(),
    }


def request_with(value: str) -> bytes:
    """Return a body whose request is this JSON text."""
    return b'{"request": %s}' % value.encode()


def limit_of(value: str) -> bytes:
    """Return a good request with this JSON text as its maxSats."""
    return b'{"request": "hello", "maxSats": %s}' % value.encode()


# Bodies of POST /api/jobs and POST /api/estimate: name → (body, what the sentence says).
REQUESTS: dict[str, tuple[bytes, str]] = {
    "no body": (b"", "empty. Send a JSON object"),
    "white space for a body": (b" \r\n ", "empty. Send a JSON object"),
    "empty": (request_with('""'), "'request' is empty. Say what you want done"),
    "white space": (request_with(r'" \n\u2003\t"'), "'request' is empty"),
    "too long": (request_with(f'"{"x" * 20_001}"'), "20001 characters, and at most 20000"),
    "a number": (request_with("5"), "'request' must be a valid string"),
    "null": (request_with("null"), "'request' must be a valid string"),
    "a list": (request_with('["a"]'), "'request' must be a valid string"),
    "an object": (request_with('{"text": "a"}'), "'request' must be a valid string"),
    "missing": (b"{}", "'request' is missing. Add it"),
    "an unknown field": (b'{"request": "a", "reqest": 1}', "'reqest' is not known here. Known fie"),
    "a long unknown field": (b'{"request": "a", "%s": 1}' % (b"k" * 9_999), "not known here"),
    "a field twice": (b'{"request": "a", "request": "b"}', "'request' is given twice"),
    "NUL": (request_with(r'"a\u0000b"'), "U+0000, which is not text. Take it out"),
    "a raw NUL": (request_with('"a\0b"'), "not valid JSON (line 1, column 15)"),
    "an escape code": (request_with(r'"a\u001b[2J"'), "U+001B"),
    "half a surrogate pair": (request_with(r'"a\ud83d"'), "U+D83D"),
    "half a pair for a name": (b'{"request": "a", "\\udc00": 1}', "without its pair"),
    "half a pair twice": (b'{"\\ud800": 1, "\\ud800": 1}', "given twice"),
    "an array": (b'["request"]', "Send one JSON object"),
    "a string": (b'"request"', "Send one JSON object"),
    "a NaN": (b"NaN", "holds NaN, which is no JSON number. Send a finite"),
    "no JSON": (b"request=hello", "not valid JSON (line 1, column 1). Send one JSON object"),
    "single quotes": (b"{'request': 'hello'}", "not valid JSON"),
    "a comma too many": (b'{"request": "a",}', "not valid JSON"),
    "something behind it": (b'{"request": "a"} {}', "not valid JSON"),
    "cut off": (b'{"request": "a', "not valid JSON"),
    "two lines": (b'{"request":\n"a\nb"}', "line 2, column 3"),
    "Latin-1": (b'{"request": "\xe9"}', "not valid UTF-8 (byte 13). Encode it as UTF-8"),
    "UTF-8 too long": (b'{"request": "\xc0\x80"}', "not valid UTF-8"),
    "UTF-8 of a surrogate": (b'{"request": "\xed\xa0\x80"}', "not valid UTF-8"),
    "UTF-16": ('{"request": "a"}'.encode("utf-16"), "not valid UTF-8"),
    "compressed": (b"\x1f\x8b\x08\x00", "not valid UTF-8"),
    "deep arrays": (request_with("[" * DEEP), "nested deeper than 32 levels"),
    "deep objects": (b'{"a":' * 33 + b"1" + b"}" * 33, "nested deeper than 32 levels"),
    "brackets behind half a string": (b"[" * 40 + b'"' + b'\\"' * DEEP, "nested deeper than 32"),
    "6,000 digits": (request_with("9" * 6_000), "larger than 2^53"),
    "6,000 digits below zero": (request_with("-" + "9" * 6_000), "larger than 2^53"),
}
AMOUNTS: dict[str, tuple[bytes, str]] = {
    "negative": (limit_of("-1"), "'maxSats' must be greater than or equal to 1"),
    "zero": (limit_of("0"), "'maxSats' must be greater than or equal to 1"),
    "minus zero": (limit_of("-0"), "'maxSats' must be greater than or equal to 1"),
    "minus zero point zero": (limit_of("-0.0"), "'maxSats' must be a valid integer"),
    "a fraction": (limit_of("1.5"), "'maxSats' must be a valid integer"),
    "a fraction of nothing": (limit_of("5.0"), "'maxSats' must be a valid integer"),
    "an exponent": (limit_of("1e3"), "'maxSats' must be a valid integer"),
    "an exponent beyond floats": (limit_of("1e999"), "'maxSats' must be a valid integer"),
    "too much": (limit_of("100000001"), "'maxSats' must be less than or equal to 100000000"),
    "2^53 + 1": (limit_of(str(2**53 + 1)), "larger than 2^53. Send a smaller one"),
    "2^63": (limit_of(str(2**63)), "larger than 2^53. Send a smaller one"),
    "below -2^63": (limit_of(str(-(2**63) - 1)), "larger than 2^53"),
    "6,000 digits": (limit_of("9" * 6_000), "larger than 2^53"),
    "NaN": (limit_of("NaN"), "holds NaN, which is no JSON number. Send a finite"),
    "infinity": (limit_of("-Infinity"), "holds -Infinity, which is no JSON number"),
    "a string": (limit_of('"5"'), "'maxSats' must be a valid integer"),
    "true": (limit_of("true"), "'maxSats' must be a valid integer"),
    "a list": (limit_of("[5]"), "'maxSats' must be a valid integer"),
    "a leading zero": (limit_of("007"), "not valid JSON"),
    "hexadecimal": (limit_of("0x10"), "not valid JSON"),
}


async def test_a_bad_body_is_refused_with_what_to_do(
    instance: Instance, subtests: Subtests
) -> None:
    """Whatever is wrong with a body, its sender is told in a sentence, and nothing is written."""
    before = await books(instance)
    for path, table in (("/api/jobs", REQUESTS | AMOUNTS), ("/api/estimate", REQUESTS)):
        for name, (body, says) in table.items():
            with subtests.test(f"{path}: {name}"):
                answer = await instance.http.post(path, content=body, headers=JSON)
                refused(answer, 400, says)
                assert answer.elapsed < timedelta(seconds=2)
    assert await books(instance) == before
    await instance.create("x" * 20_000, maxSats=100_000_000)  # the last of what is allowed


async def test_a_bad_idempotency_key_makes_nothing(instance: Instance) -> None:
    """A key is 1 to 255 printable ASCII characters; with any other no job is made."""
    before = await books(instance)
    for key in (b"", b"k" * 256, "clé".encode(), b"\xff", b"a\tb", b"k" * 20_000):
        headers = [(b"Idempotency-Key", key)]
        answer = await instance.http.post("/api/jobs", json={"request": "a"}, headers=headers)
        refused(answer, 400, "1 to 255 printable ASCII")
    assert await books(instance) == before


@pytest.mark.one_instance(False)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/jobs", {"request": "a"}),
        ("/api/sessions", {"amount_sats": 1_000}),
        ("/api/ask", {"request": "a"}),
    ],
)
async def test_a_key_that_another_could_choose_makes_nothing(
    instance: Instance, path: str, body: dict[str, Any]
) -> None:
    """Callers behind one address are told apart by their keys alone, so a key has 16 characters at
    the least: with a shorter one nothing is made, and nobody is answered what another has made."""
    before = await books(instance)
    for key in ("1", "mine", "k" * 15):
        answer = await instance.post(path, body, headers={"Idempotency-Key": key})
        refused(answer, 400, "at least 16 characters")
    assert await books(instance) == before
    answer = await instance.post(path, body, headers={"Idempotency-Key": "k" * 16})
    assert answer.status_code in (201, 402), answer.text


async def test_an_unknown_id_is_a_404(instance: Instance, subtests: Subtests) -> None:
    """Whatever stands where an id should, every door of a job says that there is no such job."""
    claim = {"invoice": make(at=datetime.now(UTC))}
    known = (await instance.create())["jobId"]
    ids = ["0" * 32, "1", "-1", known[:-1], known + "0", "A" * 32, "null", "undefined"]
    ids += ["%00", known + "%00", "%20" + known, "%ff%fe", "%0d%0aX-Odd:%201", "%F0%9F%98%80"]
    ids += ["'%20OR%201=1--", "$%7Bjndi:x%7D", "%25s%25n", "a" * 9_000, "..;"]
    doors = [(verb, path) for verb, path, _ in CONTRACT.operations() if "/jobs/{id}" in path]
    for odd in ids:
        with subtests.test(odd[:40]):
            for verb, path in doors:
                answer = await instance.http.request(
                    verb, path.format(id=odd, itemId=known), json=claim
                )
                refused(answer, 404, "There is no job with this id. Check it")
    assert (await instance.job(known))["state"] == "awaiting_eval_payment"


async def test_a_bad_wait_is_refused(instance: Instance) -> None:
    """wait= takes whole seconds from 0 to 60, once; a strange If-None-Match matches nothing."""
    path = f"/api/jobs/{(await instance.create())['jobId']}"
    waits = ["", " 1", "-1", "+1", "1.5", "61", "1e1", "0x1", "NaN", "٣", "a", "\0", "9" * 5_000]
    for wait in (*waits, ["1", "1"]):
        answer = await instance.http.get(path, params={"wait": wait})
        refused(answer, 400, "'wait' must be a whole number of seconds, from 0 to 60")
    for tag in ("", '"', "*", '"0"', "W/", ",,,", "\xff", "1" * 9_000):
        headers = [(b"If-None-Match", tag.encode("latin-1"))]
        answer = await instance.http.get(path, params={"wait": "0"}, headers=headers)
        assert answer.status_code == 200
    current = answer.headers["etag"]
    for page in ("offset=-1", "limit=x"):  # an agent job has none, and a strange one is no page
        answer = await instance.http.get(f"{path}?{page}", headers={"If-None-Match": current})
        refused(answer, 400, "must be a whole number")
    for tag in (current, f"W/{current}", f'"0", {current}'):
        answer = await instance.http.get(path, headers={"If-None-Match": tag})
        assert answer.status_code == 304 and not answer.content


async def owing(house: Instance) -> tuple[str, int]:
    """Return a job that owes its evaluation fee back, and how many sats that is."""
    made = await house.create("BREAK-JUDGE")
    await house.pay(made["evalInvoice"])
    await house.until(made["jobId"], "failed")
    return made["jobId"], made["evalInvoice"]["amountSats"]


def damaged(sats: int, hrp: str | None = None) -> str:
    """Return an invoice with a whole checksum over a changed amount, so that nobody signed it."""
    readable, data = taken_apart(make(sats * 1000, at=datetime.now(UTC)))
    return with_checksum(hrp or readable, data)


async def claims(house: Instance, job_id: str, sats: int) -> dict[str, tuple[Any, str]]:
    """Return bad refund claims for a job that owes so many sats: name → (invoice, what is said)."""
    now = datetime.now(UTC)
    msat = sats * 1000
    own = (await house.create("another job"))["evalInvoice"]
    assert own["amountSats"] == sats
    spent_on, _ = await owing(house)
    spent = (await house.post("/api/dev/stub/invoice", {"amountSats": sats})).json()
    spent = {"invoice": spent["paymentRequest"]}
    assert (await house.post(f"/api/jobs/{spent_on}/refund", spent)).status_code == 200
    paid = await house.built.db.read_all(
        "SELECT bolt11 FROM invoice WHERE job_id = %(job)s", job=job_id
    )
    good = make(msat, at=now)
    return {
        "too much": (make(msat + 1000, at=now), f"Make one for exactly {sats} sats"),
        "too little": (make(msat - 1000, at=now), f"Make one for exactly {sats} sats"),
        "a fraction more": (make(msat + 1, at=now), f"asks for {sats}.001 sats"),
        "without an amount": (make(None, at=now), f"names no amount. Make one for exactly {sats}"),
        "expired": (make(msat, at=now - timedelta(hours=2)), "has expired. Make a new one"),
        "born expired": (make(msat, expiry_s=0, at=now), "for 0 seconds. Make a new one"),
        "about to expire": (make(msat, expiry_s=5, at=now), "about to expire"),
        "for Bitcoin": (make(msat, "bc", at=now), "Make one with a wallet on regtest"),
        "for testnet": (make(msat, "tb", at=now), "Make one with a wallet on regtest"),
        "for signet": (make(msat, "tbs", at=now), "Make one with a wallet on regtest"),
        "used already": (spent["invoice"], "was used for a refund before. Make a new one"),
        "one of our own": (own["paymentRequest"], "one of our own invoices. Make one with your"),
        "our own, paid": (paid[0]["bolt11"], "one of our own invoices"),
        "a letter wrong": (good[:-1] + ("q" if good[-1] != "q" else "p"), "damaged"),
        "cut off": (good[:-20], "damaged"),
        "mixed case": (good[:20].upper() + good[20:], "Copy it again"),
        "a thousandth's part": (damaged(sats, "lnbcrt50001p"), "Make one for whole sats"),
        "more than there is": (damaged(sats, "lnbcrt21000001"), "more bitcoin than there is"),
        "too long": ("lnbcrt" + "q" * 3_000, "too long"),
        "white space": (" ", "not a Lightning invoice. Paste one that starts with"),
        "an address": ("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "not a Lightning invoice"),
        "an LNURL": ("lnurl1dp68gurn8ghj7", "not a Lightning invoice"),
        "a Lightning address": ("me@example.com", "not a Lightning invoice"),
        "NUL": (good + "\0", "not a Lightning invoice"),
        "empty": ("", "'invoice' must have at least 1 character"),
        "a number": (5, "'invoice' must be a valid string"),
        "null": (None, "'invoice' must be a valid string"),
        "a list": ([good], "'invoice' must be a valid string"),
    }


async def test_a_bad_refund_invoice_moves_nothing(instance: Instance, subtests: Subtests) -> None:
    """After every bad claim the payout is still owed, no sat has moved, and a good one is paid."""
    job_id, sats = await owing(instance)
    path, table = f"/api/jobs/{job_id}/refund", await claims(instance, job_id, sats)
    before = await books(instance)
    for name, (invoice, says) in table.items():
        with subtests.test(name):
            refused(await instance.post(path, {"invoice": invoice}), 400, says)
            assert await books(instance) == before
    for name, (body, _) in REQUESTS.items():
        with subtests.test(f"body: {name}"):
            refused(await instance.http.post(path, content=body, headers=JSON), 400)
    assert await books(instance) == before
    [refund] = (await instance.job(job_id))["refunds"]
    assert (refund["refundState"], refund["attempts"], refund["amountSats"]) == ("pending", 0, sats)
    mine = (await instance.post("/api/dev/stub/invoice", {"amountSats": sats})).json()
    claim = {"invoice": f"LIGHTNING:{mine['paymentRequest'].upper()}"}
    paid = await instance.post(path, claim)
    assert paid.status_code == 200 and paid.json()["refundAmountSats"] == sats
    refused(await instance.post(path, claim), 409, "paid already")


async def test_a_claim_on_nothing_is_a_409(instance: Instance) -> None:
    """A job that owes nothing says so, whatever invoice is offered."""
    made = await instance.create()
    before = await books(instance)
    claim = {"invoice": make(at=datetime.now(UTC))}
    answer = await instance.post(f"/api/jobs/{made['jobId']}/refund", claim)
    refused(answer, 409, "No refund is owed")
    assert await books(instance) == before


text = st.text(st.characters(), max_size=20)  # any code point, surrogates among them
scalars = st.none() | st.booleans() | st.integers() | st.floats() | text
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(["request", "maxSats", "invoice"])
jsons = (values | st.dictionaries(fields, values, max_size=3)).map(json.dumps)
spoilt = st.tuples(jsons, st.integers(0, 40), st.binary(max_size=4)).map(
    lambda three: three[0].encode()[: three[1]] + three[2] + three[0].encode()[three[1] :]
)
ANY_INPUT = settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
async def job_id(instance: Instance) -> str:
    """A job that owes something."""
    return (await owing(instance))[0]


@ANY_INPUT
@given(body=jsons.map(str.encode) | st.binary(max_size=200) | spoilt)
async def test_no_body_breaks_anything(instance: Instance, job_id: str, body: bytes) -> None:
    """Any JSON value and any bytes are taken or refused with the envelope, at every door."""
    doors = ("/api/jobs", "/api/estimate", f"/api/jobs/{job_id}/refund")
    sent = (instance.http.post(path, content=body, headers=JSON) for path in doors)
    for answer in await asyncio.gather(*sent):
        if answer.status_code not in (200, 201):
            refused(answer, 400)


# A slash parts a path, and clients resolve the dots themselves.
ids = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1)


@ANY_INPUT
@given(odd=ids.filter(lambda text: text not in (".", "..")))
async def test_no_id_breaks_anything(instance: Instance, odd: str) -> None:
    """Any text for an id is an unknown job."""
    refused(await instance.http.get(f"/api/jobs/{quote(odd, safe='')}"), 404, "There is no job")
