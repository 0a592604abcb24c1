"""MPP: the challenge in the draft's shape, and a credential that holds only as it was made."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from payments.challenge import BadProof, Offer, Problem, Proof
from payments.key_ring import KeyRing
from payments.mpp import MOST_CHARS, Mpp, content_digest, is_preferred
from pricing.money import Msat
from tests.world.macaroon_fixtures import HASH, NOW, OFFER, PREIMAGE, RING, ring_of, shown
from tests.world.paying import credential, decoded, encoded, payment_in

BEFORE = NOW - timedelta(minutes=5)
MPP = Mpp(RING, lambda: BEFORE)
BODY = b'{"request":"hello"}'
WITH_BODY = replace(OFFER, digest=content_digest(BODY))
OWN = replace(OFFER, in_own_header=True)
RIGHT = {"preimage": PREIMAGE.hex()}


def challenge_of(offer: Offer = OFFER, mpp: Mpp = MPP) -> dict[str, str]:
    """Return the parameters of an offer, as a client reads them."""
    [(name, line)] = mpp.offer(offer)
    assert name == "WWW-Authenticate"
    return payment_in(line)


def accept(text: str, header: str = "Authorization", mpp: Mpp = MPP) -> object:
    """Return what a credential proves."""
    return mpp.accept({header: f"Payment {text}"})


def show(challenge: Mapping[str, Any], payload: Any = RIGHT, **more: Any) -> object:
    """Return what a challenge proves together with a payload."""
    return accept(encoded({"challenge": challenge, "payload": payload, **more}))


def refused(found: object) -> Problem:
    """Return the problem for which something is no proof; there is a reason too."""
    assert isinstance(found, BadProof) and found.reason.endswith("."), found
    assert found.problem is not None
    return found.problem


def test_the_challenge_is_in_the_shape_of_the_draft() -> None:
    """Its parameters in quotes; the request is canonical JSON in base64url without padding."""
    [(_, line)] = MPP.offer(WITH_BODY)
    names = re.findall(r'(?:^Payment |, )(\w+)="[^"]*"', line)
    assert names == [
        "id", "realm", "method", "intent", "request", "description", "digest", "expires",
    ]  # fmt: skip
    told = challenge_of(WITH_BODY)
    assert (told["realm"], told["method"], told["intent"]) == (OFFER.realm, "lightning", "charge")
    assert told["expires"] == "2026-06-01T00:00:00Z" and told["description"] == "One job"
    digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    assert told["digest"] == f"sha-256=:{digest}:"
    request = {
        "amount": "21",
        "currency": "sat",
        "externalId": OFFER.reference,
        "methodDetails": {"invoice": OFFER.bolt11, "network": "mainnet", "paymentHash": HASH},
    }
    assert decoded(told["request"]) == request
    canonical = json.dumps(request, sort_keys=True, separators=(",", ":")).encode()
    assert told["request"] == base64.urlsafe_b64encode(canonical).decode().rstrip("=")
    assert "digest" not in challenge_of() and "header" not in challenge_of()
    assert challenge_of(OWN)["header"] == "Payment-Authorization"


@pytest.mark.parametrize(
    ("start", "network"),
    [("lnbc", "mainnet"), ("lnbcrt", "regtest"), ("lntbs", "signet"), ("lntb", "testnet")],
)
def test_the_network_is_that_of_the_invoice(start: str, network: str) -> None:
    """Whatever its amount is written as; of one that has no name nothing is told."""
    for amount in ("", "210n", "1m", "25u", "10p"):
        told = challenge_of(replace(OFFER, bolt11=f"{start}{amount}1pjexample"))
        assert decoded(told["request"])["methodDetails"]["network"] == network
    other = challenge_of(replace(OFFER, bolt11="lnxx1pjexample"))
    assert "network" not in decoded(other["request"])["methodDetails"]


def test_the_id_is_the_mac_of_the_draft() -> None:
    """Over its slots, joined by bars, with a key of a root key; its number goes before."""
    for offer in (OFFER, WITH_BODY, OWN):
        told = challenge_of(offer)
        slots = [told[name] for name in ("realm", "method", "intent", "request", "expires")]
        slots += [told.get("digest", ""), "", *filter(None, [told.get("header")])]
        key = RING.derive(7, b"ids of payment challenges")
        assert key is not None
        mac = hmac.digest(key, "|".join(slots).encode(), "sha256")
        assert base64.urlsafe_b64decode(told["id"]) == b"\0\0\0\7" + mac


def test_a_challenge_with_its_preimage_is_a_proof() -> None:
    """Its hash, what it bought, the body that it is for, and its id for the receipt."""
    proof = Proof("Payment", HASH, reference=OFFER.reference, challenge_id=challenge_of()["id"])
    text = credential(challenge_of(), PREIMAGE.hex())
    for same in (text, text + "=" * (-len(text) % 4)):
        for scheme in ("Payment", "payment", "PAYMENT"):
            assert MPP.accept({"Authorization": f"{scheme} {same}"}) == proof
    assert show(challenge_of(), source="did:key:z6Mk", other=1) == proof
    assert show({**challenge_of(), "more": ["of", "others"]}, {**RIGHT, "more": 1}) == proof
    told = challenge_of()
    del told["description"]
    assert show(told) == proof
    with_body = show(challenge_of(WITH_BODY))
    assert isinstance(with_body, Proof) and with_body.digest == WITH_BODY.digest


def test_headers_of_other_schemes_are_for_others() -> None:
    """No Authorization, or that of another scheme, is neither a proof nor a bad one."""
    text = credential(challenge_of(), PREIMAGE.hex())
    for headers in ({}, {"authorization": "L402 a:b"}, {"authorization": f"Paymentx {text}"}):
        assert MPP.accept(headers) is None
    lines = Headers(raw=[(b"authorization", f"Payment {each}".encode()) for each in (text, text)])
    assert isinstance(MPP.accept(lines), Proof)
    joined = {"authorization": f"Basic dXNlcjpwYXNz, Payment {text}, Payment {text}"}
    assert isinstance(MPP.accept(joined), Proof)
    two = {"authorization": f"Payment {text}, Payment {credential(challenge_of(), '0' * 64)}"}
    assert refused(MPP.accept(two)) is Problem.MALFORMED_CREDENTIAL


@pytest.mark.parametrize("offer", [OFFER, WITH_BODY, OWN], ids=["plain", "body", "own header"])
def test_one_changed_byte_is_no_proof(offer: Offer) -> None:
    """Wherever in the credential: each character of its text, and each byte that it holds."""
    header = "Payment-Authorization" if offer.in_own_header else "Authorization"
    told = challenge_of(offer)
    del told["description"]  # the draft leaves it out of what is bound
    text = credential(told, PREIMAGE.hex())
    assert isinstance(accept(text, header), Proof)
    for place in range(len(text)):
        for other in "AQgw_":
            if text[place] != other:
                changed = text[:place] + other + text[place + 1 :]
                assert refused(accept(changed, header)), (place, other)
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    for place in range(len(data)):
        for bit in (1, 2, 16, 32):
            turned = bytearray(data)
            turned[place] ^= bit
            changed = base64.urlsafe_b64encode(turned).decode().rstrip("=")
            assert refused(accept(changed, header)), (place, bit)


@pytest.mark.parametrize(
    "change",
    [
        {"realm": "elsewhere.example"},
        {"expires": "2036-06-01T00:00:00Z"},
        {"expires": ""},
        {"digest": content_digest(b"another")},
        {"opaque": "e30"},
        {"header": "Payment-Authorization"},
        {"id": "A" * 48},
        {"id": "short"},
    ],
)
def test_what_was_not_offered_is_an_invalid_challenge(change: dict[str, str]) -> None:
    """Changed, left out, or added."""
    assert refused(show(challenge_of() | change)) is Problem.INVALID_CHALLENGE
    assert refused(show(challenge_of(WITH_BODY) | change)) is Problem.INVALID_CHALLENGE


def test_a_request_of_another_offer_does_not_pass() -> None:
    """A cheaper one, another payment, another thing that is bought: each has its own id."""
    for other in (
        replace(OFFER, amount_msat=Msat(1_000)),
        replace(OFFER, payment_hash="ab" * 32),
        replace(OFFER, reference="cd" * 16),
        replace(OFFER, bolt11="lnbc1pjother"),
    ):
        mixed = challenge_of() | {"request": challenge_of(other)["request"]}
        assert refused(show(mixed)) is Problem.INVALID_CHALLENGE
        assert challenge_of(other)["id"] != challenge_of()["id"]


def test_parts_can_not_be_moved_from_one_slot_to_the_next() -> None:
    """What holds the bar that joins them is refused, wherever it stands."""
    told = challenge_of()
    moved = told | {"request": f"{told['request']}|{told['expires']}", "expires": ""}
    assert refused(show(moved)) is Problem.MALFORMED_CREDENTIAL


def test_a_preimage_alone_proves_nothing() -> None:
    """Nor does one of another payment, or one that is not written as the draft has it."""
    told = challenge_of()
    assert refused(show(told, {"preimage": "00" * 32})) is Problem.VERIFICATION_FAILED
    for wrong in (PREIMAGE.hex().upper(), PREIMAGE.hex()[:-2], f"0x{PREIMAGE.hex()}", 5, None, ""):
        assert refused(show(told, {"preimage": wrong})) is Problem.MALFORMED_CREDENTIAL
    assert refused(show({}, RIGHT)) is Problem.MALFORMED_CREDENTIAL


def test_a_credential_comes_in_the_header_that_its_challenge_names() -> None:
    """In the other one it is not taken; it is still good in the right one."""
    own, plain = (credential(challenge_of(offer), PREIMAGE.hex()) for offer in (OWN, OFFER))
    assert isinstance(accept(own, "Payment-Authorization"), Proof)
    assert refused(accept(own)) is Problem.MALFORMED_CREDENTIAL
    assert refused(accept(plain, "Payment-Authorization")) is Problem.MALFORMED_CREDENTIAL
    both = {"Authorization": "Bearer of-the-proxy", "Payment-Authorization": f"Payment {own}"}
    assert isinstance(MPP.accept(both), Proof)


def test_other_methods_and_intents_are_not_taken() -> None:
    """Whatever their payload is."""
    for other in ({"method": "tempo"}, {"intent": "session"}, {"method": "stripe", "id": "x"}):
        found = show(challenge_of() | other)
        assert refused(found) is Problem.METHOD_UNSUPPORTED


def test_the_time_of_an_offer_passes() -> None:
    """The clock is looked at when the proof is shown; what that means is for who looks it up."""
    text, now = credential(challenge_of(), PREIMAGE.hex()), [NOW - timedelta(seconds=1)]
    late = Mpp(RING, lambda: now[0])
    first = accept(text, mpp=late)
    assert isinstance(first, Proof) and not first.is_over
    now[0] = NOW
    second = accept(text, mpp=late)
    assert isinstance(second, Proof) and second.is_over


def test_a_key_that_is_not_on_the_ring_is_named() -> None:
    """So that it can be looked for; one that signs otherwise is a forgery."""
    text = credential(challenge_of(), PREIMAGE.hex())
    missing = accept(text, mpp=Mpp(ring_of(8), lambda: BEFORE))
    assert isinstance(missing, BadProof) and missing.missing_key == 7
    assert isinstance(accept(text, mpp=Mpp(ring_of(7, 8), lambda: BEFORE)), Proof)
    other = KeyRing()
    other.hold({7: bytes(32)}, 7, keep=frozenset({7}))
    forged = accept(text, mpp=Mpp(other, lambda: BEFORE))
    assert isinstance(forged, BadProof) and forged.missing_key is None
    with pytest.raises(LookupError):
        Mpp(KeyRing(), lambda: NOW).offer(OFFER)


@pytest.mark.parametrize(
    "change",
    [
        {"realm": 'a"b'},
        {"realm": "a|b"},
        {"realm": ""},
        {"description": 'a "b"'},
        {"description": "a\r\nb"},
        {"description": "a\\b"},
    ],
)
def test_what_would_break_out_of_the_header_is_a_fault_of_ours(change: dict[str, Any]) -> None:
    """It is never offered."""
    with pytest.raises(ValueError, match="realm"):
        MPP.offer(replace(OFFER, **change))


def test_a_receipt_names_the_payment_and_not_its_preimage() -> None:
    """As the draft has it; and no shared cache may keep the answer that it stands on."""
    proof = accept(credential(challenge_of(), PREIMAGE.hex()))
    assert isinstance(proof, Proof)
    told = dict(MPP.receipt(proof, BEFORE))
    assert decoded(told["Payment-Receipt"]) == {
        "challengeId": challenge_of()["id"],
        "method": "lightning",
        "reference": HASH,
        "status": "success",
        "timestamp": "2026-05-31T23:55:00Z",
    }
    assert "private" in told["Cache-Control"] and "=" not in told["Payment-Receipt"]


@pytest.mark.parametrize(
    ("header", "is_so"),
    [
        ("lightning/charge", True),
        ("lightning/charge;q=0.1, tempo/charge", True),
        ("tempo/*, */charge ; q=0.5", True),
        ("*/*", True),
        ("lightning/*", True),
        ("", False),
        ("tempo/charge", False),
        ("lightning/session", False),
        ("lightning/charge;q=0", False),
        ("*/*, lightning/charge;q=0.000", False),
        ("lightning/*;q=0, */charge", False),
        ("lightning/*;q=0, lightning/charge;q=0.001", True),
        ("lightning/charge;q=2", False),
        ("lightning/charge;q=0.5;x=1", False),
        ("lightning", False),
        ("lightning/charge junk", False),
        (",lightning/charge,,", True),
    ],
)
def test_accept_payment_is_weighed(header: str, is_so: bool) -> None:
    """The most specific range counts; zero is a no; what can't be read is passed over."""
    assert is_preferred(header) is is_so


