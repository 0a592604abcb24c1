"""Root keys of a cell: credentials name them with the cell's own number in the first byte."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest

from payments.challenge import BadProof, Offer, Proof
from payments.key_ring import KeyRing
from payments.macaroon import Invalid
from payments.mpp import Mpp
from payments.session_macaroon import Verified, make, verify
from pricing.money import Msat
from tests.world.command import boltwork
from tests.world.macaroon_fixtures import HASH, NONCE, NOW, PREIMAGE, SESSION
from tests.world.paying import credential, payment_in

SECRET = bytes(32)
OFFER = Offer("ask", HASH, "lnbc1", Msat(1000), NOW, "", "localhost", "ab" * 16)


def ring_in(cell: int, key: bytes = SECRET) -> KeyRing:
    """Return a ring with one root key, the third."""
    ring = KeyRing(cell)
    ring.hold({3: key}, 3, frozenset({3}))
    return ring


def test_a_number_holds_the_cell_and_the_key() -> None:
    """It is the key's own without cells; each cell knows its own, and those of before."""
    assert ring_in(0).active == 3 and ring_in(0xB7).active == 0xB7000003
    ring = ring_in(0xB7)
    assert ring.numbers == frozenset({3})
    assert ring.own(0xB7000003) == ring.own(3) == 3 and ring.own(0x0A000003) is None
    assert ring.derive(0x0A000003, b"x") is None and ring.derive(0xB7000004, b"x") is None
    assert ring.derive(3, b"x") == ring_in(0).derive(3, b"x")
    assert ring.derive(0xB7000003, b"x") != ring.derive(3, b"x")


def test_a_macaroon_is_good_in_its_own_cell_alone() -> None:
    """Even where two cells had the same root key, one does not take what the other made."""
    made = make(ring_in(0xB7), SESSION, NONCE)
    assert isinstance(verify(made, ring_in(0xB7)), Verified)
    for other in (0, 0x0A):
        refused = verify(made, ring_in(other))
        assert isinstance(refused, Invalid) and refused.missing_key == 0xB7000003
    before = make(ring_in(0), SESSION, NONCE)
    assert isinstance(verify(before, ring_in(0xB7)), Verified)


def test_inspect_tells_the_cell_of_a_macaroon() -> None:
    """It is told beside the key's own number; without cells there is none to tell."""
    for cell, told in ((0xB7, "b7"), (0, None)):
        text = make(ring_in(cell), SESSION, NONCE)
        shown = json.loads(boltwork("macaroon", "inspect", "--json", text).stdout)
        assert (shown["rootKey"], shown.get("cell")) == (3, told)


@pytest.mark.parametrize("cell", [0x00, 0x0A, 0xFF])
def test_a_challenge_has_one_id(cell: int) -> None:
    """With another cell's number in its id, or with none, it proves nothing."""
    mpp = Mpp(ring_in(0xB7), lambda: NOW)
    [(_, line)] = mpp.offer(OFFER)
    told = payment_in(line)
    assert isinstance(mpp.accept(_shown(told)), Proof)
    raw = urlsafe_b64decode(told["id"])
    told["id"] = urlsafe_b64encode(bytes([cell]) + raw[1:]).decode()
    assert isinstance(mpp.accept(_shown(told)), BadProof)


def _shown(challenge: dict[str, str]) -> dict[str, str]:
    return {"Authorization": f"Payment {credential(challenge, PREIMAGE.hex())}"}
