"""A database with the history of ten million jobs, of a year, beside one of ten thousand: what is
done all day takes as long; and a month of it is dropped while jobs go on being created.

What is filled in is slim, so that it fits on a disk: of each job its row, one invoice, its account
in the books and three lines of history; no text longer than a word, no bolt11, no refund. Their
names are evenly spread, as those of real ones are, and come in order, as that is written quickly.
It takes 18 GB and a quarter of an hour, so it is measured when it is asked for by name only.
"""

import asyncio
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

import psycopg

from db import months
from db.engine import Database

from .buyers import REQUEST
from .filling import unheard_of
from .growth import claimed_from
from .polls import bought, get, post
from .rows import Row, Side, Verdict, Want
from .slices import Pace, Pair, closed, compare, in_turn, measured, percentile, row_of
from .stand import Server, Stand

FEW, MANY = 10_000, 10_000_000
QUICK_MANY = 20_000
POLLED = 1_000
PROMISES = 1_000
CHUNK = 100_000
TOKEN = "of the measurement's operator"
WANTS = (Want("p50", most=1.3), Want("p99"))
YEAR = 12  # months that it is spread over

# The n-th of so many names, evenly spread over all that there can be, in their order; and where it
# is one of those that are asked for, its job is whole.
_NAMED = """
SELECT n, lpad(to_hex((n - {count} / 2) * {step} # {least}), 16, '0')
          || lpad(to_hex(n::bigint * 7919), 16, '0') AS id,
       date_trunc('month', now(), 'UTC') - interval '{year} months'
         + n * (interval '{year} months' / {count}) AS at, n % {every} = 0 AS is_asked
  FROM generate_series({first}, {last}) n
"""
_SLIM = {
    "job": {
        "id": "m.id", "request": "'hello'", "result": "'hello'", "created_at": "m.at",
        "updated_at": "m.at", "completed_at": "m.at", "quote": "CASE WHEN is_asked THEN quote END",
        "charge": "CASE WHEN is_asked THEN charge END",
    },
    "invoice": {
        "id": "m.id || ':work'", "job_id": "m.id", "bolt11": "NULL", "preimage": "NULL",
        "payment_hash": "m.id || m.id", "created_at": "m.at", "expires_at": "m.at",
        "settled_at": "m.at",
    },
    "account": {"name": "'job:' || m.id"},
    "job_history": {"job_id": "m.id", "at": "m.at"},
}  # fmt: skip
_LIKE = {
    "job": "id = %(id)s",
    "invoice": "id = %(id)s || ':work'",
    "account": "name = 'job:' || %(id)s",
    "job_history": "job_id = %(id)s AND (version = 1 OR version >= (SELECT version - 1 FROM job"
    " WHERE id = %(id)s))",
}
_COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attnum > 0
   AND NOT attisdropped ORDER BY attnum
"""
_PROMISES = """
INSERT INTO procrastinate_jobs (queue_name, task_name, lock, args)
SELECT 'promises', 'Judge', md5(n::text) || ':judge', jsonb_build_object('job_id', md5(n::text))
  FROM generate_series(1, %(count)s::int) n
"""
# The months of the year before: nobody made them, as nothing was written then.
_PAST = """
ALTER TABLE job_history DETACH PARTITION job_history_before;
DO $$
DECLARE
  first timestamptz := date_trunc('month', now(), 'UTC');
BEGIN
  FOR n IN REVERSE {year} .. 1 LOOP
    EXECUTE format('CREATE TABLE job_history_%s PARTITION OF job_history FOR VALUES FROM (%L)'
                   ' TO (%L)', to_char((first - n * interval '1 month') AT TIME ZONE 'UTC',
                                        'YYYY_MM'),
                   first - n * interval '1 month', first - (n - 1) * interval '1 month');
  END LOOP;
  EXECUTE format('ALTER TABLE job_history ATTACH PARTITION job_history_before FOR VALUES'
                 ' FROM (MINVALUE) TO (%L)', first - {year} * interval '1 month');
