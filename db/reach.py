"""A first connection to a Postgres, or a sentence that says why there is none and how to mend it.

No sentence quotes a password or a whole URL. A server may speak another language than English:
what is not known here is said in its own words.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from db.hosts import SOON_S, are_several, places

WAIT_S = 15
# Whatever the role, the database or the environment say: this is what we write and read.
UTF8: Final = "utf8"


class Unfit(Exception):
    """A database that can't be worked with: what is wrong, and how to mend it."""

    def __init__(self, said: str, mend: str) -> None:
        super().__init__(f"{said}: {mend}.")
        self.said, self.mend = said, mend


@contextlib.contextmanager
def reached(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection that commits each statement. Raises Unfit, whatever Postgres refuses."""
    try:
        place = conninfo_to_dict(url)
    except psycopg.Error:  # its words would quote the URL
        raise Unfit(*_NO_URL) from None
    # A password that isn't escaped ends up in what is taken for the host or the port.
    host, port = str(place.get("host", "")), str(place.get("port", ""))
    if "@" in host or not re.fullmatch(r"[0-9,]*", port):
        raise Unfit(*_NO_URL)
    try:
        with opened(url, autocommit=True) as connection:
            yield connection
    except (psycopg.Error, ValueError) as error:
        raise Unfit(*why(str(error), place)) from None


def opened(url: str, *, autocommit: bool = False) -> psycopg.Connection[Any]:
    """Open a connection. Raises psycopg.Error, or ValueError where a time is no number."""
    wait_s = int(str(conninfo_to_dict(url).get("connect_timeout", longest_s(url))))
    return psycopg.connect(url, autocommit=autocommit, connect_timeout=wait_s, client_encoding=UTF8)


def longest_s(url: str) -> int:
    """Return how long a host that this URL names is waited for, in seconds."""
    return SOON_S if are_several(url) else WAIT_S


_NO_URL = (
    "DATABASE_URL isn't a URL of a Postgres",
    "write it as postgresql://user:password@host:5432/database, and signs of the password other"
    " than letters and digits as %40 and the like",
)
_REASONS = (
    (
        r"password authentication failed|no password supplied|wrong password",
        "Postgres at {at} does not accept the password of the user {user}",
        "correct the user or the password in DATABASE_URL",
    ),
    (
        r'role "[^"]*" (does not exist|is not permitted)|no such user',
        "Postgres at {at} knows no user {user} who may log in",
        "correct the user in DATABASE_URL, or make it with CREATE ROLE … LOGIN",
    ),
    (
        r'database "[^"]*" does not exist|no such database',
        "Postgres at {at} has no database {database}",
        "correct DATABASE_URL, or make it with CREATE DATABASE {database} ENCODING 'UTF8'"
        " TEMPLATE template0",
    ),
    (
        r"permission denied for database",
        "Postgres at {at} does not let the user {user} into the database {database}",
        "run GRANT CONNECT ON DATABASE {database} TO {user} as its owner",
    ),
    (
        r"does not support SSL|SSL off",
        "Postgres at {at} has no TLS, and DATABASE_URL asks for it",
        "turn TLS on there, or leave sslmode out where the way to it is your own",
    ),
    (
        r"certificate|SSL error",
        "The TLS certificate of Postgres at {at} can't be trusted",
        "check sslmode and sslrootcert in DATABASE_URL, and the certificate there",
    ),
    (
        r"no encryption|pg_hba\.conf",
        "Postgres at {at} does not let the user {user} in from here",
        "allow it in pg_hba.conf there; where that asks for TLS, add ?sslmode=require to"
        " DATABASE_URL",
    ),
    (
        r"session is read-only|server is in hot standby mode",
        "No host of Postgres takes writes now ({at})",
        "try again when a standby has taken over; see what the cluster says of its leader",
    ),
    (
        r"could not translate host name|Name or service not known|failed to resolve",
        "The host of Postgres ({at}) has no address",
        "correct the host in DATABASE_URL, or the name service",
    ),
    (
        r"Connection refused|No such file or directory",
        "Postgres does not answer at {at}",
        "start it, or correct host and port in DATABASE_URL",
    ),
    (
        r"timeout expired|timed out|No route to host|Network is unreachable",
        "Postgres can't be reached at {at}",
        "check the network and firewalls on the way, or correct DATABASE_URL",
    ),
    (
        r"too many clients|connection slots|max_client_conn|no more connections",
        "Postgres at {at} has no connection left",
        "raise max_connections there, or lower DATABASE_POOL here",
    ),
    (
        r"starting up|shutting down|in recovery mode",
        "Postgres at {at} is just starting or stopping",
        "try again in a moment",
    ),
)


def why(words: str, place: dict[str, Any]) -> tuple[str, str]:
    """Return what libpq's words mean, and the mend. `place` is the URL in its parts."""
    user = str(place.get("user") or "")
    named = {
        "at": _at(place),
        "user": user or "(none is named)",
        "database": str(place.get("dbname") or user),
    }
    for pattern, said, mend in _REASONS:
        if re.search(pattern, words):
            return said.format(**named), mend.format(**named)
    last = words.strip().splitlines()[-1].strip() if words.strip() else "no reason given"
    said = re.sub(r".*(FATAL|ERROR):\s*", "", last).rstrip(".")
    return f"Postgres does not let us in ({said})", "check DATABASE_URL, and Postgres's own log"


def _at(place: dict[str, Any]) -> str:
    if "," in str(place.get("host")):
        return ", ".join(f"{host}:{port}" for host, port in places(place))
    return ":".join(str(place[part]) for part in ("host", "port") if place.get(part)) or "here"


@dataclass(frozen=True, slots=True)
class Member:
    """One of several hosts: why it lets nobody in, or whether it leads and waits for a standby."""

    at: str
    trouble: str | None = None
    leads: bool = False
    waits: bool = False


def members(url: str) -> list[Member]:
    """Ask each of several hosts how it stands."""
    return [_member(url, host, port) for host, port in places(conninfo_to_dict(url))]


_STANDING = "SELECT pg_is_in_recovery(), current_setting('synchronous_standby_names')"


def _member(url: str, host: str, port: int) -> Member:
    at = f"{host}:{port}"
    try:
        only = make_conninfo(url, host=host, port=port, target_session_attrs="any")
        with reached(only) as connection:
            row = connection.execute(_STANDING).fetchone()
            assert row is not None
            return Member(at, leads=not row[0], waits=row[1] != "")
    except Unfit as unfit:
        return Member(at, unfit.said)
