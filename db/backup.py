"""A backup: all tables at one moment, in a file, and back into an empty database.

Postgres's own pg_dump and pg_restore do it, those that come with the embedded one: they read and
write whatever server the URL names, if it is not newer than they are.
"""

import os
import subprocess
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from db import switches
from db.migrate import migrate
from db.reach import longest_s, opened


class BackupFailed(Exception):
    """The backup was not made, or not restored. The message is a sentence."""


def dump(url: str, to: Path, tools: Path) -> None:
    """Write a backup to a file that only we can read. It is there whole, or not at all."""
    if to.exists():
        raise BackupFailed(f"{to} is there already: name another file.")
    draft = to.with_name(to.name + ".part")
    try:
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise BackupFailed(f"{to} can't be written: {error.strerror}.") from error
    try:
        _run(tools / "pg_dump", url, "--format=custom", f"--file={draft}")
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.rename(to)
    finally:
        draft.unlink(missing_ok=True)


def restore(url: str, of: Path, tools: Path) -> None:
    """Fill an empty database from a backup, with payouts standing still.

    What was paid since is not in it, so nothing leaves before a person has looked.
    """
    if not of.is_file():
        raise BackupFailed(f"There is no backup {of}.")
    if not _is_empty(url):
        raise BackupFailed(
            "This database is not empty, and a backup takes the place of nothing: restore it into"
            " a new one (another DATABASE_URL or BOLTWORK_DATA)."
        )
    switches.stop_payouts(url)
    _run(tools / "pg_restore", url, "--exit-on-error", "--single-transaction", str(of))
    migrate(url)


def _is_empty(url: str) -> bool:
    try:
        with opened(url) as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace LIMIT 1"
            ).fetchone()
    except psycopg.OperationalError as error:
        raise BackupFailed("The database does not answer: see boltwork doctor.") from error
    return found is None


def _run(tool: Path, url: str, *words: str) -> None:
    """Run a tool. The password is in its environment, which others can't read."""
    given = {"connect_timeout": longest_s(url)} | conninfo_to_dict(url)
    password = str(given.pop("password", None) or "")
    at = make_conninfo("", **given)
    command = [str(tool), "--no-password", "--no-owner", "--no-privileges", f"--dbname={at}"]
    if not tool.is_file():
        raise BackupFailed(f"There is no {tool}: set POSTGRES_BIN to the folder of another one.")
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"} | (
        {"PGPASSWORD": password} if password else {}
    )
    done = subprocess.run([*command, *words], capture_output=True, text=True, env=environment)
    if done.returncode:
        said = " ".join((done.stderr.strip() or "it said nothing").split())
        raise BackupFailed(f"{tool.name} failed: {said}")
