"""Where the log goes: a line that can't be written is counted, and raises and holds up nothing.

Standard error may be a pipe whose reader is gone or stands still, or a disk that is full. None of
that ends a loop, a task or an answer, and none of it makes anybody wait.
"""

import os
import select
from typing import TextIO

from prometheus_client import Counter

LOST = Counter("boltwork_log_lines_lost_total", "Log lines that could not be written")

PIECE = select.PIPE_BUF  # a pipe that can be written to takes as much at once
WAIT_MS = 100  # for a reader that is only slow; none for one that let a line be lost


class LogStream:
    """A text stream for loggers. Its methods do not raise."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._is_stuck = False

    def write(self, text: str) -> int:
        """Write it, if it can be written now."""
        try:
            self._is_stuck = not self._written(text.encode(errors="backslashreplace"))
        except (OSError, ValueError):  # no reader, no room; or closed
            self._is_stuck = True
        if self._is_stuck:
            LOST.inc()
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    def _written(self, line: bytes) -> bool:
        if self._stream is None:  # it was closed before we began
            return False
        descriptor = self._stream.fileno()
        way_out = select.poll()
        way_out.register(descriptor, select.POLLOUT)
        while line:
            if not way_out.poll(0 if self._is_stuck else WAIT_MS):
                return False
            line = line[os.write(descriptor, line[:PIECE]) :]
        return True
