"""Session macaroons: what we made, and what was narrowed from it, is taken, and nothing else."""

import base64
import hashlib
import json
import os
import pickle

import pymacaroons
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from payments.key_ring import KeyRing
from payments.macaroon import MOST_CAVEATS, Invalid, chain, mint, narrow, read, standard
from payments.session_macaroon import KIND, LOCATION, Verified, make, verify
from tests.world.macaroon_fixtures import (
    NONCE,
    RING,
    SESSION,
    WHOLE,
    caveats,
    field,
    holds,
    narrowed,
    raw,
    reason,
    ring_of,
    sequences,
    shown,
    text_of,
    written,
)


@shown(60)
@given(sequences)
@example([])
@example(["expires_at=5", "max_sats=5"])
def test_one_turned_bit_anywhere_is_refused(told: list[str]) -> None:
    """Each bit of the bytes, each cut of them, and anything behind them."""
    data = raw(narrowed(told))
    assert verify(text_of(data), RING) == holds(narrowed(told))
    for place in range(len(data)):
        assert reason(text_of(data[:place])), place
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            assert reason(text_of(bytes(changed))), (place, bit)
    for more in (b"\0", b"\1", data):
        assert reason(text_of(data + more))


def test_one_other_character_anywhere_is_refused() -> None:
    """Of the text too: its last character has spare bits, and other alphabets have look-alikes."""
    text = narrowed(["max_sats=5"])
    same = dict(zip("-_+/", "+/-_", strict=True))
    letters = [chr(code) for code in range(256)] + ["Ａ", "\u2028", "😀"]
    for place, letter in enumerate(text):
        for other in set(letters) - {letter, same.get(letter)}:
            changed = text[:place] + other + text[place + 1 :]
            assert reason(changed), (place, other)
        assert reason(text[:place])
        assert reason(text[:place] + " " + text[place:])


@shown(100)
@given(st.lists(caveats, min_size=1, max_size=6, unique=True), caveats, st.data())
def test_caveats_can_t_be_dropped_added_or_moved(
    told: list[str], stranger: str, data: st.DataObject
) -> None:
    """By anyone who has no key: any other list of caveats under a signature is refused."""
    shown = read(narrowed(told))
    assert not isinstance(shown, Invalid)
    held = list(shown.caveats)
    place = data.draw(st.integers(0, len(held) - 1))
    other_lists = [
        held[:place] + held[place + 1 :],
        [*held[:place], stranger.encode(), *held[place:]],
        [*held, stranger.encode()],
        data.draw(st.permutations(held)),
        held + held[place : place + 1],
        [],
    ]
    for caveats_ in other_lists:
        if list(caveats_) != held:
            forged = written(b"boltwork", shown.identifier, caveats_, shown.signature)
            assert "signature" in reason(text_of(forged))
    same = written(b"boltwork", shown.identifier, held, shown.signature)
    assert text_of(same) == narrowed(told)


def test_a_caveat_inserted_without_a_key_is_refused_where_the_library_takes_it() -> None:
    """pymacaroons' own check skips caveats that are not met: the reason why ours is another."""
    shown = read(WHOLE)
    assert not isinstance(shown, Invalid)
    forged = written(b"boltwork", shown.identifier, [b"endpoints=status"], shown.signature)
    key = RING.derive(7, shown.identifier)
    loose = pymacaroons.Macaroon.deserialize(text_of(forged))
    assert pymacaroons.Verifier().verify(loose, key) is True
    assert "signature" in reason(text_of(forged))


def test_both_alphabets_and_any_right_padding_are_read() -> None:
    """Standard and urlsafe, padded or not; wrong padding is refused."""
    for told in ([], ["max_sats=1"], ["max_sats=10"], ["max_sats=100"]):
        text = narrowed(told)
        data = raw(text)
        padded = base64.urlsafe_b64encode(data).decode()
        plain = base64.b64encode(data).decode()
        for same in (text, padded, plain, plain.rstrip("=")):
            assert verify(same, RING) == holds(text)
        for wrong in (padded + "=", "=" + padded, text + "===", plain + "\n", text + "===="):
            assert reason(wrong)


def test_a_third_party_s_caveat_is_refused() -> None:
    """It would need a discharge by somebody we don't know."""
    for more in ([], ["max_sats=5"]):
        made = pymacaroons.Macaroon.deserialize(narrowed(more))
        made.add_third_party_caveat("https://other.example", "their key", "their id")
        assert reason(made.serialize()) == "It can't be read as a macaroon."


def test_a_macaroon_for_something_else_is_refused() -> None:
    """Another place, kind, version, length of identifier, or format, signed with the right key."""
    right = read(WHOLE)
    assert not isinstance(right, Invalid)
    identifiers = [
        b"", b"x", right.identifier[:-1], right.identifier + b"\0",
        bytes([KIND + 1]) + right.identifier[1:], bytes(66),
    ]  # fmt: skip
    for identifier in identifiers:
        key = RING.derive(7, identifier)
        assert key is not None
        assert "session" in reason(text_of(mint(LOCATION, identifier, key)))
    key = RING.derive(7, right.identifier)
    assert key is not None and text_of(mint(LOCATION, right.identifier, key)) == WHOLE
    for location in ("", "lsat", "Boltwork", "boltwork/"):
        assert "session" in reason(text_of(mint(location, right.identifier, key)))
    old = pymacaroons.Macaroon(location=LOCATION, identifier="a", key=key)
    assert reason(old.serialize())
    assert reason(text_of(b"\3" + raw(WHOLE)[1:]))


