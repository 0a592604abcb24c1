"""The load: a closed loop over a few keep-alive connections, so cheap that the server is what is
measured. Each connection asks, waits for the whole answer, and asks again.

It reads only answers that say their length (or, as 304, have no body), and breaks on any other
status than the one it is told to expect: nothing is fast because it failed. Servers end a
connection after so many answers (Hypercorn after a thousand); then it makes a new one.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import uvloop

CONNECTIONS = 8
WARM_S = 0.2  # at the beginning of each slice, uncounted: connections are made, caches are filled


@dataclass
class Window:
    """What was counted while it was open."""

    is_open: bool = False
    is_over: bool = False
    latencies_us: list[int] = field(default_factory=list)
    wrong: bytes | None = None  # how the first answer began that was not expected


class Asker(asyncio.Protocol):
    """One connection, and the next one when that ends."""

    def __init__(self, port: int, request: bytes, status: int, window: Window) -> None:
        self._port, self._request, self._window = port, request, window
        self._expected = b"HTTP/1.1 %d" % status
        self._received = b""
        self._missing = 0  # bytes of the body still to come
        self._asked = 0.0

    async def connect(self) -> None:
        """Connect, and begin to ask."""
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        except OSError as error:
            self._window.wrong = str(error).encode()

    def connection_lost(self, error: Exception | None) -> None:
        """Connect again, unless it was we who hung up."""
        if not self._window.is_over and self._window.wrong is None:
            self._received, self._missing = b"", 0
            self._connecting = asyncio.ensure_future(self.connect())

    def connection_made(self, transport: Any) -> None:
        """Ask for the first time."""
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Take in what came; when the answer is whole, count it and ask again."""
        if self._missing:
            self._missing -= len(data)
        else:
            self._received += data
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            if not self._received.startswith(self._expected):
                self._window.wrong = self._window.wrong or self._received[:200]
                self._transport.close()
                return
            self._missing = end + 4 + _length(self._received[:end]) - len(self._received)
            self._received = b""
        if self._missing == 0:
            if self._window.is_open:
                self._window.latencies_us.append(int((time.perf_counter() - self._asked) * 1e6))
            self._ask()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._request)

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


def _length(head: bytes) -> int:
    at = head.find(b"content-length: ")
    return int(head[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def cpu_of(pid: int) -> float:
    """Return the CPU seconds, user and system, that a process has used, in all of its threads.

    This is the clock that clock_getcpuclockid(3) names: nanoseconds, where /proc/PID/stat has
    hundredths.
    """
    return time.clock_gettime((~pid << 3) | 2)


async def measure(order: dict[str, Any]) -> dict[str, Any]:
    """Ask one server for so many seconds."""
    window = Window()
    pid, port, request = order["pid"], order["port"], order["request"].encode()
    askers = [Asker(port, request, order["status"], window) for _ in range(CONNECTIONS)]
    await asyncio.gather(*(asker.connect() for asker in askers))
    await asyncio.sleep(WARM_S)
    window.is_open = True
    began = time.perf_counter(), cpu_of(pid), time.process_time()
    await asyncio.sleep(order["seconds"])
    window.is_open = False
    ended = time.perf_counter(), cpu_of(pid), time.process_time()
    window.is_over = True
    for asker in askers:
        asker.close()
    if window.wrong is not None or not window.latencies_us:
        raise SystemExit(f"unexpected answer: {window.wrong!r}")
    answers = len(window.latencies_us)
    took, cpu_s, own_s = (end - begin for begin, end in zip(began, ended, strict=True))
    return {
        "rate": answers / took,
        "cpu_us": cpu_s / answers * 1e6,
        "load_cpu_us": own_s / answers * 1e6,
        "latencies_us": window.latencies_us,
    }


def main() -> None:
    """Measure as ordered, order by order, until the input ends."""
    for line in sys.stdin:
        print(json.dumps(uvloop.run(measure(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
