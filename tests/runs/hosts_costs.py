"""What a run has cost: processor time and bytes sent of each side, and what Postgres did."""

import json
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row

from tests.runs.hosts_model import CPU
from tests.runs.hosts_network import Network, ip

TICKS = os.sysconf("SC_CLK_TCK")
SENT = "bytes sent by "
COMMITS, STATEMENTS = "commits", "statements"
LOG, TABLES = "bytes of Postgres's log", "bytes of tables"
READ = (
    "SELECT d.xact_commit AS commits,"
    " pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS log_bytes,"
    " (SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements s WHERE s.dbid = d.datid)"
    "   AS statements, pg_database_size(d.datid) AS table_bytes"
    " FROM pg_stat_database d WHERE d.datname = current_database()"
)
# Which of the programs of a host that sells a command line is; whatever else runs there is beside.
_PROGRAMS = ((b"scene.easel", "painter"), (b"\0serve\0", "server"), (b"\0worker\0", "worker"))


@dataclass(frozen=True)
class Cost:
    """What was spent by now, by name, and when that is (time.monotonic)."""

    at_s: float
    spent: dict[str, float]

    @classmethod
    def read(cls, network: Network, url: str, leader: str) -> Self:
        """Read what it is now. Processes that have ended without a parent are not in it."""
        with psycopg.connect(url, row_factory=dict_row) as connection:
            row: dict[str, Any] | None = connection.execute(READ.encode()).fetchone()
        assert row is not None
        spent = defaultdict[str, float](float)
        spent[COMMITS], spent[STATEMENTS] = int(row["commits"]), int(row["statements"])
        spent[LOG], spent[TABLES] = int(row["log_bytes"]), int(row["table_bytes"])
        for host in network.hosts:
            side = _side(host, leader)
            for pid in map(int, ip("netns", "pids", network.namespace(host)).split()):
                spent[CPU + (side or _program(pid))] += _cpu_of(pid)
            spent[SENT + (side or "sellers")] += _sent_by(network, host)
        return cls(time.monotonic(), dict(spent))

    def since(self, before: "Cost") -> tuple[float, dict[str, float]]:
        """Return how many seconds lie in between, and what was spent in them."""
        names = self.spent.keys() | before.spent.keys()
        spent = {name: self.spent.get(name, 0) - before.spent.get(name, 0) for name in names}
        return self.at_s - before.at_s, spent


def lines_of(spent: dict[str, float]) -> list[str]:
    """Return what one of something has cost, in lines."""
    return [
        f"  {name:28} {value * 1_000:9.2f} ms"
        if name.startswith(CPU)
        else f"  {name:28} {value:9.1f}"
        for name, value in sorted(spent.items())
    ]


def processors_busy_s() -> float:
    """Return the processor seconds of the whole machine by now, whoever used them."""
    line = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = map(int, line[:8])
    return (user + nice + system + irq + softirq + steal) / TICKS


def _side(host: str, leader: str) -> str | None:
    """Return what a host is to the run; None: it sells, and its programs are told apart."""
    if host.startswith("app"):
        return None
    if host.startswith("pg"):
        return "leader" if host == leader else "standby"
    return host


def _program(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has just ended
        return "beside"
    return next((name for sign, name in _PROGRAMS if sign in words), "beside")


def _cpu_of(pid: int) -> float:
    """Return the processor seconds of a process, and of its children that ended."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, after_name[11:15])) / TICKS


def _sent_by(network: Network, host: str) -> int:
    [link] = json.loads(ip("-n", network.namespace(host), "-s", "-j", "link", "show", "eth0"))
    return int(link["stats64"]["tx"]["bytes"])