END $$
"""


@dataclass(frozen=True)
class Old:
    """A database with so many jobs that are over, and a server on it."""

    count: int
    database_url: str
    server: Server
    job_ids: list[str]


def rows(stand: Stand, pace: Pace) -> Iterator[Row]:
    """Fill both, compare what is done all day, and drop a month."""
    count = QUICK_MANY if pace.quick else MANY
    with unheard_of(stand):
        large, small = _old(stand, count), _old(stand, FEW)
        names = (f"{large.count:,} jobs", f"{small.count:,} jobs")
        for name, ask in QUESTIONS.items():
            requests, status = ask(large), 201 if name == "create" else 200
            pair = Pair(
                f"{name}, with a year of history",
                closed(large.server, *requests, status=status, connections=1),
                closed(small.server, *ask(small), status=status, connections=1),
                WANTS,
                names,
            )
            yield compare(pair, stand, pace)
        hand = stand.process("claims")
        taking = [claimed_from(hand, old.database_url, pace, stand) for old in (large, small)]
        both = in_turn(taking[0], taking[1], pace.rounds())
        yield row_of("claim of the next promise, with a year of history", both, WANTS, names)
        yield _dropped(large, stand, pace)


QUESTIONS: dict[str, Callable[[Old], list[str]]] = {
    "poll": lambda old: [get(f"/api/jobs/{job_id}") for job_id in old.job_ids],
    "create": lambda _: [post("/api/jobs", "", REQUEST)],
    "operator page": lambda _: [get("/operator", f"Authorization: Bearer {TOKEN}\r\n")],
}


def _old(stand: Stand, count: int) -> Old:
    url, folder = stand.database(), str(stand.folder / f"old-{count}")
    with stand.apart():
        job_id, _, _ = asyncio.run(bought(stand.server("house", url, folder=folder)))
    began = monotonic()
    _fill(url, job_id, count)
    stand.admin("CHECKPOINT")  # written now, and not while it is measured
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_PROMISES.encode(), {"count": PROMISES})
        connection.execute("ANALYZE")
        told = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        asked = f"SELECT id FROM ({_named(count, 1, count)}) m WHERE is_asked"
        there = connection.execute(asked.encode())
        ids = [name for (name,) in there.fetchall()]
    size_gb = (told[0] if told else 0) / 1e9
    print(f"{count:,} jobs: {size_gb:.1f} GB, {monotonic() - began:.0f} s", flush=True)
    settings = {"OPERATOR_TOKEN": TOKEN}
    server = stand.server("house", url, worker=False, folder=folder, settings=settings)
    return Old(count, url, server, ids)


def _named(count: int, first: int, last: int) -> str:
    half = count // 2
    parts = {"step": (2**63 - 1) // half, "least": f"'{-(2**63)}'::bigint", "year": YEAR}
    every = max(1, count // POLLED)
    return _NAMED.format(count=f"{count}::bigint", first=first, last=last, every=every, **parts)


def _fill(url: str, job_id: str, count: int) -> None:
    """Add so many jobs like this one, each table by one of two who write at once."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_PAST.format(year=YEAR).encode())
    with ThreadPoolExecutor(2) as both:
        tables = [("job", "account"), ("job_history", "invoice")]
        list(both.map(lambda some: _copy(url, job_id, count, some), tables))


def _copy(url: str, job_id: str, count: int, tables: Sequence[str]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        # Neither triggers nor foreign keys: what is copied went through all of them once.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        for table in tables:
            found = connection.execute(_COLUMNS.encode(), {"table": table}).fetchall()
            connection.execute(
                f"CREATE TEMP TABLE like_{table} AS SELECT * FROM {table} WHERE"
                f" {_LIKE[table]}".encode(),
                {"id": job_id},
            )
            columns = [name for (name,) in found]
            values = [_SLIM[table].get(column, f"l.{column}") for column in columns]
            insert = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)}"
            for first in range(1, count + 1, CHUNK):
                named = _named(count, first, min(count, first + CHUNK - 1))
                connection.execute(f"{insert} FROM ({named}) m, like_{table} l".encode())


def _dropped(large: Old, stand: Stand, pace: Pace) -> Row:
    """Drop the oldest months while jobs are created, one after the other."""
    target = closed(large.server, post("/api/jobs", "", REQUEST), status=201, connections=1)
    before = measured(target, stand, pace)
    with ThreadPoolExecutor(1) as beside:
        creating = beside.submit(measured, target, stand, pace)
        took_ms, leaving_ms, lines = asyncio.run(_drop(large.database_url))
        during = creating.result()
    worst = {name: max(each.latencies_us) / 1000 for name, each in
             (("before", before), ("during", during))}  # fmt: skip
    told = {
        "ms to detach and drop, the longest": leaving_ms,
        "ms with what is kept of it, the longest": max(took_ms),
        "ms with what is kept of it, each": statistics.median(took_ms),
        "lines of the largest": float(lines),
        "ms, the slowest create before": worst["before"],
        "ms, the slowest create meanwhile": worst["during"],
        "ms, p99 of create meanwhile": percentile(during.latencies_us, 99) / 1000,
    }
    verdict = Verdict("ms to drop a month", leaving_ms, Want("drop", most=1_000))
    return Row("a month is dropped", {"Boltwork": Side(more=told)}, (verdict,), 1, 1, 0.0)


async def _drop(database_url: str) -> tuple[list[float], int, int]:
    """Drop the oldest months, one after the other; return how long each took, with all that is
    kept of it; the longest time that one took to go; and the lines of the largest.
    """
    db = Database(database_url, 1)
    await db.open()
    took_ms, longest_ms, most = list[float](), 0, 0
    try:
        now = datetime.now(UTC)
        for kept in range(YEAR, YEAR - 4, -1):
            oldest = (await months.months(db))[0].name
            row = await db.read_one(
                f"SELECT reltuples::bigint AS n FROM pg_class WHERE relname = '{oldest}'"
            )
            began = monotonic()
            done = await months.keep(db, now, months.months_before(now, kept))
            assert done.dropped == (oldest,), done
            took_ms.append((monotonic() - began) * 1000)
            longest_ms = max(longest_ms, done.longest_ms)
            most = max(most, int(row["n"]) if row else 0)
    finally:
        await db.close()
    return took_ms, longest_ms, most
