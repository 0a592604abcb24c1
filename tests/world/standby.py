"""A real leader and its standby, each a Postgres of its own, and the one URL that names both."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy

from db.child import kept, surroundings
from db.embedded import EmbeddedPostgres, packaged_binaries
from db.refuge import REFUGE, runnable, server_account
from db.unused_port import unused_port
from tests.world.database_fixtures import copy_of
from tests.world.patience import PATIENCE_S, patiently


@dataclass(frozen=True)
class Couple:
    """The leader, the URL of its standby alone, and that of both."""

    leader: EmbeddedPostgres
    standby_url: str
    url: str

    async def fail_over(self) -> None:
        """End the leader, and have the standby take its place."""
        self.leader.stop()
        with psycopg.connect(self.standby_url, autocommit=True) as standby:
            standby.execute("SELECT pg_promote(true, %s)", [PATIENCE_S])


@contextmanager
def coupled(made_data: Path, folder: Path) -> Iterator[Couple]:
    """Run both on copies of one cluster. The standby hears all that the leader writes."""
    first, second = (copy_of(made_data, folder / name) for name in ("first", "second"))
    with EmbeddedPostgres(first, fast_for_tests=True) as leader:
        leads = sqlalchemy.make_url(leader.start())
        stands = leads.set(port=unused_port())
        _follows(second / "postgres", leads)
        process = kept(
            _command(second / "postgres", int(stands.port or 0)), **surroundings(server_account())
        )
        both = leads.set(
            host=None,
            port=None,
            query={
                "host": f"{leads.host},{stands.host}",
                "port": f"{leads.port},{stands.port}",
                "target_session_attrs": "read-write",
            },
        )
        try:
            yield Couple(leader, shown(stands), shown(both))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)


async def follows(couple: Couple) -> None:
    """Wait until the standby answers, and hears of what is written."""
    async for look in patiently("the standby does not follow"):
        try:
            with psycopg.connect(couple.standby_url) as standby:
                told = standby.execute("SELECT status FROM pg_stat_wal_receiver").fetchone()
        except psycopg.OperationalError as error:
            look.saw = error
            continue
        look.saw = told
        if told == ("streaming",):
            break


def shown(url: sqlalchemy.URL) -> str:
    """Return a URL with its password."""
    return url.render_as_string(hide_password=False)


def _follows(cluster: Path, leads: sqlalchemy.URL) -> None:
    """Make a copy of a cluster one that follows that cluster."""
    to = f"host={leads.host} port={leads.port} user={leads.username} password={leads.password}"
    (cluster / "standby.signal").touch()
    with (cluster / "postgresql.auto.conf").open("a") as settings:
        settings.write(f"primary_conninfo = '{to}'\n")
    account = server_account()
    if account is not None:
        os.chown(cluster / "standby.signal", account.uid, account.gid)


def _command(cluster: Path, port: int) -> list[str]:
    account, binaries = server_account(), packaged_binaries()
    if account is not None:
        binaries = runnable(binaries, account, REFUGE)
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "200",  # no fewer than its leader has
        "fsync": "off",
        "hot_standby": "on",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [str(binaries / "postgres"), "-D", str(cluster.resolve()), *options]