def test_another_root_key_s_signature_is_refused() -> None:
    """A key that is not on the ring is named, so that it can be looked for; a wrong one is not."""
    assert verify(WHOLE, ring_of(7, 8)) == holds(WHOLE)
    missing = verify(WHOLE, ring_of(8))
    assert isinstance(missing, Invalid) and missing.missing_key == 7
    other = KeyRing()
    other.hold({7: bytes(32)}, 7, keep=frozenset({7}))
    forged = verify(WHOLE, other)
    assert isinstance(forged, Invalid) and forged.missing_key is None
    assert "signature" in forged.reason


@shown(500)
@given(st.binary(max_size=300) | st.text(max_size=300))
@example("")
@example("=")
@example("A")
@example("\0" * 10)
@example("A" * 4096)
@example("A" * 4097)
@example("\ud800")
@example(json.dumps({"v": 2, "i": "x", "s64": "x"}))
def test_junk_is_refused_and_raises_nothing(junk: bytes | str) -> None:
    """Bytes behind a right beginning, any text, and nothing at all."""
    text = junk if isinstance(junk, str) else text_of(junk)
    assert reason(text)
    assert isinstance(narrow(text, ["max_sats=1"]), Invalid)
    if isinstance(junk, bytes):
        for cut in (1, 12, 50, len(raw(WHOLE)) - 34):
            assert reason(text_of(raw(WHOLE)[:cut] + junk))


@pytest.mark.parametrize("size", [0xFF, 0x80, 0x7F, 0x02])
def test_sizes_that_lie_are_refused(size: int) -> None:
    """Longer than what follows, longer than need be, or without an end."""
    data = raw(WHOLE)
    assert reason(text_of(data[:2] + bytes([size]) + data[3:]))
    assert reason(text_of(data[:2] + bytes([size, 0x80]) + data[3:]))
    padded = data[:1] + b"\1" + bytes([8 | 0x80, 0]) + data[3:]
    assert reason(text_of(padded))
    assert reason(text_of(data[:-34] + field(6, data[-32:-1])))


def test_long_ones_are_refused_before_they_are_decoded() -> None:
    """More than 4 KiB of text, or more than 32 caveats; a holder can't make one by narrowing."""
    full = narrowed(["child=x"] * MOST_CAVEATS)
    assert len(holds(full).grant.links) == MOST_CAVEATS + 1
    for many in (["child=x"], ["child=" + "x" * 64] * 60):
        refused = narrow(full, many)
        assert isinstance(refused, Invalid)
    shown = read(full)
    assert not isinstance(shown, Invalid)
    more_caveats = [*shown.caveats, b"child=x"]
    signature = chain(RING.derive(7, shown.identifier) or b"", shown.identifier, more_caveats)[-1]
    more = text_of(written(b"boltwork", shown.identifier, more_caveats, signature))
    assert "32" in reason(more) and "4096" in reason("A" * 4097)
    long = "child=" + "x" * 64 + ",tools=" * 600
    assert "4096" in str(narrow(WHOLE, [long]))


def test_a_key_shows_nowhere() -> None:
    """A ring, a macaroon, and what was verified hide keys and signatures."""
    key = RING.derive(7, b"x")
    shown = read(WHOLE)
    assert not isinstance(shown, Invalid) and key is not None
    told = f"{RING} {RING!r} {shown} {holds(WHOLE)}"
    assert shown.signature.hex() not in told and repr(shown.signature)[2:-1] not in told
    assert str(RING) == "KeyRing(1 keys, active 7)"
    root = hashlib.sha256(bytes(range(32)) + bytes([7])).digest()
    assert root.hex() not in told and repr(root)[2:-1] not in told
    assert repr(root)[2:-1] not in repr(pickle.dumps(holds(WHOLE)))


def test_links_do_not_give_the_signature_away() -> None:
    """Who knows a link can name a credential; to use it takes the signature, whose hash it is."""
    key = RING.derive(7, read_identifier(WHOLE))
    assert key is not None
    signatures = chain(key, read_identifier(WHOLE), [b"max_sats=5"])
    links = holds(narrowed(["max_sats=5"])).grant.links
    assert links == tuple(hashlib.sha256(each).hexdigest() for each in signatures)


def read_identifier(text: str) -> bytes:
    """Return the identifier of a macaroon."""
    shown = read(text)
    assert not isinstance(shown, Invalid)
    return shown.identifier


def test_sessions_and_nonces_tell_credentials_apart() -> None:
    """Each pair has a signature of its own; ids of another length are a fault of ours."""
    texts = {make(RING, SESSION, os.urandom(16).hex()) for _ in range(50)}
    assert len(texts) == 50 and len({holds(text).nonce for text in texts}) == 50
    signatures = {raw(text)[-32:] for text in texts}
    assert len(signatures) == 50
    with pytest.raises(ValueError, match="16 bytes"):
        make(RING, SESSION, "00")
    with pytest.raises(LookupError):
        make(KeyRing(), SESSION, NONCE)


def test_the_library_reads_what_we_read() -> None:
    """pymacaroons sees the same identifier, caveats and signature, also in standard base64."""
    text = narrowed(["child=c", "budget_sats=5"])
    shown, theirs = read(text), pymacaroons.Macaroon.deserialize(text)
    assert not isinstance(shown, Invalid)
    assert theirs.identifier_bytes == shown.identifier and theirs.location == LOCATION
    assert [caveat.caveat_id_bytes for caveat in theirs.caveats] == list(shown.caveats)
    assert bytes.fromhex(theirs.signature) == shown.signature
    assert theirs.serialize() == text
    assert isinstance(verify(standard(raw(text)), RING), Verified)
