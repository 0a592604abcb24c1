"""A connection to Postgres that nobody waits for without end.

What lies between may take all that is sent, acknowledge it, and pass nothing on: no error ever
comes of that. So every answer has a deadline, what misses it is closed, and a connection that lay
idle is asked for a word before it is used. A missed deadline may be that of a server which is busy;
one that has answered a newer connection meanwhile is not: then the older one is silent, and what
waits on others of its age is ended soon.
"""

import asyncio
import os
import select
import socket
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from time import monotonic
from typing import Any, Self, TypeVar

import orjson
import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import _WaitTimeout
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import JsonbDumper, set_json_loads
from psycopg.types.numeric import Int8Dumper
from psycopg_pool import AsyncConnectionPool

from db.going import times_cancelled
from db.hosts import LASTING_OF_SEVERAL, Hosts, Place, are_several
from db.reach import UTF8

T = TypeVar("T")

ANSWER_S = 10.0  # longest wait for one answer
IDLE_S = 5  # how long a transaction of ours may be open with nothing done in it
STATEMENT_S = 8  # Postgres itself gives up a slow one before: that is no silence
PING_S = 3.0  # longest wait for a word of a connection that lay idle
SUSPECT_S = 1.0  # longest wait for an answer where others of its age were found to be silent
QUIET_S = 5.0  # how long it may have lain without being asked for one
CONNECT_S = 10

# What the operating system finds out by itself: an end that is gone, and not one that hangs.
LASTING: dict[str, Any] = {
    "connect_timeout": CONNECT_S,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

# Postgres does not hear either that we have left a link that passes nothing on: it would keep the
# session, and one of its few places, for hours. What is ours and alive says something more often.
# And each statement is planned once: by itself Postgres plans one that takes a list anew each time,
# which costs more than all else that such a statement does. Nor is it compiled: that takes Postgres
# tens of milliseconds each time, of a statement that it thinks to be long and that runs for one.
# Nor by reading a table to its end where there is an index: of a table with few rows in it that is
# the cheaper plan, and it would still be used when there are millions.
SESSION = b"""
SELECT set_config(name, value, false) FROM (VALUES
 ('idle_session_timeout', '30s'), ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'),
 ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '30000'),
 ('plan_cache_mode', 'force_generic_plan'), ('jit', 'off'), ('enable_seqscan', 'off')
 ) AS wanted(name, value)
 WHERE current_setting(name, true) IS NOT NULL
"""

# States of the server, whoever asks and whatever for. A connection that was told of one of the
# second kind is of no more use: after a failover, another server answers on new ones. Of no more
# use is also one whose statements were prepared for tables that are others by now.
NOT_OURS = ("25006", "25P04", "53", "57P", "58", "F0", "XX")
OUTDATED = "0A000"  # feature_not_supported: "cached plan must not change result type"
USELESS = (OUTDATED, "25006", "25P04", "57P", "58", "XX")

# A pooler between us and Postgres names its own: what is no session of ours is left alone. So is a
# commit that waits for its standby: ended, it would be seen by everybody, and lost in a failover.
END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE pid = ANY(%(pids)s) AND usename = current_user AND application_name LIKE 'boltwork%%'
   AND wait_event IS DISTINCT FROM 'SyncRep'
"""

_patience_s: ContextVar[float] = ContextVar("patience_s", default=ANSWER_S)


class Silent(psycopg.OperationalError):
    """Postgres did not answer in time. Whether it ran the statement is not known."""


@contextmanager
def patient(longest_s: float) -> Iterator[None]:
    """Wait so long for each answer, in this block."""
    token = _patience_s.set(longest_s)
    try:
        yield
    finally:
        _patience_s.reset(token)


def lasting(url: str) -> dict[str, Any]:
    """Return how connections of this URL are made to last, but for what it says itself."""
    said = conninfo_to_dict(url)
    wanted = LASTING | (LASTING_OF_SEVERAL if are_several(url) else {})
    kept = {name: value for name, value in wanted.items() if name not in said}
    return {"client_encoding": UTF8, **kept}


def is_not_ours(error: BaseException | None) -> bool:
    """Say whether the server refused for a reason of its own, whatever was asked."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(NOT_OURS)


class Line(psycopg.AsyncConnection[DictRow]):
    """A connection whose every answer has a deadline."""

    lost: Callable[["Line", str], None] | None = None  # told when it was found to be of no use

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.opened_s = self.answered_s = monotonic()
        self.asked_s: float | None = None  # since when it waits for what it is told
        self.is_suspect = False
        self.pid = 0  # of the other end, as Postgres counts its processes
        self.place: Place = ("", 0)  # where that is

    @classmethod
    async def connect(cls, *arguments: Any, **options: Any) -> Self:
        """See AsyncConnection. The session ends by itself when it is left alone."""
        connection = await super().connect(*arguments, **options)
        connection.pid = connection.info.backend_pid
        connection.place = connection.info.host, connection.info.port
        try:
            await connection.set_autocommit(True)
            await connection.execute(SESSION)
            await connection.set_autocommit(bool(options.get("autocommit")))
        except BaseException:
            await connection.close()
            raise
        return connection

    async def wait(  # its name and those of its arguments are psycopg's
        self,
        gen: PQGen[T],
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> T:
        """See AsyncConnection. Closes it when no answer comes in time."""
        longest_s = _patience_s.get() if timeout is None else timeout
        if self.is_suspect:
            longest_s = min(longest_s, SUSPECT_S)
        self.asked_s = monotonic()
        try:
            answer = await super().wait(gen, interval, longest_s)
        except _WaitTimeout:
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise  # nothing was asked: it only listened
            self._lose("silent")
            raise Silent(f"Postgres did not answer within {longest_s:g} s") from None
        except psycopg.Error as error:
            if (error.sqlstate or "").startswith(USELESS):
                self._lose(error.sqlstate or "")
            raise
        finally:
            self.asked_s = None
        self.answered_s = monotonic()
        return answer

    async def is_committed(self) -> bool:
        """Commit; say whether it is. Postgres answers ROLLBACK where a statement has failed."""
        # After one in a pipeline, Postgres 18 ends hardly any session that is left alone.
        ended = await self.execute(b"COMMIT", prepare=False)
        if ended.statusmessage not in ("COMMIT", "ROLLBACK"):
            await self.close()
            raise psycopg.OperationalError("COMMIT was not answered: it may be written")
        return ended.statusmessage == "COMMIT"

    def _lose(self, why: str) -> None:
        self.pgconn.finish()  # sends nothing that it would have to wait for
        if self.lost is not None:
            self.lost(self, why)

    def suspect(self) -> bool:
        """Wait no longer than a moment for any answer, that which is waited for now included.

        Says whether it has waited that long already: then whoever waits is told so at once.
        """
        self.is_suspect = True
        if self.asked_s is None:
            return False
        left_s = self.asked_s + SUSPECT_S - monotonic()
        if left_s <= 0:
            self.cut()
            return True
        asyncio.get_running_loop().call_later(left_s, self._cut_what_waits_since, self.asked_s)
        return False

    def _cut_what_waits_since(self, asked_s: float) -> None:
        if self.asked_s == asked_s:
            self.cut()

    def cut(self) -> None:
        """Have whoever waits for an answer be told at once that the connection broke."""
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self.fileno())) as own:
            own.shutdown(socket.SHUT_RDWR)

    def is_ended(self) -> bool:
        """Say whether Postgres speaks unasked: nobody speaks to an idle line but to end it."""
        ear = select.poll()
        ear.register(self.fileno(), select.POLLIN)
        return bool(ear.poll(0))

    async def answers(self) -> bool:
        """Say whether an idle connection can be used."""
        # Whoever is cancelled as he enters a pipeline leaves it open, if his loop was busy: all
        # that is sent in it, a COMMIT too, would be answered to nobody.
        if self.is_ended() or self.pgconn.pipeline_status != PipelineStatus.OFF:
            return False
        if monotonic() - self.answered_s < QUIET_S:
            return True
        with patient(PING_S), suppress(psycopg.Error):
            await AsyncConnectionPool.check_connection(self)
            return True
        return False


