"""Fills a database with jobs that are over: every row of one that was really bought, over and over
under other names, in every table that it wrote to. Whoever measures says when the planner hears
of it.
"""

import contextlib
from collections.abc import Iterator

import psycopg

from .stand import Stand

CHUNK = 50_000
SPACED = 1_000  # so far apart are the entries of two jobs in the ledger: no bought job has more

# {id} and the hashes of the bought job, as text that is replaced in keys and names.
_NAMES = """
CREATE TEMP TABLE named AS
SELECT 1 AS place, %(id)s::text AS old, '' AS salt UNION ALL
SELECT 1 + row_number() OVER (ORDER BY payment_hash), payment_hash, right(payment_hash, 8) FROM (
  SELECT payment_hash FROM invoice WHERE job_id = %(id)s UNION
  SELECT payment_hash FROM payout_attempt WHERE payout_id LIKE %(id)s || ':%%') AS hashes
"""
_RENAME = """
CREATE FUNCTION pg_temp.renamed(name text, n bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE one record;
BEGIN
  FOR one IN SELECT * FROM named ORDER BY place LOOP
    IF position(one.old IN name) > 0 THEN
      RETURN replace(name, one.old, CASE one.place WHEN 1 THEN md5(n::text)
                     ELSE md5(n || one.salt) || md5(one.salt || n) END);
    END IF;
  END LOOP;
  RETURN name;
END $$
"""
_LIKE = """
CREATE TEMP TABLE like_{table} AS SELECT t AS it FROM {table} t WHERE {where}
"""
_WHERE = {
    "job": "id = %(id)s",
    "job_history": "job_id = %(id)s",
    "invoice": "job_id = %(id)s",
    "payout": "job_id = %(id)s",
    "payout_attempt": "payout_id LIKE %(id)s || ':%%'",
    "entry": "id IN (SELECT entry_id FROM posting WHERE account LIKE '%%:' || %(id)s || '%%')",
    "posting": "entry_id IN (SELECT (it).id FROM like_entry)",
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
_MOVED = {"job_history": "id", "entry": "id", "posting": "entry_id"}
_PROMISES = """
INSERT INTO procrastinate_jobs (queue_name, task_name, lock, args)
SELECT 'promises', 'Judge', md5(n::text) || ':judge', jsonb_build_object('job_id', md5(n::text))
  FROM generate_series(1, %(count)s::int) n
"""


@contextlib.contextmanager
def unheard_of(stand: Stand) -> Iterator[None]:
    """Have nothing analysed by itself, as long as the block lasts."""
    stand.admin("ALTER SYSTEM SET autovacuum = off")
    stand.admin("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        stand.admin("ALTER SYSTEM RESET autovacuum")
        stand.admin("SELECT pg_reload_conf()")


def fill_promises(database_url: str, count: int) -> None:
    """Have so many promises wait to be kept."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("ANALYZE")  # when there was none: all that the planner will know
        connection.execute(_PROMISES.encode(), {"count": count})


def fill_jobs(database_url: str, job_id: str, count: int) -> None:
    """Add so many jobs like this one."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        # Neither triggers nor foreign keys: what is copied went through all of them once.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        connection.execute("ANALYZE")  # when there was one job: all that the planner will know
        of = {"id": job_id}
        connection.execute(_NAMES.encode(), of)
        connection.execute(_RENAME.encode())
        for table, where in _WHERE.items():
            connection.execute(_LIKE.format(table=table, where=where).encode(), of)
        for first in range(1, count + 1, CHUNK):
            part = {"first": first, "last": min(count, first + CHUNK - 1)}
            for table in _WHERE:
                connection.execute(_copy(table).encode(), part)
        for table, column in _MOVED.items():
            if table != "posting":
                connection.execute(
                    f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'),"
                    f" (SELECT max({column}) FROM {table}))".encode()
                )


def _copy(table: str) -> str:
    changes = [f"'{column}', pg_temp.renamed((l.it).{column}, n)" for column in _CHANGED[table]]
    if table in _MOVED:
        changes.append(f"'{_MOVED[table]}', (l.it).{_MOVED[table]} + {SPACED} * n::bigint")
    return (
        f"INSERT INTO {table} SELECT (jsonb_populate_record(l.it,"
        f" jsonb_build_object({', '.join(changes)}))).*"
        f" FROM like_{table} l, generate_series(%(first)s::int, %(last)s::int) n"
    )


def analyse(database_url: str) -> None:
    """Have the planner learn what is there."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
