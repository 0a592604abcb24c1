"""All that sells in a run: two hosts with a server, a worker and its makers, the balancer before
them, the bucket that both write to, and the Postgres of two hosts behind them.

The Lightning node is LNbits on the host of the buyers, or a file that all hosts reach: that goes on
for one that is cut off, too.
"""

import asyncio
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.runs import hosts_tools
from tests.runs.hosts_cluster import Cluster
from tests.runs.hosts_network import Network, Program
from tests.world.house_fixtures import UNLIMITED
from tests.world.patience import patiently
from tests.world.s3_server import BUCKET, KEY, KEY_ID
from tests.world.server_process import COMMAND

SELLERS = ("app1", "app2")
CLIENT, BALANCER, STORE, ETCD = "client", "balancer", "store", "etcd"
HOSTS = (*SELLERS, "pg1", "pg2", ETCD, STORE, BALANCER, CLIENT)
SERVES = ("serve", "--no-worker")
PORT, STORE_PORT, MODEL_PORT, NODE_PORT = 8402, 9000, 9100, 5000
ANSWERS_S = 5.0  # the longest wait for one look
DELAY_S = 5  # longer than the balancer takes to see that a server is not ready
_DEFAULTS = """
global
    maxconn 4000
defaults
    mode http
    timeout connect 2s
    timeout client 75s
    timeout server 75s
"""
# What is sent once more is what never reached a server: whatever else fails, a buyer repeats, who
# names each purchase. Keep-alives find out that a host is gone which has said nothing for 8 s.
_BALANCED = """
frontend buyers
    bind {address}:{port}
    option forwardfor
    default_backend sellers
backend sellers
    balance roundrobin
    option redispatch 1
    retries 2
    retry-on conn-failure
    option httpchk GET /api/readyz
    http-check expect status 200
    option srvtcpka
    srvtcpka-idle 5s
    srvtcpka-intvl 1s
    srvtcpka-cnt 3
    default-server check inter 1s fall 2 rise 1 tcp-ut 5s
"""
# Plain HTTP to a store is for this machine alone: a relay on each host takes the place of TLS.
_RELAY = """
listen relay
    mode tcp
    bind {at}
    server there {to}
"""


def shared(folder: Path) -> Path:
    """Return the folder that stands in for a node, where LNbits is none."""
    return folder / "node"


def _this_version(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name != "PYTHONPATH"}


@dataclass
class Seller:
    """One host that sells."""

    host: str
    url: str
    server: Program
    worker: Program
    beside: tuple[Program, ...]

    def start(self) -> None:
        """Start what runs there, and isn't running."""
        for program in (*self.beside, self.server, self.worker):
            if program.has_ended:
                program.start()

    def kill(self) -> None:
        """Lose the host."""
        for program in (self.server, self.worker, *self.beside):
            program.kill()

    def upgrade(self) -> None:
        """Have it be this version from its next start on, whatever it was."""
        for program in (self.server, self.worker):
            program.environment = _this_version(program.environment)

    async def drained(self) -> list[int]:
        """Have it end what is under way, and then itself; return how both have ended."""
        ways = [asyncio.to_thread(program.stop) for program in (self.server, self.worker)]
        return list(await asyncio.gather(*ways))

    async def ready(self) -> None:
        """Wait until its server says that it is ready."""
        async with httpx2.AsyncClient(timeout=ANSWERS_S, trust_env=False) as http:
            async for look in patiently(f"{self.host} is never ready", pause_s=0.3):
                try:
                    answer = await http.get(f"{self.url}/api/readyz")
                except httpx2.TransportError as error:
                    look.saw = f"{type(error).__name__} {self.server.said}"
                    continue
                look.saw = answer.text
                if answer.status_code == 200:
                    break


