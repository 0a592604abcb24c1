"""The cold start: from `scripts/run` to the first healthy answer, on a machine that is set up.

Its peer is a bare Hypercorn with one route that says hello. What is kept between two starts is the
data folder; the very first start, which makes the database, is told beside them.
"""

import contextlib
import http.client
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from db.child import kept

from .rows import Row, Side, Verdict, Want
from .slices import Pace
from .stand import Broken, Stand, plain_environment

ROOT = Path(__file__).parents[2]
MOST_S = 3.0
STARTS, FEW_STARTS = 5, 1
PATIENCE_S = 120.0
PAUSE_S = 0.005


def rows(stand: Stand, pace: Pace) -> list[Row]:
    """Start both in turn."""
    folder = stand.folder / "first"
    folder.mkdir(mode=0o711)
    log = stand.folder / "starts.log"
    # The tool that makes the environment says at once that there is nothing to do.
    subprocess.run([ROOT / "scripts" / "setup", "app"], check=True, capture_output=True)
    first_s = _ours(folder, log)
    weather = stand.weather()
    rounds = FEW_STARTS if pace.quick else STARTS
    both = [(_ours(folder, log), _bare(log)) for _ in range(rounds)]
    mine, theirs = sorted(s for s, _ in both), sorted(s for _, s in both)
    verdicts = (
        Verdict("seconds (median)", statistics.median(mine), Want("start", most=MOST_S)),
        Verdict("÷ bare Hypercorn", statistics.median(a / b for a, b in both), Want("start")),
        Verdict("seconds of the very first start", first_s, Want("first")),
    )
    sides = {
        "Boltwork": Side(p50_ms=statistics.median(mine) * 1000, more={"slowest s": mine[-1]}),
        "bare Hypercorn": Side(
            p50_ms=statistics.median(theirs) * 1000, more={"slowest s": theirs[-1]}
        ),
    }
    return [Row("cold start", sides, verdicts, rounds, rounds, weather())]


def _ours(folder: Path, log: Path) -> float:
    port = _free_port()
    environment = {"PORT": str(port), "BOLTWORK_DATA": str(folder)}
    return _start([str(ROOT / "scripts" / "run")], port, "/api/healthz", log, environment)


def _bare(log: Path) -> float:
    port = _free_port()
    command = [sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{port}"]
    return _start([*command, f"{__package__}.hello:app"], port, "/", log, {})


def _start(
    command: Sequence[str], port: int, path: str, log: Path, environment: dict[str, str]
) -> float:
    """Return the seconds until it answers, and end it."""
    began = time.perf_counter()
    with log.open("ab") as said:
        child = kept(
            list(command),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=plain_environment() | environment,
            start_new_session=True,
        )
    try:
        while not _answers(port, path):
            if child.poll() is not None or time.perf_counter() - began > PATIENCE_S:
                raise Broken(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(PAUSE_S)
        return time.perf_counter() - began
    finally:
        child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(PATIENCE_S)
        child.kill()
        child.wait()


def _answers(port: int, path: str) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        finally:
            connection.close()
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
