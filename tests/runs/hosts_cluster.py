"""A Postgres of two hosts under Patroni, whose standby is synchronous; etcd on a third host.

What is set here beside names and addresses is what docs/hosts.md tells an operator to set.
"""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg

from db.refuge import server_account
from tests.runs import hosts_tools
from tests.runs.hosts_network import Network, Program
from tests.world.patience import patiently

PORT, REST, ETCD = 5432, 8008, 2379
HOSTS = ("pg1", "pg2")
ASKED_S = 2.0
# ttl is how long a leader that is gone is waited for; its least is 20 s. Twice a retry and a pause
# must fit into it.
DCS: dict[str, Any] = {
    "ttl": 20,
    "loop_wait": 3,
    "retry_timeout": 5,
    "synchronous_mode": True,
    "maximum_lag_on_failover": 1_048_576,
    "postgresql": {
        "use_pg_rewind": True,
        "parameters": {
            "max_connections": 200,
            "shared_preload_libraries": "pg_stat_statements",  # it counts: nobody needs it else
            # A leader that is cut off holds no session of whoever has gone to the next one.
            "tcp_user_timeout": 10_000,
            "wal_sender_timeout": "5s",
            "wal_receiver_timeout": "5s",
        },
    },
}


@dataclass
class Cluster:
    """The servers, and who leads."""

    network: Network
    folder: Path
    etcd_on: str
    password: str = field(default_factory=lambda: secrets.token_hex(16))
    programs: list[Program] = field(default_factory=list)

    @property
    def url(self) -> str:
        """What DATABASE_URL is: both hosts, and the one that takes writes."""
        return self._url("boltwork", "boltwork")

    def _url(self, user: str, database: str) -> str:
        hosts = ",".join(f"{self.network.address(host)}:{PORT}" for host in HOSTS)
        only = "target_session_attrs=read-write"
        return f"postgresql://{user}:{self.password}@{hosts}/{database}?{only}"

    async def start(self) -> None:
        """Start it all, and make a database for Boltwork."""
        self._add(self.etcd_on, "etcd", self._etcd())
        for host in HOSTS:
            self._add(host, f"patroni-{host}", self._patroni(host), is_nobodys=True)
        await self.whole()
        with psycopg.connect(self._url("postgres", "postgres"), autocommit=True) as admin:
            admin.execute(f"CREATE ROLE boltwork LOGIN PASSWORD '{self.password}'".encode())
            admin.execute(
                b"CREATE DATABASE boltwork OWNER boltwork ENCODING 'UTF8' TEMPLATE template0"
            )
        with psycopg.connect(self._url("postgres", "boltwork"), autocommit=True) as admin:
            admin.execute(b"CREATE EXTENSION pg_stat_statements")

    async def members(self) -> dict[str, tuple[str, str]]:
        """Return the role and the state of each member, as whoever answers first knows them."""
        async with httpx2.AsyncClient(timeout=ASKED_S, trust_env=False) as http:
            for host in HOSTS:
                try:
                    told = await http.get(f"http://{self.network.address(host)}:{REST}/cluster")
                    members = told.json()["members"]
                except (httpx2.TransportError, ValueError, KeyError):
                    continue
                return {one["name"]: (one["role"], one["state"]) for one in members}
        return {}

    async def leader(self) -> str:
        """Return the host that leads, as soon as one does."""
        async for look in patiently("nobody leads", pause_s=0.2):
            look.saw = members = await self.members()
            leading = [name for name, (role, _) in members.items() if role == "leader"]
            if leading:
                return leading[0]
        raise AssertionError

    async def whole(self) -> None:
        """Wait until one leads, and the other follows it and is waited for by each commit."""
        async for look in patiently("the cluster is never whole", pause_s=0.5):
            look.saw = members = await self.members()
            roles = sorted(members.values())
            if roles == [("leader", "running"), ("sync_standby", "streaming")]:
                return
            ended = [program.said for program in self.programs if program.has_ended]
            assert not ended, ended

    def _add(
        self, host: str, name: str, command: list[str | Path], is_nobodys: bool = False
    ) -> None:
        program = Program(
            self.network,
            host,
            name,
            command,
            self.folder / f"{name}.log",
            _SURROUNDINGS,
            is_nobodys,
        )
        program.start()
        self.programs.append(program)

    def _etcd(self) -> list[str | Path]:
        at = f"http://{self.network.address(self.etcd_on)}:{ETCD}"
        peer = "http://127.0.0.1:2380"
        return [
            hosts_tools.debian("etcd"), "--name", "one", "--data-dir", self.folder / "etcd",
            "--listen-client-urls", at, "--advertise-client-urls", at,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"one={peer}",
        ]  # fmt: skip

    def _patroni(self, host: str) -> list[str | Path]:
        """Write a member's settings, and return its command."""
        home, account = self.folder / host, server_account()
        home.mkdir(mode=0o700)
        file = home / "patroni.json"  # every JSON is YAML
        file.write_text(json.dumps(self._settings(host, home)))
        if account is not None:
            for path in (home, file):
                os.chown(path, account.uid, account.gid)
        return [hosts_tools.patroni(), file]

    def _settings(self, host: str, home: Path) -> dict[str, Any]:
        address = self.network.address(host)
        users = {"superuser": "postgres", "replication": "replicator", "rewind": "rewinder"}
        return {
            "scope": "boltwork",
            "name": host,
            "restapi": {"listen": f"{address}:{REST}", "connect_address": f"{address}:{REST}"},
            "etcd3": {"hosts": f"{self.network.address(self.etcd_on)}:{ETCD}"},
            "bootstrap": {
                "dcs": DCS,
                "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"{address}:{PORT}",
                "connect_address": f"{address}:{PORT}",
                "data_dir": str(home / "data"),
                "bin_dir": str(hosts_tools.postgres()),
                "pgpass": str(home / "pgpass"),
                "authentication": {
                    role: {"username": user, "password": self.password}
                    for role, user in users.items()
                },
                "parameters": {"unix_socket_directories": str(home)},
                "pg_hba": [
                    "local all all scram-sha-256",
                    "host all all samenet scram-sha-256",
                    "host replication replicator samenet scram-sha-256",
                ],
            },
        }


_SURROUNDINGS = {"LD_LIBRARY_PATH": str(hosts_tools.LIBRARIES)}
