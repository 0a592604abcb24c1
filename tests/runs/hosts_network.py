"""Hosts of a run, and the programs that run there: network namespaces on a bridge of their own,
each with a link that can be cut. Nothing of it touches the machine's own interfaces. Needs root.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.world.patience import PATIENCE_S

NET = "10.77.0"
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
# Who is not root, and may pass through folders that are root's: a Python may lie in one.
_AS_NOBODY = (
    "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
)  # fmt: skip


def ip(*words: str) -> str:
    """Run a command of `ip`; return what it says."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


@dataclass(frozen=True)
class Network:
    """Some hosts, by name."""

    name: str
    hosts: Sequence[str]

    def address(self, host: str) -> str:
        """Return the address of a host."""
        return f"{NET}.{10 + self.hosts.index(host)}"

    def namespace(self, host: str) -> str:
        """Return what a host is, to the machine."""
        return f"{self.name}-{host}"

    @property
    def _hub(self) -> str:
        return f"{self.name}-hub"

    @contextmanager
    def running(self) -> Iterator["Network"]:
        """Have the hosts be there for as long as the block lasts, and nothing left of them."""
        try:
            self._make()
            yield self
        finally:
            for host in self.hosts:
                self._remove(host)
            with suppress(AssertionError):
                ip("netns", "del", self._hub)

    def cut(self, host: str) -> None:
        """Cut a host off: what is sent to it or by it arrives nowhere, and nobody is told."""
        ip("-n", self._hub, "link", "set", host, "down")

    def join(self, host: str) -> None:
        """Mend its link."""
        ip("-n", self._hub, "link", "set", host, "up")

    def enter(self, host: str) -> None:
        """Have this process, which must have one thread, be on a host from now on."""
        with open(f"/run/netns/{self.namespace(host)}") as namespace:
            assert _LIBC.setns(namespace.fileno(), _CLONE_NEWNET) == 0, os.strerror(
                ctypes.get_errno()
            )

    def _make(self) -> None:
        ip("netns", "add", self._hub)
        ip("-n", self._hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", self._hub, "link", "set", "bridge", "up")
        for host in self.hosts:
            there = self.namespace(host)
            ip("netns", "add", there)
            ends = ("link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", there)
            ip("-n", self._hub, *ends)
            ip("-n", self._hub, "link", "set", host, "master", "bridge", "up")
            ip("-n", there, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
            for interface in ("lo", "eth0"):
                ip("-n", there, "link", "set", interface, "up")

    def _remove(self, host: str) -> None:
        """End what still runs on a host, and remove it."""
        with suppress(AssertionError):
            for pid in map(int, ip("netns", "pids", self.namespace(host)).split()):
                if pid != os.getpid():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            ip("netns", "del", self.namespace(host))


@dataclass
class Program:
    """A program on a host: it may be ended as a crash does or as an operator does, and begun again.

    What it says goes to its log.
    """

    network: Network
    host: str
    name: str
    command: Sequence[str | Path]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    is_nobodys: bool = False
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin it."""
        there = ("ip", "netns", "exec", self.network.namespace(self.host))
        words = [*there, *(_AS_NOBODY if self.is_nobodys else ()), *map(str, self.command)]
        known = {"PATH": f"{os.environ['PATH']}:/usr/sbin", "LC_ALL": "C.UTF-8", "HOME": "/tmp"}
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                words, cwd="/", env=known | dict(self.environment), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """End it and its children as a power cut does."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE_S)

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.terminate()
        return process.wait(PATIENCE_S)

    @property
    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2_000:] if self.log.exists() else ""
