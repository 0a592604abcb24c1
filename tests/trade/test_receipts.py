"""Signed receipts: what they say, who can check them, and that one changed byte says no."""

import asyncio
import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import httpx2
import psycopg
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OctKey

from app.keys import signing
from app.keys.receipt_check import (
    ALGORITHM,
    TYPE,
    NotGenuine,
    ReceiptKey,
    check,
    keys_in,
    lines,
    okp,
    verify,
)
from app.keys.signing import make_key, sign
from db import signing_keys
from db.embedded import running_url
from db.engine import Database
from db.signing_keys import Key, PublicKey
from payments.seal import Seal
from tests.world.house_fixtures import Instance
from tests.world.patience import PATIENCE_S
from tests.world.receipt_fixtures import receipt_of
from tests.world.server_process import ServerProcess

pytestmark = pytest.mark.one_instance

KEY = make_key()
KEYS = [ReceiptKey(KEY.kid, KEY.public_key)]


def numbers(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """Return every number in a JSON value, with the name of its field."""
    if isinstance(value, dict):
        return [found for key, each in value.items() for found in numbers(each, key)]
    if isinstance(value, list):
        return [found for each in value for found in numbers(each, name)]
    return [(name, value)] if isinstance(value, int | float) else []


async def test_a_receipt_says_what_was_bought_and_for_how_much(instance: Instance) -> None:
    """Hashes, usage, unit prices, bitcoin price, quote, charge, payments and refunds add up."""
    job = await instance.to_end("write a haiku", maxSats=5000)
    served, said = await receipt_of(instance, job["jobId"])
    assert json.loads(served)["payload"] == said
    assert said["requestSha256"] == hashlib.sha256(b"write a haiku").hexdigest()
    assert said["resultSha256"] == hashlib.sha256(job["result"].encode()).hexdigest()
    assert (said["publicId"], said["state"]) == (job["publicId"], "complete")
    assert job["jobId"] not in served.decode() and job["jobId"][:8] not in "\n".join(lines(said))
    assert said["usage"] == {"inputTokens": 50, "outputTokens": 100}
    quote, charge, price = said["quote"], said["charge"], said["quote"]["btcPrice"]
    tokens = 50 * quote["inputMicrousdPerMillionTokens"]
    tokens += 100 * quote["outputMicrousdPerMillionTokens"]
    assert charge["tokensMicrousd"] == -(-tokens // 1_000_000)
    cost = (charge["tokensMicrousd"] + quote["infraMicrousd"]) * (100 + quote["marginPct"])
    assert charge["chargeMicrousd"] == -(-cost // 100)
    sats = -(-charge["chargeMicrousd"] * 100_000_000 // price["microusdPerBtc"])
    assert charge["totalMsat"] == max(1, sats) * 1000
    assert price["microusdPerBtc"] == 100_000 * 1_000_000
    assert price["note"] and price["at"] <= said["issuedAt"]
    assert quote["totalMsat"] == charge["totalMsat"] + charge["surplusMsat"] <= said["maxMsat"]
    assert [payment["for"] for payment in said["payments"]] == ["eval", "work"]
    assert said["paidMsat"] == said["evalFeeMsat"] + quote["totalMsat"]
    assert said["paidMsat"] == said["chargedMsat"] + said["refundedMsat"]
    assert said["chargedMsat"] == said["evalFeeMsat"] + charge["totalMsat"]
    assert [(r["reason"], r["state"]) for r in said["refunds"]] == [("surplus", "owed")]
    units = ("Msat", "Microusd", "Tokens", "Pct", "PerBtc", "receiptVersion")
    for name, number in numbers(said):
        assert type(number) is int and name.endswith(units), name
    told = "\n".join(lines(said))
    for each in (
        job["publicId"],
        said["requestSha256"],
        *(p["paymentHash"] for p in said["payments"]),
    ):
        assert each in told


async def test_a_receipt_shows_a_refund_as_it_is(instance: Instance) -> None:
    """After it was paid, the refund has its state, its payment hash and its time."""
    job = await instance.to_end("hello")
    sats = job["costLedger"]["refundAmountSats"]
    mine = (await instance.post("/api/dev/stub/invoice", {"amountSats": sats})).json()
    claim = {"invoice": mine["paymentRequest"]}
    assert (await instance.post(f"/api/jobs/{job['jobId']}/refund", claim)).status_code == 200
    [refund] = (await receipt_of(instance, job["jobId"]))[1]["refunds"]
    assert refund["state"] == "paid" and refund["paidAt"]
    assert refund["paymentHash"] == mine["paymentHash"]


async def test_only_a_job_that_has_ended_has_a_receipt(instance: Instance) -> None:
    """Before that it is 409 with a sentence; an unknown id is 404."""
    made = await instance.create("REJECT")
    path = f"/api/jobs/{made['jobId']}/receipt"
    early = await instance.http.get(path)
    assert early.status_code == 409 and "once it has ended" in early.json()["error"]
    for unknown in ("0" * 32, "no-id", "%00", "%ff"):
        assert (await instance.http.get(f"/api/jobs/{unknown}/receipt")).status_code == 404
    await instance.pay(made["evalInvoice"])
    await instance.until(made["jobId"], "rejected")
    _, said = await receipt_of(instance, made["jobId"])
    assert said["state"] == "rejected" and said["refunds"] == []
    assert said["paidMsat"] == said["chargedMsat"] == said["evalFeeMsat"]
    assert not {"quote", "charge", "usage", "resultSha256"} & said.keys()
    failed = await instance.to_end("BREAK-WORK")
    _, said = await receipt_of(instance, failed["jobId"])
    assert said["state"] == "failed" and said["chargedMsat"] == said["evalFeeMsat"]
    assert said["refundedMsat"] == said["quote"]["totalMsat"]


async def test_anybody_can_check_a_receipt_with_the_standards_alone(instance: Instance) -> None:
    """RFC 7515 and 8037 by hand: the key of the header's kid signed header and payload."""
    job = await instance.to_end("hello")
    served = (await instance.http.get(f"/api/jobs/{job['jobId']}/receipt")).json()
    [key] = (await instance.http.get("/.well-known/jwks.json")).json()["keys"]

    def raw(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    header, body, signature = served["receipt"].split(".")
    assert json.loads(raw(header)) == {
        "alg": "Ed25519",
        "kid": key["kid"],
        "typ": "boltwork-receipt+jws",
    }
    assert json.loads(raw(body)) == served["payload"]
    named = {"crv": key["crv"], "kty": key["kty"], "x": key["x"]}
    thumb = hashlib.sha256(json.dumps(named, separators=(",", ":")).encode()).digest()
    assert raw(key["kid"]) == thumb
    signer = Ed25519PublicKey.from_public_bytes(raw(key["x"]))
    signer.verify(raw(signature), f"{header}.{body}".encode())
    with pytest.raises(InvalidSignature):
        signer.verify(raw(signature), f"{header}.{body}x".encode())


async def test_one_changed_bit_anywhere_says_no(instance: Instance) -> None:
    """A bit of each byte of a served receipt, another one each time: it is not genuine."""
    job = await instance.to_end("hello")
    served, _ = await receipt_of(instance, job["jobId"])
    keys = keys_in((await instance.http.get("/.well-known/jwks.json")).json())

    def genuine() -> list[tuple[int, int]]:
        taken = []
        for place in range(len(served)):
            bit = place * 3 % 8  # all eight in any eight bytes
            changed = bytearray(served)
            changed[place] ^= 1 << bit
            taken += [(place, bit)] if says_yes(bytes(changed), keys) else []
        return taken

    assert says_yes(served, keys)
    assert await asyncio.to_thread(genuine) == []
    assert not any(says_yes(served[:cut], keys) for cut in range(len(served)))


def says_yes(document: bytes, keys: list[ReceiptKey]) -> bool:
    """Say whether a document passes as genuine."""
    try:
        check(document, keys)
    except NotGenuine:
        return False
    return True


def test_one_changed_character_of_the_signed_text_says_no() -> None:
    """Every place of a compact JWS, with every other byte: also the last, whose bits are spare."""
    compact = sign({"receiptVersion": 1}, KEY).encode()
    assert says_yes(compact, KEYS) and says_yes(compact + b"\n", KEYS)
    for place in range(len(compact)):
        for byte in set(range(256)) - {compact[place]}:
            changed = compact[:place] + bytes([byte]) + compact[place + 1 :]
            assert not says_yes(changed, KEYS), (place, byte)


@settings(max_examples=300)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_junk_is_not_genuine(junk: bytes) -> None:
    """Whatever it is, the answer is no, and no other exception."""
    assert not says_yes(junk, KEYS)
    assert not says_yes(b'{"receipt": "' + junk + b'", "payload": {}}', KEYS)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=200)
@given(st.dictionaries(st.text(max_size=5), json_values, max_size=5))
def test_whatever_is_signed_is_read_back(payload: dict[str, Any]) -> None:
    """A payload comes back as it was signed, also through a file that was written anew."""
    compact = sign(payload, KEY)
    assert verify(compact, KEYS) == payload
    pretty = json.dumps({"payload": payload, "receipt": compact}, indent=2).encode()
    assert check(pretty, KEYS) == payload


@pytest.mark.parametrize(
    "shown", [{"a": 1.0}, {"a": True}, {"a": "1"}, {"a": 1, "b": 2}, {}, None, [1], {"a": [1]}]
)
def test_what_a_file_shows_must_be_what_was_signed(shown: Any) -> None:
    """A payload that only looks like the signed one is refused, and so is a missing one."""
    compact = sign({"a": 1}, KEY)
    assert says_yes(json.dumps({"receipt": compact, "payload": {"a": 1}}).encode(), KEYS)
    with pytest.raises(NotGenuine, match="not what was signed"):
        check(json.dumps({"receipt": compact, "payload": shown}).encode(), KEYS)
    for other in ({"receipt": compact}, {"receipt": compact, "payload": {"a": 1}, "more": 1}):
        assert not says_yes(json.dumps(other).encode(), KEYS)


def test_only_our_algorithm_and_type_are_taken() -> None:
    """A header that names another algorithm, none at all, or another document, is refused."""
    public = OctKey.import_key(KEY.public_key)  # what is public, used as a secret
    forged = jws.serialize_compact(
        {"alg": "HS256", "kid": KEY.kid, "typ": TYPE},
        b"{}",
        public,
        algorithms=["HS256"],
    )
    none = base64.urlsafe_b64encode(
        json.dumps({"alg": "none", "kid": KEY.kid, "typ": TYPE}).encode()
    ).rstrip(b"=")
    for text in (forged, f"{none.decode()}.e30."):
        with pytest.raises(NotGenuine):
            verify(text, KEYS)
    other = jws.serialize_compact(
        {"alg": "Ed25519", "kid": KEY.kid, "typ": "other"},
        b"{}",
        okp(KEY, KEY.private_key),
        algorithms=["Ed25519"],
    )
    with pytest.raises(NotGenuine, match="not a receipt"):
        verify(other, KEYS)


def test_another_key_of_the_same_name_is_refused() -> None:
    """A kid is a name and no proof; a key that is not given is said to be missing."""
    stranger = make_key()
    named = Key(KEY.kid, stranger.algorithm, stranger.public_key, stranger.private_key)
    with pytest.raises(NotGenuine, match="signature"):
        verify(sign({}, named), KEYS)
    with pytest.raises(NotGenuine, match="not among those given"):
        verify(sign({}, stranger), KEYS)


async def test_a_retired_key_still_checks_what_it_signed(instance: Instance) -> None:
    """After a rotation the new key signs, and the old one stays in the set."""
    job = await instance.to_end("hello")
    old, _ = await receipt_of(instance, job["jobId"])
    async with instance.built.db.reads.connection() as connection:
        await connection.execute("UPDATE signing_key SET retired_at = now()")
    new, _ = await receipt_of(instance, job["jobId"])
    jwks = (await instance.http.get("/.well-known/jwks.json")).json()
    assert len(jwks["keys"]) == 2
    assert says_yes(old, keys_in(jwks)) and says_yes(new, keys_in(jwks))
    newest = {"keys": jwks["keys"][:1]}
    assert says_yes(new, keys_in(newest)) and not says_yes(old, keys_in(newest))


async def test_two_processes_make_one_key(database_url: str) -> None:
    """Forty first needs at once over two pools: one key, and all of them find it."""
    pools = [Database(database_url), Database(database_url)]
    for db in pools:
        await db.open()

    async def need(db: Database) -> str:
        made = make_key()
        await db.run("test", lambda tx: signing_keys.offer(tx, made, datetime.now(UTC)))
        found = await signing_keys.active(db, ALGORITHM)
        assert found is not None
        return found.kid

    assert len(set(await asyncio.gather(*(need(pools[n % 2]) for n in range(40))))) == 1
    assert len(await signing_keys.public(pools[0])) == 1
    for db in pools:
        await db.close()


async def test_a_private_key_is_shown_to_nobody(server: ServerProcess) -> None:
    """It is in the database, closed, and in no answer, no representation, no line of the log."""
    server.environment["LOG_LEVEL"] = "debug"
    url = await asyncio.to_thread(server.start)
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE_S) as http:
        shown = (await http.get("/.well-known/jwks.json")).text
    database_url = running_url(server.folder)
    assert database_url is not None
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT * FROM signing_key").fetchone()
    assert row is not None
    kept = Key(*row[:4])
    key = signing.opened(kept, Seal([(server.folder / "secret").read_text().strip()]))
    assert len(key.private_key) == 43 and key.private_key not in kept.private_key
    await asyncio.to_thread(server.stop)
    for private in (key.private_key, kept.private_key):
        assert private not in server.log + shown + repr(key)
    assert KEY.private_key not in repr(KEY)


def test_a_set_with_other_keys_in_it_can_be_read() -> None:
    """Keys of other kinds, and what is no key at all, are passed over."""
    jwks = signing.jwk_set([PublicKey(KEY.kid, KEY.algorithm, KEY.public_key)])
    jwks["keys"] += [{"kty": "RSA", "kid": "r"}, {"kty": "OKP", "crv": "Ed25519"}, 7, None]
    assert keys_in(jwks) == KEYS
    assert keys_in({}) == keys_in({"keys": 7}) == []
