"""Key rings and credentials for tests: whole ones, narrowed ones, and their bytes to be broken."""

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st

from payments.challenge import Challenge, Offer
from payments.grant import ENDPOINTS
from payments.key_ring import KeyRing
from payments.l402 import L402
from payments.macaroon import Invalid, narrow
from payments.session_macaroon import Verified, make, verify
from pricing.money import Msat

ROOT_KEY = bytes(range(32))
SESSION, NONCE = "5e" * 16, "0f" * 16
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SOON = int(NOW.timestamp()) + 60


def ring_of(*numbers: int) -> KeyRing:
    """Return a ring with root keys of these numbers; the last one is active."""
    keys = {number: hashlib.sha256(ROOT_KEY + bytes([number])).digest() for number in numbers}
    ring = KeyRing()
    ring.hold(keys, max(numbers), keep=frozenset(numbers))
    return ring


TOOLS = ("web", "image", "code")

numbers = st.integers(0, 10**6)
some_of = st.lists(st.sampled_from(TOOLS), min_size=1, max_size=3)
caveats = st.one_of(
    numbers.map(lambda at: f"expires_at={at}"),
    numbers.map(lambda sats: f"max_sats={sats}"),
    numbers.map(lambda sats: f"budget_sats={sats}"),
    some_of.map(lambda names: f"tools={','.join(names)}"),
    st.lists(st.sampled_from(ENDPOINTS), min_size=1).map(lambda n: f"endpoints={','.join(n)}"),
    st.from_regex(r"child=[A-Za-z0-9._-]{1,64}", fullmatch=True),
)
sequences = st.lists(caveats, max_size=12)
anything = st.text(max_size=30).filter(
    lambda text: not any(0xD800 <= ord(c) < 0xE000 for c in text)
)

RING = ring_of(7)
WHOLE = make(RING, SESSION, NONCE)


def narrowed(caveats: Sequence[str], text: str = WHOLE) -> str:
    """Return a macaroon with more caveats."""
    smaller = narrow(text, caveats)
    assert isinstance(smaller, str), smaller
    return smaller


def holds(text: str, ring: KeyRing = RING) -> Verified:
    """Return what a macaroon allows, which must hold."""
    found = verify(text, ring)
    assert isinstance(found, Verified), found
    return found


def reason(text: str, ring: KeyRing = RING) -> str:
    """Return why a macaroon is not taken, which must not be."""
    found = verify(text, ring)
    assert isinstance(found, Invalid), found
    return found.reason


def raw(text: str) -> bytes:
    """Return the bytes of a macaroon."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def text_of(data: bytes) -> str:
    """Return the text of a macaroon's bytes."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def field(kind: int, data: bytes) -> bytes:
    """Return one field of the binary form."""
    size = len(data)
    written = [size] if size < 0x80 else [size & 0x7F | 0x80, size >> 7]
    return bytes([kind, *written]) + data


def written(
    location: bytes, identifier: bytes, caveats: Sequence[bytes], signature: bytes
) -> bytes:
    """Return the binary form of a macaroon, written by hand."""
    held = b"".join(field(2, caveat) + b"\0" for caveat in caveats)
    head = b"\2" + field(1, location) + field(2, identifier) + b"\0"
    return head + held + b"\0" + field(6, signature)


def shown(examples: int) -> settings:
    """Return how many examples are tried. A failure shows what makes it again."""
    return settings(max_examples=examples)


PREIMAGE = bytes(range(100, 132))
HASH = hashlib.sha256(PREIMAGE).hexdigest()
OFFER = Offer(
    "ask", HASH, "lnbc210n1pjexample", Msat(21_000), NOW, "One job", "boltwork.example", "ab" * 16
)
L402_ = L402(RING, lambda: NOW, chance=lambda count: b"\7" * count)
CHALLENGE: Challenge = L402_


def token_of(offer: Offer = OFFER) -> str:
    """Return the macaroon of an offer."""
    [(_, line)] = CHALLENGE.offer(offer)
    found = re.search(r'macaroon="([^"]+)"', line)
    assert found is not None
    return found[1]


def accept(token: str, preimage: str = PREIMAGE.hex(), scheme: str = "L402") -> object:
    """Return what a credential proves."""
    return CHALLENGE.accept({"authorization": f"{scheme} {token}:{preimage}"})
