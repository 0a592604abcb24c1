"""What a worker has shown, in facts of its leases and its pay; and how much it is given at once."""

from dataclasses import dataclass
from typing import Final

from statemachine.worker import WorkerFacts

AT_ONCE_NEW: Final = 2  # leases of a worker that is new,
AT_ONCE_CHECKED: Final = 4  # of a new one that has brought what the house knew the answer to,
AT_ONCE: Final = 8  # and of one that is trusted
MEASURED: Final = 10  # so many items must have ended before a share of them says something
GOOD_PCT, BAD_PCT = 80, 50


@dataclass(frozen=True, slots=True)
class Reputation:
    """Shares are in percent; None: too few items have ended."""

    accepted_pct: int | None  # of all that it held to the end or lost
    on_time_pct: int | None  # of what it delivered
    canaries_passed: int
    canaries_failed: int
    at_once: int  # leases


def reputation_of(facts: WorkerFacts) -> Reputation:
    """Return what a worker has shown."""
    ended = facts.delivered + facts.failed + facts.lost
    accepted = _pct(facts.delivered, ended)
    on_time = _pct(facts.delivered - facts.late, facts.delivered)
    passed, failed = facts.canaries_passed, facts.canaries_failed
    most = _most(facts)
    for share in (accepted, on_time):
        most = _less(most, share)
    return Reputation(accepted, on_time, passed, failed, most)


def at_once(facts: WorkerFacts) -> int:
    """Return how many leases a worker may hold."""
    return reputation_of(facts).at_once


def _most(facts: WorkerFacts) -> int:
    if facts.is_trusted:
        return AT_ONCE
    return AT_ONCE_CHECKED if facts.canaries_passed else AT_ONCE_NEW


def _less(most: int, share_pct: int | None) -> int:
    if share_pct is None or share_pct >= GOOD_PCT:
        return most
    return 1 if share_pct < BAD_PCT else max(1, most // 2)


def _pct(part: int, whole: int) -> int | None:
    return 100 * part // whole if whole >= MEASURED else None
