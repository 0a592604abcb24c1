"""The check of a session's macaroon, by itself: read, every HMAC of its chain, every caveat.

Its peer is pymacaroons' own Verifier, on the same macaroon. Both run in this process, in turn.
"""

import secrets
import statistics
import time
from collections.abc import Callable

import pymacaroons

from payments import session_macaroon
from payments.key_ring import KeyRing
from payments.macaroon import narrow
from payments.session_macaroon import Verified

from .rows import Row, Side, Verdict, Want
from .slices import Pace
from .stand import Stand

CAVEATS = ("child=a", "expires_at=4102444800", "endpoints=request,status", "max_sats=50")
CHECKS = 2_000  # in one slice


def rows(stand: Stand, pace: Pace) -> list[Row]:
    """Check a macaroon as it was given out, and one that was narrowed."""
    ring = KeyRing()
    ring.hold({1: secrets.token_bytes(32)}, 1, keep=frozenset({1}))
    whole = session_macaroon.make(ring, secrets.token_hex(16), secrets.token_hex(16))
    smaller = narrow(whole, CAVEATS)
    assert isinstance(smaller, str), smaller
    rounds = pace.rounds()
    return [
        _row("macaroon check", whole, ring, rounds, stand),
        _row(f"macaroon check, {len(CAVEATS)} caveats", smaller, ring, rounds, stand),
    ]


def _row(name: str, text: str, ring: KeyRing, rounds: int, stand: Stand) -> Row:
    def ours() -> bool:
        return isinstance(session_macaroon.verify(text, ring), Verified)

    def peer() -> bool:
        shown = pymacaroons.Macaroon.deserialize(text)
        verifier = pymacaroons.Verifier()
        verifier.satisfy_general(lambda caveat: True)
        key = ring.derive(1, shown.identifier_bytes)
        return bool(verifier.verify(shown, key))

    assert ours() and peer()
    weather = stand.weather()
    both = [(_slice(ours), _slice(peer)) for _ in range(rounds)]
    ratios = [mine[len(mine) // 2] / theirs[len(theirs) // 2] for mine, theirs in both]
    mine_us = sorted(took for mine, _ in both for took in mine)
    theirs_us = sorted(took for _, theirs in both for took in theirs)
    verdicts = (
        Verdict("p50 µs", mine_us[len(mine_us) // 2], Want("p50", most=100)),
        Verdict("p50 ÷ pymacaroons", statistics.median(ratios), Want("p50")),
    )
    sides = {"Boltwork": _side(mine_us), "pymacaroons": _side(theirs_us)}
    return Row(name, sides, verdicts, rounds, rounds, weather())


def _slice(check: Callable[[], bool]) -> list[float]:
    took = []
    for _ in range(CHECKS):
        began = time.perf_counter_ns()
        check()
        took.append((time.perf_counter_ns() - began) / 1000)
    return sorted(took)


def _side(in_order_us: list[float]) -> Side:
    p50, p99 = in_order_us[len(in_order_us) // 2], in_order_us[len(in_order_us) * 99 // 100]
    return Side(rate=1e6 / p50, more={"p50 µs": p50, "p99 µs": p99})