@dataclass
class Town:
    """All of it."""

    network: Network
    folder: Path
    count: int = len(SELLERS)  # of the hosts that sell
    rail: Mapping[str, str] = field(default_factory=dict)  # settings; of none it is the stub
    before: Path | None = None  # where the version lies that all begin with; None: it is this one
    cluster: Cluster = field(init=False)
    sellers: dict[str, Seller] = field(init=False)

    def __post_init__(self) -> None:
        self.cluster = Cluster(self.network, self.folder, ETCD)
        self._secret = secrets.token_hex(32)
        self.sellers = {host: self._seller(host) for host in SELLERS[: self.count]}

    @property
    def url(self) -> str:
        """Where buyers come to."""
        return f"http://{self.network.address(BALANCER)}:{PORT}"

    @property
    def shared(self) -> Path:
        """What stands in for the node, and for the chain of the second rail."""
        return shared(self.folder)

    @property
    def bucket(self) -> Path:
        """Where the bucket's files lie."""
        return self.folder / "store" / BUCKET

    async def start(self) -> None:
        """Start everything, and wait until all hosts sell."""
        self.bucket.mkdir(parents=True)
        self._store().start()
        await self.cluster.start()
        await self.migrated(self._boltwork(SELLERS[0], "migrate"))
        if "LNBITS_URL" in self.rail:
            at = f"{self.network.address(CLIENT)}:{NODE_PORT}"
            to = self.rail["LNBITS_URL"].partition("://")[2]
            self._haproxy(CLIENT, _DEFAULTS + _RELAY.format(at=at, to=to)).start()
        for seller in self.sellers.values():
            seller.start()
        self._balancer().start()
        for seller in self.sellers.values():
            await seller.ready()

    async def upgraded(self, host: str) -> None:
        """Upgrade what runs on a host that was drained: the tables first, and then its programs."""
        migrate = self._boltwork(host, "migrate")
        migrate.environment = _this_version(migrate.environment)
        await self.migrated(migrate)
        self.sellers[host].upgrade()
        self.sellers[host].start()
        await self.sellers[host].ready()

    async def migrated(self, program: Program) -> None:
        """Run `boltwork migrate`."""
        program.start()
        async for look in patiently("the tables are never current", pause_s=0.2):
            look.saw = program.said
            if program.has_ended:
                break
        assert program.stop() == 0, program.said

    def _boltwork(self, host: str, *words: str) -> Program:
        environment = {
            "HOST": self.network.address(host),
            "PORT": str(PORT),
            "PUBLIC_URL": self.url,
            "BOLTWORK_DATA": str(self.shared),
            "BOLTWORK_SECRET": self._secret,
            "DATABASE_URL": self.cluster.url,
            "DATABASE_POOL": "6",
            "ARTIFACTS_URL": f"s3://{BUCKET}",
            "ARTIFACTS_ENDPOINT": f"http://127.0.0.1:{STORE_PORT}",
            "ARTIFACTS_KEY_ID": KEY_ID,
            "ARTIFACTS_KEY": KEY,
            "ANTHROPIC_API_KEY": "key-of-the-run",
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{MODEL_PORT}",
            "BTC_PRICE_USD_FALLBACK": "100000",
            "BTC_PRICE_SOURCES": "nobody=http://127.0.0.1:9/#usd",
            "TRUSTED_PROXIES": "1",
            "SHUTDOWN_DELAY_S": str(DELAY_S),
            "HEALTH_S": "2",
            "SWEEP_S": "2",
            "RECONCILE_S": "0",
            "WORKER_DEAD_AFTER_S": "5",
            "ROUTING_FREE_SATS": "1000",  # or a session's rest is not taken as one sum
            **UNLIMITED,
            **self.rail,
            **({"PYTHONPATH": str(self.before)} if self.before else {}),
        }
        if "LNBITS_URL" in self.rail:
            environment["LNBITS_URL"] = f"http://{self.network.address(CLIENT)}:{NODE_PORT}"
        log = self.folder / f"{host}-{words[0]}.log"
        command: list[str | Path] = [COMMAND, *words]
        return Program(self.network, host, words[0], command, log, environment)

    def _seller(self, host: str) -> Seller:
        url = f"http://{self.network.address(host)}:{PORT}"
        model = self._python(host, "tests.world.messages_server", "--port", str(MODEL_PORT))
        at, to = f"127.0.0.1:{STORE_PORT}", f"{self.network.address(STORE)}:{STORE_PORT}"
        relay = self._haproxy(host, _DEFAULTS + _RELAY.format(at=at, to=to))
        server, worker = (
            self._boltwork(host, "serve", "--no-worker"),
            self._boltwork(host, "worker"),
        )
        return Seller(host, url, server, worker, (model, relay))

    def _balancer(self) -> Program:
        lines = [
            f"    server {host} {self.network.address(host)}:{PORT}\n" for host in self.sellers
        ]
        here = _BALANCED.format(address=self.network.address(BALANCER), port=PORT)
        return self._haproxy(BALANCER, _DEFAULTS + here + "".join(lines))

    def _haproxy(self, host: str, settings: str) -> Program:
        file = self.folder / f"{host}-haproxy.cfg"
        file.write_text(settings)
        command: list[str | Path] = [hosts_tools.debian("haproxy"), "-db", "-f", file]
        log, libraries = file.with_suffix(".log"), {"LD_LIBRARY_PATH": str(hosts_tools.LIBRARIES)}
        return Program(self.network, host, "haproxy", command, log, libraries)

    def _store(self) -> Program:
        words = ["nanio", "serve", "--data-dir", str(self.bucket.parent)]
        words += ["--host", self.network.address(STORE), "--port", str(STORE_PORT)]
        quiet = ["--log-level", "error", "--no-access-log"]
        keys = {"NANIO_ACCESS_KEY": KEY_ID, "NANIO_SECRET_KEY": KEY}
        return self._python(STORE, *words, *quiet, **keys)

    def _python(self, host: str, *words: str, **environment: str) -> Program:
        log = self.folder / f"{host}-{words[0].rpartition('.')[2]}.log"
        path = {"PYTHONPATH": str(hosts_tools.ROOT)}
        command = [sys.executable, "-m", *words]
        return Program(self.network, host, words[0], command, log, path | environment)
