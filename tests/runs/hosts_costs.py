"""What a run has cost: processor time on each host, and what Postgres did, by the job."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.runs.hosts_network import Network, ip

TICKS = os.sysconf("SC_CLK_TCK")
READ = (
    "SELECT xact_commit AS commits, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS bytes"
    " FROM pg_stat_database WHERE datname = current_database()"
)


@dataclass(frozen=True)
class Cost:
    """Processor seconds of each host, commits, and bytes of the log, since the start."""

    cpu_s: dict[str, float]
    commits: int
    log_bytes: int

    @classmethod
    def read(cls, network: Network, url: str) -> "Cost":
        """Read what it is now. Processes that have ended without a parent are not in it."""
        with psycopg.connect(url, row_factory=dict_row) as connection:
            row: dict[str, Any] | None = connection.execute(READ).fetchone()
        assert row is not None
        cpu_s = {host: cpu_of(network, host) for host in network.hosts}
        return cls(cpu_s, int(row["commits"]), int(row["bytes"]))

    def since(self, before: "Cost", jobs: int, took_s: float) -> list[str]:
        """Return what was spent in between, in lines: by host, and of Postgres."""
        spent = {host: self.cpu_s[host] - before.cpu_s[host] for host in self.cpu_s}
        lines = [
            f"{host:9} {seconds * 1_000 / jobs:7.1f} ms of CPU a job"
            f" ({seconds / took_s:.2f} processors)"
            for host, seconds in spent.items()
        ]
        all_s, cores = sum(spent.values()) / jobs, os.cpu_count() or 1
        lines.append(
            f"all       {all_s * 1_000:7.1f} ms of CPU a job: {cores} processors are full at"
            f" {cores / all_s:.1f} jobs a second"
        )
        commits, log_bytes = self.commits - before.commits, self.log_bytes - before.log_bytes
        lines.append(f"Postgres  {commits / jobs:7.1f} commits a job")
        lines.append(f"Postgres  {log_bytes / jobs / 1024:7.1f} KiB of its log a job")
        return lines


def cpu_of(network: Network, host: str) -> float:
    """Return the processor seconds of all that runs on a host, and of its children that ended."""
    pids = map(int, ip("netns", "pids", network.namespace(host)).split())
    return sum(_cpu_of(pid) for pid in pids)


def _cpu_of(pid: int) -> float:
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:  # it has just ended
        return 0.0
    return sum(map(int, after_name[11:15])) / TICKS
