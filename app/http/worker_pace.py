"""How often those who lend machines may ask: by the minute, each worker and each address.

Their requests are many and small, and none of them costs what is given away: so these are counted
in this process alone, and a server of several allows as many times more.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime

from app.refusal import Refusal, Why

WINDOW_S = 60
EACH_ADDRESS = 10  # times what one worker may ask: many machines stand behind one address
MOST_UNKNOWN = 60  # of one address, with a token that no worker has


class WorkerPace:
    """Counts what workers ask in one minute; 0: without an end."""

    def __init__(self, most: int, clock: Callable[[], datetime]) -> None:
        self._most, self._clock = most, clock
        self._window, self._counts = 0, Counter[tuple[str, str]]()

    def count_address(self, address: str) -> None:
        """Count a request of an address, whoever sends it. Refuses with 429 what is too much."""
        self._count("address", address, self._most * EACH_ADDRESS)

    def count_unknown(self, address: str) -> None:
        """Count a token that no worker has."""
        self._count("unknown", address, MOST_UNKNOWN if self._most else 0)

    def count(self, worker_id: str) -> None:
        """Count a request of a worker."""
        self._count("worker", worker_id, self._most)

    def _count(self, what: str, name: str, most: int) -> None:
        window, passed_s = divmod(int(self._clock().timestamp()), WINDOW_S)
        if window != self._window:
            self._window, self._counts = window, Counter()
        self._counts[what, name] += 1
        if most and self._counts[what, name] > most:
            raise _too_many(what, most, WINDOW_S - passed_s)


def _too_many(what: str, most: int, wait_s: int) -> Refusal:
    whose = "worker" if what == "worker" else "address"
    asked = "requests with a token of no worker" if what == "unknown" else "requests"
    return Refusal(
        Why.TOO_MANY,
        f"That is more than {most} {asked} in one minute from your {whose}.",
        f"Send the same request again in {wait_s} seconds.",
        {"Retry-After": str(wait_s)},
    )
