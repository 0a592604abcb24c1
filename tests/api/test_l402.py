"""L402: the header in the shape that every client reads, and what it takes to have paid."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pymacaroons
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from payments.challenge import BadProof, Proof
from payments.key_ring import KeyRing
from payments.l402 import L402, LOCATION
from payments.macaroon import Invalid, chain, mint, narrow, read, standard
from payments.session_macaroon import verify
from tests.world.macaroon_fixtures import (
    CHALLENGE,
    HASH,
    NOW,
    OFFER,
    PREIMAGE,
    RING,
    WHOLE,
    accept,
    raw,
    ring_of,
    shown,
    text_of,
    token_of,
    written,
)

SECONDS = int(NOW.timestamp())


def with_caveats(caveats: Sequence[str]) -> str:
    """Return the offered macaroon, narrowed by its holder."""
    smaller = narrow(token_of(), caveats)
    assert isinstance(smaller, str)
    return smaller


def refused(found: object) -> str:
    """Return why something is no proof."""
    assert isinstance(found, BadProof), found
    return found.reason


def test_the_header_is_in_the_one_shape_that_every_client_reads() -> None:
    """`macaroon`, `invoice`, `version`, `token`, in this order; standard base64 with padding."""
    [(name, line)] = CHALLENGE.offer(OFFER)
    token = token_of()
    assert name == "WWW-Authenticate"
    assert line == (
        f'L402 macaroon="{token}", invoice="{OFFER.bolt11}", version="0", token="{token}"'
    )
    assert base64.b64encode(base64.b64decode(token, validate=True)).decode() == token
    assert len(token) % 4 == 0


def test_the_macaroon_is_as_the_specification_has_it() -> None:
    """Version, payment hash and token id in 66 bytes; place `lsat`; two caveats, without spaces."""
    made = pymacaroons.Macaroon.deserialize(token_of())
    identifier = made.identifier_bytes
    assert made.location == LOCATION == "lsat" and len(identifier) == 66
    assert identifier == b"\0\0" + bytes.fromhex(HASH) + b"\0\0\0\7" + b"\7" * 28
    assert [caveat.caveat_id_bytes for caveat in made.caveats] == [
        b"services=boltwork:0",
        b"boltwork_capabilities=ask",
    ]
    assert base64.b64decode(token_of())[0] == 2
    others = {L402(RING, lambda: NOW).offer(OFFER)[0][1] for _ in range(20)}
    assert len(others) == 20


@pytest.mark.parametrize("scheme", ["L402", "LSAT", "l402", "Lsat"])
def test_a_macaroon_with_its_preimage_is_a_proof(scheme: str) -> None:
    """Under both names of the scheme, in any case, in either base64; the hash is what it proves."""
    proof = Proof("L402", HASH, frozenset({"ask"}))
    token = token_of()
    urlsafe = token.translate(str.maketrans("+/", "-_")).rstrip("=")
    for same in (token, urlsafe, token.rstrip("=")):
        assert accept(same, scheme=scheme) == proof
    assert accept(token, PREIMAGE.hex().upper(), scheme) == proof
    assert CHALLENGE.accept({"Authorization": f"{scheme}  {token}:{PREIMAGE.hex()} "}) == proof
    assert proof.is_for("ask") and not proof.is_for("other")


def test_headers_of_other_schemes_are_for_others() -> None:
    """No Authorization, or that of another scheme, is neither a proof nor a bad one."""
    for headers in (
        {},
        {"authorization": f"Bearer {WHOLE}"},
        {"authorization": "Payment eyJ9"},
        {"authorization": f"L402x {token_of()}:{PREIMAGE.hex()}"},
        {"authorization": ""},
        {"x-other": f"L402 {token_of()}:{PREIMAGE.hex()}"},
    ):
        assert CHALLENGE.accept(headers) is None


def test_a_preimage_alone_proves_nothing() -> None:
    """It may be known to others: it takes the macaroon that commits to its hash."""
    assert "colon" in refused(CHALLENGE.accept({"authorization": f"L402 {PREIMAGE.hex()}"}))
    assert refused(accept("", PREIMAGE.hex()))
    other = bytes(32)
    assert "preimage" in refused(accept(token_of(), other.hex()))
    elsewhere = token_of(replace(OFFER, payment_hash="ab" * 32))
    assert "preimage" in refused(accept(elsewhere))
    for wrong in (PREIMAGE.hex()[:-2], PREIMAGE.hex() + "00", "x" * 64, "", "g" + "0" * 63):
        assert refused(accept(token_of(), wrong))


def test_one_turned_bit_is_no_proof() -> None:
    """Each bit of the macaroon and of the preimage."""
    data = raw(token_of())
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            assert refused(accept(standard(bytes(changed)))), (place, bit)
    for place in range(32):
        for bit in range(8):
            turned = bytearray(PREIMAGE)
            turned[place] ^= 1 << bit
            assert "preimage" in refused(accept(token_of(), turned.hex()))


def test_caveats_of_others_are_skipped() -> None:
    """As the specification demands: a holder may add them for other applications."""
    others = [
        "time < 2030",
        "x",
        "",
        "loop_out_monthly_volume_sats=5",
        "child=a",
        "other=services=",
    ]
    assert accept(with_caveats(others)) == Proof("L402", HASH, frozenset({"ask"}))


@pytest.mark.parametrize(
    "caveats",
    [
        ["services=boltwork:0"],
        ["boltwork_capabilities=ask"],
        [f"expires_at={SECONDS + 1}"],
        [f"boltwork_valid_until={SECONDS + 9}", f"boltwork_valid_until={SECONDS + 1}"],
        [f"preimage={PREIMAGE.hex()}"],
    ],
)
def test_caveats_of_ours_that_hold_leave_the_proof_as_it_is(caveats: list[str]) -> None:
    """Narrowed to the same, or to a time that has not come yet."""
    assert accept(with_caveats(caveats)) == Proof("L402", HASH, frozenset({"ask"}))


@pytest.mark.parametrize(
    ("caveats", "named"),
    [
        (["services=other:0"], "services"),
        (["services="], "services"),
        (["services=boltwork:0,other:0"], "services"),
        (["services=boltwork:1"], "services"),
        (["boltwork_capabilities=ask,more"], "boltwork_capabilities"),
        (["boltwork_capabilities=more"], "boltwork_capabilities"),
        ([f"expires_at={SECONDS}"], "expires_at"),
        (["expires_at=never"], "expires_at"),
        (["expires_at="], "expires_at"),
        ([f"boltwork_valid_until={SECONDS - 1}"], "boltwork_valid_until"),
        (
            [f"boltwork_valid_until={SECONDS + 1}", f"boltwork_valid_until={SECONDS + 9}"],
            "boltwork_valid_until",
        ),
        ([f"preimage={'00' * 32}"], "preimage"),
        (["preimage="], "preimage"),
        (["preimage=ä"], "preimage"),
        (["max_sats=5"], "max_sats"),
        (["budget_sats=5"], "budget_sats"),
        (["tools=web"], "tools"),
        (["endpoints=ask"], "endpoints"),
    ],
)
def test_caveats_of_ours_that_do_not_hold_are_named(caveats: list[str], named: str) -> None:
    """Over, wider than before, for others, or of a kind that one purchase can't be narrowed by."""
    assert named in refused(accept(with_caveats(caveats)))


