"""The npm package `macaroon` as a second maker: we take what it narrows, it takes what we make."""

from pathlib import Path

import pytest

from payments.macaroon import Invalid, mint, read
from payments.session_macaroon import LOCATION, verify
from tests.world.client_install import installed_clients
from tests.world.macaroon_fixtures import (
    HASH,
    NOW,
    RING,
    SESSION,
    WHOLE,
    accept,
    holds,
    narrowed,
    reason,
    text_of,
    token_of,
)
from tests.world.npm import npm


@pytest.fixture(scope="session")
def modules() -> Path:
    """The packages of npm, installed if they are not yet."""
    return installed_clients() / "node_modules"


def key_of(token: str) -> str:
    """Return the root key of one macaroon of ours, in hex."""
    shown = read(token)
    assert not isinstance(shown, Invalid)
    key = RING.derive(7, shown.identifier)
    assert key is not None
    return key.hex()


def test_what_npm_narrows_is_taken_with_its_limits(modules: Path) -> None:
    """A session's macaroon, whole or narrowed by us before; the text is what we would have made."""
    told = ["child=a", "max_sats=50", "budget_sats=500", "endpoints=request", "expires_at=900"]
    wide = ["tools=" + ",".join(["x" * 64] * 3)]  # long enough for a size of two bytes
    many = ["child=" + "x" * 24] * 32
    few, whole, again, long, full, bad = npm(
        modules,
        {"token": WHOLE, "add": told[1:3]},
        {"token": WHOLE, "add": told},
        {"token": narrowed(["tools=a"]), "add": ["tools=b"]},
        {"token": WHOLE, "add": wide},
        {"token": WHOLE, "add": many},
        {"token": WHOLE, "add": ["not=known"]},
    )
    assert whole == narrowed(told)
    grant = holds(whole).grant
    assert (grant.max_msat, grant.expires_at) == (50_000, 900)
    assert grant.endpoints == frozenset({"request"})
    assert grant.budgets[0].limit_msat == 500_000
    assert holds(again).grant.tools == frozenset()
    assert few == narrowed(told[1:3]) and long == narrowed(wide) and full == narrowed(many)
    assert "not known" in reason(bad)


def test_what_we_make_and_narrow_npm_verifies(modules: Path) -> None:
    """With the key, it sees every caveat in order; with another, or one bit turned, it refuses."""
    told = ["child=a", "budget_sats=500"]
    ours, offered = narrowed(told), token_of()
    other = "00" * 32
    seen, l402, wrong = npm(
        modules,
        {"token": ours, "verify": key_of(ours)},
        {"token": offered, "verify": key_of(offered)},
        {"token": ours, "verify": other},
    )
    assert seen == told
    assert l402 == ["services=boltwork:0", "boltwork_capabilities=ask"]
    assert "signature" in wrong


def test_a_macaroon_that_npm_makes_with_our_key_is_ours(modules: Path) -> None:
    """Bit for bit: the same key, place and identifier give the same text."""
    shown = read(WHOLE)
    assert not isinstance(shown, Invalid)
    make = {"key": key_of(WHOLE), "identifier": shown.identifier.hex(), "location": LOCATION}
    elsewhere = make | {"location": "https://other.example"}
    made, more, strange = npm(
        modules, {"make": make}, {"make": make, "add": ["max_sats=1"]}, {"make": elsewhere}
    )
    assert made == WHOLE and verify(made, RING) == holds(WHOLE)
    assert text_of(mint(LOCATION, shown.identifier, bytes.fromhex(make["key"]))) == WHOLE
    assert more == narrowed(["max_sats=1"]) and holds(more).session_id == SESSION
    assert reason(strange)


def test_an_l402_macaroon_survives_npm(modules: Path) -> None:
    """Imported and written anew in its base64, and narrowed in time."""
    until = int(NOW.timestamp()) + 5
    same, timed, over = npm(
        modules,
        {"token": token_of()},
        {"token": token_of(), "add": [f"boltwork_valid_until={until}"]},
        {"token": token_of(), "add": [f"boltwork_valid_until={until - 5}"]},
    )
    shown = read(same)
    assert not isinstance(shown, Invalid) and shown == read(token_of())
    for token in (same, timed):
        assert getattr(accept(token), "payment_hash", None) == HASH
    assert "boltwork_valid_until" in getattr(accept(over), "reason", "")
