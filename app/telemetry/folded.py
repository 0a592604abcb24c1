"""The same line of the log again and again is one line a minute, which says how often it was."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import structlog
from structlog.typing import EventDict

WINDOW_S = 60.0
REMEMBERED = 1_000  # lines; the oldest is forgotten first
FOLDED = ("warning", "error", "critical", "exception")
OWN = ("request_id",)  # what tells two lines of one trouble apart, and nothing more


class Fold:
    """A step of the log: drops a warning or an error that was logged within the last minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()  # since when, how often
        self._lock = threading.Lock()

    def __call__(self, _: Any, method: str, line: EventDict) -> EventDict:
        """Let a line pass, with how many like it were dropped since the last one."""
        if method not in FOLDED:
            return line
        name = repr(sorted((key, value) for key, value in line.items() if key not in OWN))
        now = self._clock()
        with self._lock:
            since, dropped = self._seen.get(name, (None, 0))
            if since is not None and now - since < WINDOW_S:
                self._seen[name] = (since, dropped + 1)
                raise structlog.DropEvent
            self._seen[name] = (now, 0)
            self._seen.move_to_end(name)
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        if dropped:
            line["repeated"] = dropped
        return line