def test_time_passes_for_a_narrowed_proof() -> None:
    """The clock is looked at when the proof is shown."""
    now = [NOW]
    challenge = L402(RING, lambda: now[0])
    token = with_caveats([f"expires_at={SECONDS + 60}"])
    headers = {"authorization": f"L402 {token}:{PREIMAGE.hex()}"}
    assert isinstance(challenge.accept(headers), Proof)
    now[0] += timedelta(seconds=60)
    assert "expires_at" in refused(challenge.accept(headers))


def test_of_several_tokens_the_first_that_holds_is_taken() -> None:
    """The specification lists them with commas; too many are refused."""
    token = token_of()
    assert isinstance(accept(f"{WHOLE},{token}"), Proof)
    assert isinstance(accept(f"{token},junk"), Proof)
    assert "not an L402" in refused(accept(f"{WHOLE},junk"))
    assert "more than 4" in refused(accept(",".join([token] * 5)))


def lines(*values: str, name: str = "authorization") -> Headers:
    """Return headers of these values, a line each."""
    return Headers(raw=[(name.encode(), value.encode("latin-1")) for value in values])


def test_one_proof_under_two_names_is_one() -> None:
    """Clients send it as LSAT and as L402, and proxies join the two lines by a comma; two that
    differ are none. What another scheme holds beside it is not for us.
    """
    token, preimage = token_of(), PREIMAGE.hex()
    proof = Proof("L402", HASH, frozenset({"ask"}))
    lsat, l402 = f"LSAT {token}:{preimage}", f"L402 {token}:{preimage}"
    upper = f"l402 {token}:{preimage.upper()}"
    for values in (
        (lsat, l402),
        (l402, lsat),
        (f"{lsat}, {l402}",),
        (f"{lsat},{l402},",),
        (l402, l402, upper),
        ("Basic dXNlcjpwYXNz", l402),
        (f"Basic dXNlcjpwYXNz, {l402}",),
        (l402, 'Digest realm="x", nonce="y"'),
    ):
        assert CHALLENGE.accept(lines(*values)) == proof, values
    other = f"L402 {token_of(replace(OFFER, payment_hash='ab' * 32))}:{preimage}"
    for values in ((l402, other), (f"{l402}, {other}",), (l402, f"LSAT {token}:{'0' * 64}")):
        assert "differ" in refused(CHALLENGE.accept(lines(*values)))