words = st.text(max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@shown(300)
@given(st.text(max_size=200))
@example("")
@example("A" * (MOST_CHARS + 1))
@example(encoded({"challenge": {}, "payload": {}}))
@example(base64.urlsafe_b64encode(b"[" * 9_000).decode())
@example(base64.urlsafe_b64encode(b'{"challenge":{"id":1e999},"payload":{}}').decode())
@example(base64.urlsafe_b64encode(b"\xff\xfe{}").decode())
def test_junk_is_no_proof_and_raises_nothing(junk: str) -> None:
    """Whatever stands behind the scheme, the answer is a reason."""
    found = MPP.accept({"authorization": f"Payment {junk}"})
    assert found is None or refused(found)
    assert refused(MPP.accept({"authorization": "Payment"})) is Problem.MALFORMED_CREDENTIAL


@shown(300)
@given(
    st.dictionaries(st.sampled_from([*challenge_of(OWN), "opaque"]), values | words, max_size=9),
    values | st.fixed_dictionaries({"preimage": values | st.just(PREIMAGE.hex())}),
)
def test_a_credential_of_any_json_is_refused(change: dict[str, Any], payload: Any) -> None:
    """Whatever types stand in the places of texts."""
    told = challenge_of()
    bound = {name: value for name, value in change.items() if name != "description"}
    if all(told.get(name, "") == value for name, value in bound.items()):
        return
    assert refused(show(told | change, payload))


@shown(200)
@given(
    st.from_regex(r"[a-z0-9.-]{1,40}", fullmatch=True),
    st.integers(1, 10**9),
    st.binary(min_size=32, max_size=32),
    st.sampled_from([None, content_digest(BODY)]),
    st.booleans(),
)
def test_whatever_is_offered_is_proven_by_its_preimage(
    realm: str, sats: int, preimage: bytes, digest: str | None, own: bool
) -> None:
    """And by nothing else: not by that of another."""
    payment_hash = hashlib.sha256(preimage).hexdigest()
    offer = replace(
        OFFER, realm=realm, amount_msat=Msat(sats * 1_000), payment_hash=payment_hash,
        digest=digest, in_own_header=own,
    )  # fmt: skip
    header = "Payment-Authorization" if own else "Authorization"
    proof = accept(credential(challenge_of(offer), preimage.hex()), header)
    assert isinstance(proof, Proof)
    assert (proof.payment_hash, proof.digest) == (payment_hash, digest)
    other = credential(challenge_of(offer), PREIMAGE.hex())
    assert preimage == PREIMAGE or refused(accept(other, header)) is Problem.VERIFICATION_FAILED
