"""The poll: what is complete, with its quote, ledger and refund, asked for again and again.

Ours and the ceiling read one row among as many others, by primary key, and answer as many bytes.
"""

import asyncio

import psycopg

from .buyers import buy, take_back
from .lines import Line, request
from .prepaid import opened
from .rows import Row, Want
from .slices import Pace, Pair, closed, compare
from .stand import Server, Stand

OTHERS = 10_000  # jobs beside the one that is polled, so that Postgres plans as it does in earnest
CEILING_ID = "c" * 32
WANTS = (Want("rate", least=0.8), Want("cpu", most=1.25))

_FILL = """
INSERT INTO job SELECT (jsonb_populate_record(j, jsonb_build_object('id', md5(n::text)))).*
  FROM job j, generate_series(1, {others}) n WHERE j.session_id IS NULL;
INSERT INTO invoice SELECT (jsonb_populate_record(i, jsonb_build_object(
       'id', md5(n::text) || ':' || i.purpose, 'job_id', md5(n::text), 'payment_hash',
       md5(n::text) || md5(n::text || i.purpose)))).*
  FROM invoice i, generate_series(1, {others}) n WHERE i.job_id IS NOT NULL;
INSERT INTO payout SELECT (jsonb_populate_record(p, jsonb_build_object(
       'id', md5(n::text) || ':surplus', 'job_id', md5(n::text), 'secret', md5(p.secret || n)))).*
  FROM payout p, generate_series(1, {others}) n;
VACUUM ANALYZE job, invoice, payout
"""
_CEILING = """
DROP TABLE IF EXISTS bench_ceiling;
CREATE TABLE bench_ceiling (id text PRIMARY KEY, body text NOT NULL);
INSERT INTO bench_ceiling
SELECT md5(n::text), repeat('x', {size}) FROM generate_series(1, {others}) n;
INSERT INTO bench_ceiling VALUES ('{ceiling_id}', repeat('x', {size}));
VACUUM ANALYZE bench_ceiling
"""


def rows(stand: Stand, pace: Pace) -> list[Row]:
    """Buy a job, and poll it with and without its ETag; then a session's request."""
    url = stand.database()
    ours = stand.server("house", url)
    job_id, etag, size = asyncio.run(bought(ours))
    session = asyncio.run(opened(ours))
    request_id, request_size = asyncio.run(session.asked())
    fill(url)
    bare = stand.server("ceiling", url)
    ceiling = closed(bare, get(f"/{CEILING_ID}"))
    path = f"/api/jobs/{job_id}"
    whole = closed(ours, get(path))
    same = closed(ours, get(path, f"If-None-Match: {etag}\r\n"), status=304)
    answer_as_much(url, size)
    measured = [
        compare(Pair("poll, 200 with the whole job", whole, ceiling, WANTS), stand, pace),
        compare(Pair("poll, 304 to If-None-Match", same, ceiling, WANTS), stand, pace),
    ]
    answer_as_much(url, request_size)
    asked = closed(ours, get(f"{session.path}/requests/{request_id}", session.header))
    wants = (Want("rate"), Want("cpu", most=1.4))
    pair = Pair("poll, a session's request by its macaroon", asked, ceiling, wants)
    return [*measured, compare(pair, stand, pace)]


async def bought(server: Server) -> tuple[str, str, int]:
    """Buy a job and take its refund; return its id, its ETag and the size of its answer."""
    line, holding = Line(server[1]), Line(server[1])
    _, job = await buy(line, holding)
    await take_back(line, job)
    answer = await line.ask(request("GET", f"/api/jobs/{job['jobId']}"))
    # Its refund is paid: nothing changes it any more.
    assert answer.json()["costLedger"]["refundState"] == "paid", answer.body
    line.close()
    holding.close()
    return job["jobId"], answer.header(b"etag"), len(answer.body)


def fill(database_url: str) -> None:
    """Have many more jobs like the one that was bought."""
    run_script(database_url, _FILL, others=OTHERS)


def run_script(database_url: str, script: str, **values: object) -> None:
    """Run statements, each by itself."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in script.format(**values).split(";\n"):
            connection.execute(statement.encode())


def answer_as_much(database_url: str, size: int) -> None:
    """Have the ceiling answer with so many bytes, or as few as it can."""
    rest = max(0, size - len(f'{{"id":"{CEILING_ID}","body":""}}'))
    run_script(database_url, _CEILING, others=OTHERS, size=rest, ceiling_id=CEILING_ID)


def get(path: str, more: str = "") -> str:
    """Return a GET as it goes over the wire; `more` are header lines, each with its end."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n{more}\r\n"


def post(path: str, more: str = "", body: str = "") -> str:
    """Return a POST as it goes over the wire."""
    length = f"Content-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n"
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}{length}\r\n{body}"
