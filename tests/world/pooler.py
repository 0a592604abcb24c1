"""A real PgBouncer before the tests' Postgres, in the pool mode that a test names."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import sqlalchemy

from db.unused_port import unused_port
from tests.world.patience import PATIENCE_S

PROGRAM = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"


@contextlib.contextmanager
def pooled(url: str, mode: str) -> Iterator[str]:
    """Run a pooler on the way to a database; yield the URL that leads through it."""
    to = sqlalchemy.make_url(url)
    port = unused_port()
    with tempfile.TemporaryDirectory(prefix="boltwork-pooler-") as name:
        folder = Path(name)
        (folder / "users.txt").write_text(f'"{to.username}" "{to.password}"\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={to.host} port={to.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {folder}/users.txt\npool_mode = {mode}\n"
            f"default_pool_size = 60\nlogfile = {folder}/pgbouncer.log\n"
        )
        account = {}
        if os.geteuid() == 0:  # it refuses to be root
            nobody = pwd.getpwnam("nobody")
            account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            for path in (folder, *folder.iterdir()):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        process = subprocess.Popen(
            [PROGRAM, str(folder / "pgbouncer.ini")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **account,  # type: ignore[call-overload]  # any of its parameters
        )
        try:
            through = to.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
            _until_it_answers(process, through, folder / "pgbouncer.log")
            yield through
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_S)


def _until_it_answers(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    while process.poll() is None:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(url, connect_timeout=5).close()
            return
    raise AssertionError(log.read_text() if log.exists() else "the pooler did not start")