class Lines(AsyncConnectionPool[Line]):
    """A pool that hands out no connection which says nothing."""

    distrusts_s = 0.0  # no connection that was opened before this is handed out (time.monotonic)

    async def getconn(self, timeout: float | None = None) -> Line:  # noqa: ASYNC109
        """See AsyncConnectionPool."""
        until_s = monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            before = times_cancelled()
            connection = await super().getconn(until_s - monotonic())
            usable = False
            try:
                if times_cancelled() > before:  # as the connection came: swallowed by the pool
                    raise CancelledError
                usable = connection.opened_s > self.distrusts_s and await connection.answers()
            finally:
                if not usable:
                    await connection.close()
                    await self.putconn(connection)
            if usable:
                return connection

    def usage(self) -> tuple[int, int, int]:
        """Return its connections: at most, open, and in use now."""
        stats = self.get_stats()
        opened = stats.get("pool_size", 0)
        return self.max_size, opened, opened - stats.get("pool_available", 0)


async def to_read(connection: Line) -> None:
    """Make a new connection one to read with."""
    # Not among the arguments of connect: the task engine opens its listener with those and more.
    await connection.set_autocommit(True)
    # With json's own, a poll's SELECT costs a third more.
    set_json_loads(orjson.loads, connection)


async def to_write(connection: Line) -> None:
    """Make a new connection one to write with."""
    # A transaction begins by itself: psycopg would wait for the answer to its own BEGIN.
    await connection.set_autocommit(True)
    # Nothing waits inside a transaction: whoever does stands still, and holds up who waits for the
    # rows it has locked.
    for name, most_s in (
        ("idle_in_transaction_session_timeout", IDLE_S),
        ("statement_timeout", STATEMENT_S),
        ("transaction_timeout", IDLE_S + STATEMENT_S),  # since Postgres 17
    ):
        await connection.execute(_LIMIT, {"name": name, "most": f"{most_s}s"})
    set_json_loads(orjson.loads, connection)
    connection.adapters.register_dumper(dict, JsonbDumper)
    # Every integer as a bigint: by their size, one statement would be prepared many times over.
    connection.adapters.register_dumper(int, Int8Dumper)


_LIMIT = "SELECT set_config(name, %(most)s, false) FROM pg_settings WHERE name = %(name)s"


def pool_of(hosts: Hosts, most: int, configure: Callable[[Line], Any], patience_s: float) -> Lines:
    """Return a pool of connections to one Postgres, not opened yet."""
    return Lines(
        hosts.conninfo,
        connection_class=Line,
        min_size=min(2, most),
        max_size=most,
        timeout=patience_s,
        # Given up soon, and begun anew by whoever asks next: its pauses would grow to minutes.
        reconnect_timeout=3,
        open=False,
        configure=configure,
        kwargs={
            "prepare_threshold": 0,
            "row_factory": dict_row,
            "application_name": "boltwork",
            **lasting(hosts.url),
        },
    )