def test_a_proof_is_read_however_it_is_written() -> None:
    """With quotes, a tab behind the scheme, spaces at its commas and its colon, or in hex."""
    token, preimage = token_of(), PREIMAGE.hex()
    for credential in (
        f'"{token}:{preimage}"',
        f'"{token}":"{preimage}"',
        f"{token} : {preimage}",
        f"\t{token}:{preimage}",
        f"{WHOLE}, {token}:{preimage}",
        f"{raw(token).hex()}:{preimage}",
        f"{raw(token).hex().upper()}:{preimage}",
    ):
        for scheme in ("L402 ", "LSAT\t"):
            found = CHALLENGE.accept(lines(f"{scheme}{credential}"))
            assert found == Proof("L402", HASH, frozenset({"ask"})), credential


def test_a_proof_may_have_a_header_of_its_own() -> None:
    """In `Payment-Authorization`, while `Authorization` is taken: what stands there is not ours."""
    proof = f"L402 {token_of()}:{PREIMAGE.hex()}"
    for taken in ("Basic dXNlcjpwYXNz", "Bearer eyJhbGciOi", f"L402 {token_of()}:{'0' * 64}"):
        headers = {"Authorization": taken, "Payment-Authorization": proof}
        assert isinstance(CHALLENGE.accept(headers), Proof)


def test_a_key_that_is_not_on_the_ring_is_named() -> None:
    """So that it can be looked for; one that signs otherwise is a forgery."""
    header = {"authorization": f"L402 {token_of()}:{PREIMAGE.hex()}"}
    missing = L402(ring_of(8), lambda: NOW).accept(header)
    assert isinstance(missing, BadProof) and missing.missing_key == 7
    assert isinstance(L402(ring_of(7, 8), lambda: NOW).accept(header), Proof)
    other = KeyRing()
    other.hold({7: bytes(32)}, 7, keep=frozenset({7}))
    forged = L402(other, lambda: NOW).accept(header)
    assert isinstance(forged, BadProof) and forged.missing_key is None
    with pytest.raises(LookupError):
        L402(KeyRing(), lambda: NOW).offer(OFFER)


def test_neither_kind_of_macaroon_passes_for_the_other() -> None:
    """One root key signs both, and each identifier has a key of its own."""
    assert "not an L402" in refused(accept(WHOLE))
    assert isinstance(verify(token_of(), RING), Invalid)
    session = read(WHOLE)
    assert not isinstance(session, Invalid)
    key = RING.derive(7, session.identifier)
    assert key is not None
    assert refused(accept(standard(mint(LOCATION, session.identifier, key))))


def test_other_identifiers_are_refused() -> None:
    """Another version, or another length, though the signature is right."""
    offered = read(token_of())
    assert not isinstance(offered, Invalid)
    for identifier in (b"\0\1" + offered.identifier[2:], offered.identifier[:-1], b""):
        key = RING.derive(7, identifier)
        assert key is not None
        assert "L402" in refused(accept(standard(mint(LOCATION, identifier, key))))


def test_a_forged_caveat_list_is_refused() -> None:
    """Dropping what narrows it, with the signature of the whole, does not hold."""
    offered = read(token_of())
    assert not isinstance(offered, Invalid)
    for caveats in ([], [b"services=boltwork:0"], offered.caveats[::-1]):
        forged = written(b"lsat", offered.identifier, caveats, offered.signature)
        assert "signature" in refused(accept(text_of(forged)))
    key = RING.derive(7, offered.identifier)
    assert key is not None
    free = chain(key, offered.identifier, [])[-1]
    proof = accept(text_of(written(b"lsat", offered.identifier, [], free)))
    assert proof == Proof("L402", HASH, None)  # only who has the key can make that


@pytest.mark.parametrize("resource", ["", "a,b", "a=b", "a b", 'a"b', "x" * 201, "a\n"])
def test_a_resource_that_would_not_stay_one_is_a_fault_of_ours(resource: str) -> None:
    """Names that would split, or break out of the header, are never offered."""
    with pytest.raises(ValueError, match="resource"):
        CHALLENGE.offer(replace(OFFER, resource=resource))


@shown(500)
@given(st.text(max_size=200), st.sampled_from([":", "", " ", ","]), st.text(max_size=70))
@example("", ":", "")
@example("A" * 5000, ":", "0" * 64)
@example("\ud800", ":", "0" * 64)
def test_junk_is_no_proof_and_raises_nothing(token: str, between: str, rest: str) -> None:
    """Whatever stands behind the scheme, the answer is a reason."""
    for scheme in ("L402 ", "lsat ", "LSAT\t"):
        found = CHALLENGE.accept({"authorization": f"{scheme}{token}{between}{rest}"})
        assert found is None or refused(found)
    assert refused(CHALLENGE.accept({"authorization": "L402"}))
    assert refused(CHALLENGE.accept({"authorization": f"L402 {token}{between}{rest}"}))
