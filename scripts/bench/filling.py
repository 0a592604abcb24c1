"""Fills a database with jobs that are over: every row of one that was really bought, over and over
under other names, in every table that it wrote to. The planner hears of the first thousand, and
of the others when it is told to.
"""

import contextlib
from collections.abc import Iterator

import psycopg

from .stand import Stand

CHUNK = 50_000
KNOWN = 1_000  # how many there were when the planner last heard of them
SPACED = 1_000  # so far apart are the entries of two jobs in the ledger: no bought job has more

_HASHES = """
SELECT payment_hash FROM invoice WHERE job_id = %(id)s
UNION SELECT payment_hash FROM payout_attempt WHERE payout_id LIKE %(id)s || ':%%'
"""
_LIKE = "CREATE TEMP TABLE like_{table} AS SELECT * FROM {table} WHERE {where}"
_COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attnum > 0
   AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""
_WHERE = {
    "job": "id = %(id)s",
    "job_history": "job_id = %(id)s",
    "invoice": "job_id = %(id)s",
    "payout": "job_id = %(id)s",
    "payout_attempt": "payout_id LIKE %(id)s || ':%%'",
    "entry": "id IN (SELECT entry_id FROM posting WHERE account LIKE '%%:' || %(id)s || '%%')",
    "posting": "entry_id IN (SELECT id FROM like_entry)",
    "account": "name LIKE '%%:' || %(id)s || '%%'",
}
# What is renamed, and what is moved on by the number of the job.
_CHANGED = {
    "job": ("id",),
    "job_history": ("job_id",),
    "invoice": ("id", "job_id", "payment_hash"),
    "payout": ("id", "job_id"),
    "payout_attempt": ("payout_id", "payment_hash"),
    "entry": ("key",),
    "posting": ("account",),
    "account": ("name",),
}
_SECRET = {"payout": "secret"}  # no two have the same
_MOVED = {"entry": "id", "posting": "entry_id"}
_PROMISES = """
INSERT INTO procrastinate_jobs (queue_name, task_name, lock, args)
SELECT 'promises', 'Judge', md5(n::text) || ':judge', jsonb_build_object('job_id', md5(n::text))
  FROM generate_series(%(first)s::int, %(last)s::int) n
"""


# Nothing is analysed by itself; and a fill does not write each page of each index to the log anew.
_MEANWHILE = {"autovacuum": "off", "full_page_writes": "off", "max_wal_size": "'4GB'"}


@contextlib.contextmanager
def unheard_of(stand: Stand) -> Iterator[None]:
    """Have the planner hear of nothing that is filled in, as long as the block lasts."""
    for name, value in _MEANWHILE.items():
        stand.admin(f"ALTER SYSTEM SET {name} = {value}")
    stand.admin("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        for name in _MEANWHILE:
            stand.admin(f"ALTER SYSTEM RESET {name}")
        stand.admin("SELECT pg_reload_conf()")


def _parts(count: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of numbers: those that the planner hears of, then all others."""
    yield 1, KNOWN
    for first in range(KNOWN + 1, count + 1, CHUNK):
        yield first, min(count, first + CHUNK - 1)


def fill_promises(database_url: str, count: int) -> None:
    """Have so many promises wait to be kept."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        for first, last in _parts(count):
            connection.execute(_PROMISES.encode(), {"first": first, "last": last})
            if last == KNOWN:
                connection.execute("ANALYZE")


def fill_jobs(database_url: str, job_id: str, count: int) -> None:
    """Add so many jobs like this one."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        # Neither triggers nor foreign keys: what is copied went through all of them once.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        of = {"id": job_id}
        hashes = [found for (found,) in connection.execute(_HASHES.encode(), of)]
        copies = []
        for table, where in _WHERE.items():
            connection.execute(_LIKE.format(table=table, where=where).encode(), of)
            columns = connection.execute(_COLUMNS.encode(), {"table": table}).fetchall()
            copies.append(_copy(table, [name for (name,) in columns], job_id, hashes))
        for first, last in _parts(count):
            for copy in copies:
                connection.execute(copy.encode(), {"first": first, "last": last})
            if last == KNOWN:
                connection.execute("ANALYZE")
        connection.execute(
            "SELECT setval(pg_get_serial_sequence('entry', 'id'), (SELECT max(id) FROM entry))"
        )


def _copy(table: str, columns: list[str], job_id: str, hashes: list[str]) -> str:
    """Return what copies a table's rows of the bought job, for each number of a range."""
    values = []
    for column in columns:
        value = f"l.{column}"
        if column in _CHANGED[table]:
            value = f"replace({value}, '{job_id}', named.of_job)"
            for number, old in enumerate(hashes):
                value = f"replace({value}, '{old}', named.of_{number})"
        elif column == _SECRET.get(table):
            value = f"md5({value} || named.of_job)"
        elif column == _MOVED.get(table):
            value += f" + {SPACED} * n::bigint"
        values.append(value)
    names = "".join(
        f", md5(n || '{old[:8]}') || md5('{old[:8]}' || n) AS of_{number}"
        for number, old in enumerate(hashes)
    )
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)}"
        f" FROM (SELECT n, md5(n::text) AS of_job{names}"
        f" FROM generate_series(%(first)s::int, %(last)s::int) n OFFSET 0) named, like_{table} l"
    )


# Each copy is a payer's next items, whose turns come after all that were there before.
_COPIES = """
INSERT INTO item ({names})
SELECT {values} FROM item l, generate_series(%(first)s::int, %(last)s::int) n
 WHERE l.place <= {place}
"""
_COPIED = {
    "id": "md5(l.id || n)",
    "place": "l.place + n * {place}::bigint",
    "rank": "l.rank + n * {rank}::bigint",
}
COPIES = 50  # of all items in one statement


def copies(database_url: str, times: int) -> None:
    """Add so many copies of all items that wait."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        found = connection.execute(_COLUMNS.encode(), {"table": "item"}).fetchall()
        most = connection.execute("SELECT max(place), max(rank) FROM item").fetchone()
        assert most is not None
        place, rank = most
        names = [name for (name,) in found]
        values = [_COPIED.get(name, f"l.{name}").format(place=place, rank=rank) for name in names]
        insert = _COPIES.format(
            names=", ".join(names), values=", ".join(values), place=place
        ).encode()
        for first in range(1, times + 1, COPIES):
            last = min(times, first + COPIES - 1)
            connection.execute(insert, {"first": first, "last": last})


def analyse(database_url: str) -> None:
    """Have the planner learn what is there."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
