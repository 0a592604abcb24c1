"""The poll: a complete job with its quote, ledger and refund, asked for again and again unchanged.

Ours and the ceiling read one row among as many others, by primary key, and answer as many bytes.
"""

import asyncio

import httpx2
import psycopg
from rich.console import Console

from app.client import Client
from app.purchase import Purchase

from .slices import Pair, Target
from .stand import Stand

RATE_TARGET = 0.7
OTHERS = 10_000  # jobs beside the one that is polled, so that Postgres plans as it does in earnest
CEILING_ID = "c" * 32

_FILL = """
INSERT INTO job SELECT (jsonb_populate_record(j, jsonb_build_object('id', md5(n::text)))).*
  FROM job j, generate_series(1, {others}) n;
INSERT INTO invoice SELECT (jsonb_populate_record(i, jsonb_build_object(
       'id', md5(n::text) || ':' || i.purpose, 'job_id', md5(n::text), 'payment_hash',
       md5(n::text) || md5(n::text || i.purpose)))).*
  FROM invoice i, generate_series(1, {others}) n;
INSERT INTO payout SELECT (jsonb_populate_record(p, jsonb_build_object(
       'id', md5(n::text) || ':surplus', 'job_id', md5(n::text)))).*
  FROM payout p, generate_series(1, {others}) n;
CREATE TABLE bench_ceiling (id text PRIMARY KEY, body text NOT NULL);
INSERT INTO bench_ceiling
SELECT md5(n::text), repeat('x', {size}) FROM generate_series(1, {others}) n;
INSERT INTO bench_ceiling VALUES ('{ceiling_id}', repeat('x', {size}));
VACUUM ANALYZE job, invoice, payout, bench_ceiling
"""


def pairs(stand: Stand) -> list[Pair]:
    """Start both servers, buy a job, and return what is to be compared."""
    house, house_port = stand.server("house")
    job_id, etag, size = asyncio.run(_bought(f"http://127.0.0.1:{house_port}"))
    _fill(stand.database_url, size - len(f'{{"id":"{CEILING_ID}","body":""}}'))
    bare, bare_port = stand.server("ceiling")
    ceiling = Target(bare.pid, bare_port, _get(f"/{CEILING_ID}"))
    path = f"/api/jobs/{job_id}"
    whole = Target(house.pid, house_port, _get(path))
    same = Target(house.pid, house_port, _get(path, f"If-None-Match: {etag}\r\n"), 304)
    return [
        Pair("poll, 200 with the whole job", whole, ceiling, RATE_TARGET),
        Pair("poll, 304 to If-None-Match", same, ceiling, RATE_TARGET),
    ]


async def _bought(url: str) -> tuple[str, str, int]:
    """Buy a job and take its refund; return its id, its ETag and the size of its answer."""
    async with Client(url) as client:
        bought = await Purchase(client, Console(quiet=True)).buy("Say what an invoice is.")
    job_id = bought["jobId"]
    async with httpx2.AsyncClient(base_url=url) as http:
        answer = await http.get(f"/api/jobs/{job_id}")
    # Its refund is paid: nothing changes it any more.
    assert answer.json()["costLedger"]["refundState"] == "paid", answer.text
    return job_id, answer.headers["etag"], len(answer.content)


def _fill(database_url: str, size: int) -> None:
    script = _FILL.format(others=OTHERS, size=size, ceiling_id=CEILING_ID)
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in script.split(";\n"):
            connection.execute(statement.encode())


def _get(path: str, more: str = "") -> str:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n{more}\r\n"
