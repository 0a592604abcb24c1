"""Tables with twenty thousand rows of what is over and a few of what is not, and a Database that
has Postgres explain each statement before it is run.
"""

import itertools
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from db.connection import Line
from db.engine import Asked, Database, Tx
from db.rows import R
from db.statements import Columns

ROWS = 20_000
OPEN_ROWS = 5

# What is over is old; the last few rows of each are not over, and due.
_FILL = """
SET session_replication_role = replica;
CREATE TEMP TABLE n AS SELECT i, md5(i::text) AS id, i > {rows} - {open_rows} AS is_open,
       now() - interval '30 days' + i * interval '1 minute' AS at,
       now() - interval '2 years' + i * interval '1 minute' AS long_ago  -- before all months
  FROM generate_series(1, {rows}) i;
INSERT INTO session (id, state, version, minimum_msat, reserved_msat, topups, rests, nonce,
                     credential_used_at, created_at, updated_at, expires_at)
SELECT id, CASE WHEN is_open THEN 'active' ELSE 'expired' END, 1, 50000, 0, 0, 0, id, at, at, at,
       CASE WHEN is_open THEN now() - interval '1 second' ELSE at END FROM n;
INSERT INTO user_account (id, created_at, last_login_at) SELECT id, at, at FROM n;
INSERT INTO identity (kind, name, account_id, secret, created_at)
SELECT 'password', 'name' || i, id, id, at FROM n;
INSERT INTO login (sha256, id, account_id, by, created_at, expires_at)
SELECT id || id, id, id, 'password', at, at FROM n;
INSERT INTO job (id, state, version, request, eval_msat, session_id, funding, created_at,
                 updated_at, completed_at, credential)
SELECT md5('job' || i), CASE WHEN is_open THEN 'executing' ELSE 'complete' END, 2,
       repeat('Say hello. ', 10), 5000, CASE WHEN i % 2 = 0 THEN id END,
       CASE WHEN i % 2 = 0 THEN 'session' ELSE 'invoices' END, long_ago, long_ago, long_ago,
       ARRAY[id] FROM n;
INSERT INTO job_history (job_id, version, event, state, at)
SELECT md5('job' || i), version, 'finished', 'complete', long_ago
  FROM n, generate_series(1, 2) version;
INSERT INTO job_history_earlier (job_id, version, event, state, at)
SELECT md5('job' || -i), 1, 'finished', 'complete', long_ago FROM n;
INSERT INTO invoice (id, job_id, session_id, purpose, state, amount_msat, bolt11, payment_hash,
                     wallet, created_at, expires_at, settled_at, check_at, checks)
SELECT md5('job' || i) || ':eval', CASE WHEN i % 2 = 1 THEN md5('job' || i) END,
       CASE WHEN i % 2 = 0 THEN id END, CASE WHEN i % 2 = 1 THEN 'eval' ELSE 'deposit' END,
       CASE WHEN is_open THEN 'open' ELSE 'settled' END, 5000, repeat('lnbcrt', 30),
       id || id, 'wallet ' || i / 1000, at,
       CASE WHEN is_open THEN now() - interval '1 minute' ELSE at END, at,
       CASE WHEN is_open THEN now() - interval '1 minute' END, 0 FROM n;
INSERT INTO wallet_transfer (payment_hash, bolt11, rail, from_wallet, to_wallet, amount_msat,
                             outcome, expires_at, began_at)
SELECT md5('transfer' || i), repeat('lnbcrt', 30), 'rail', 'wallet ' || i, 'wallet', 1000,
       CASE WHEN is_open THEN 'live' ELSE 'settled' END, at, at FROM n;
INSERT INTO payout (id, job_id, reason, state, amount, attempts, failures, note, created_at,
                    updated_at, paid_at)
SELECT md5('job' || i) || ':surplus', md5('job' || i), 'surplus',
       CASE WHEN is_open THEN 'in_flight' ELSE 'paid' END, 5000, 1, 0, repeat('Paid. ', 300),
       at, at, at FROM n;
INSERT INTO payout (id, account_id, reason, state, amount, attempts, failures, created_at,
                    updated_at, paid_at)
SELECT whose.id || ':withdrawal' || n.i, whose.id, 'withdrawn', 'paid', 5000, 1, 0, n.at, n.at, n.at
  FROM n CROSS JOIN LATERAL (SELECT CASE WHEN n.i % 50 = 0 THEN md5(({rows} / 2)::text)
       ELSE n.id END AS id) whose WHERE NOT n.is_open;
INSERT INTO payout_attempt (payment_hash, payout_id, number, bolt11, fee_limit_msat, sent_msat,
                            borne_msat, free_msat, expires_at, outcome, check_at, checks)
SELECT md5('paid' || i) || id, md5('job' || i) || ':surplus', 1, repeat('lnbcrt', 30), 1000, 5000,
       1000, 0, at,
       CASE WHEN is_open THEN 'live' ELSE 'settled' END,
       CASE WHEN is_open THEN now() - interval '1 minute' END, 0 FROM n;
INSERT INTO usdc_attempt (payout_id, number, network, payer, payee, amount_microusdc, expires_at,
                          outcome, txid, checks)
SELECT md5('job' || i) || ':surplus', 1, 'eip155:8453', 'us', md5('payee' || i), 5000, at,
       'settled', md5('tx' || i), 9 FROM n;
INSERT INTO account (name, asset, kind, balance)
SELECT 'session:' || id, 'msat', 'liability', 1000000 FROM n
UNION ALL SELECT 'job:' || md5('job' || i), 'msat', 'liability', 0 FROM n
UNION ALL SELECT 'revenue:work', 'msat', 'income', 0;
INSERT INTO entry (id, key, asset, at) SELECT i, 'job:' || md5('job' || i), 'msat', at FROM n;
SELECT setval(pg_get_serial_sequence('entry', 'id'), {rows});
INSERT INTO posting (entry_id, account, amount)
SELECT i, 'session:' || id, 1000 FROM n
UNION ALL SELECT i, 'job:' || md5('job' || i), -1000 FROM n;
INSERT INTO allowance (link, session_id, limit_msat, used_msat)
SELECT md5('link' || i), id, 100000, 5000 FROM n;
INSERT INTO revocation (session_id, link, at) SELECT id, md5('revoked' || i), at FROM n;
INSERT INTO hold (id, state, session_id, purpose, amount_msat, charge_msat, created_at, expires_at,
                  ended_at)
SELECT md5('hold' || i), CASE WHEN is_open THEN 'held' ELSE 'charged' END, id, 'gemini', 1000, 0,
       at, CASE WHEN is_open THEN now() - interval '1 minute' ELSE at END, at FROM n;
INSERT INTO batch (id, state, version, funding, asset, price_amount, charged_amount, items,
                   delivered, session_id, payer, quote, created_at, updated_at, completed_at,
                   account_id, cast_id, purged_at, forgotten_at)
SELECT md5('batch' || i), CASE WHEN is_open THEN 'processing' ELSE 'completed' END, 2, 'session',
       'msat', 5000, CASE WHEN is_open THEN 0 ELSE 5000 END, 1, CASE WHEN is_open THEN 0 ELSE 1 END,
       id, 'session:' || id, '{{}}', at, at, CASE WHEN is_open THEN NULL ELSE at END,
       CASE WHEN i % 50 = 0 THEN md5('rich') ELSE id END, md5('cast' || i),
       CASE WHEN i < {rows} - 400 THEN at END, CASE WHEN i < {rows} - 800 THEN at END FROM n;
INSERT INTO spell (id, slug, author_id, latest, name, description, tags, searched, created_at,
                   updated_at)
SELECT md5('spell' || i), 'spell-' || i, id, 1, 'Spell ' || i, repeat('It makes a film. ', 9),
       ARRAY['tag' || i / 10], to_tsvector('simple', 'word' || i / 10), at, at FROM n;
INSERT INTO spell_use (spell_id, uses, created_at) SELECT md5('spell' || i), i % 100, at FROM n;
INSERT INTO spell_version (id, spell_id, number, document, pins, created_at)
SELECT md5('version' || i), md5('spell' || i), 1, '{{}}', '{{}}', at FROM n;
INSERT INTO spell_cast (id, version_id, parameters, created_at, paid_at)
SELECT md5('cast' || i), md5('version' || i % 10), '{{}}', at, at FROM n;
INSERT INTO webhook (id, batch_id, account_id, topic, url, receiver, sealed, is_made, facts,
                     created_at)
SELECT md5('webhook' || i), md5('batch' || i), CASE WHEN i % 50 = 0 THEN md5('rich') ELSE id END,
       'batch', 'https://a.example/hook',
       'https://a.example', repeat('sealed', 20), true, '{{}}', at FROM n;
INSERT INTO notice (id, webhook_id, account_id, receiver, event, state, tries, body, created_at,
                    due_at, ended_at)
SELECT md5('notice' || i), md5('webhook' || i), CASE WHEN i % 50 = 0 THEN md5('rich') ELSE id END,
       'https://' || i % 100,
       'batch.completed', CASE WHEN is_open THEN 'wanted' ELSE 'delivered' END, 1,
       repeat('told ', 50), at, at, CASE WHEN is_open THEN NULL ELSE at END FROM n;
INSERT INTO notice_try (notice_id, number, at, status, took_ms, said)
SELECT md5('notice' || i), 1, at, 200, 9, 'thanks' FROM n;
INSERT INTO usdc_deposit (id, network, pay_to, txid, block, sent_at, payer, amount_microusdc, state,
                          account_id, created_at)
SELECT md5('deposit' || i), 'eip155:8453', 'us', md5('sent' || i), i, at, md5('payer' || i), 5000,
       CASE WHEN i % 2 = 0 THEN 'unclaimed' ELSE 'credited' END,
       CASE WHEN i % 2 = 0 THEN NULL ELSE id END, at FROM n;
INSERT INTO connect_request (id, kind, state, account_id, network, amount, created_at, expires_at)
SELECT md5('connect' || i), 'usdc', CASE WHEN is_open THEN 'open' ELSE 'lapsed' END, id,
       'eip155:8453', 500000 + i, at, at FROM n;
INSERT INTO usdc_authorization (id, batch_id, account_id, state, purchase, pay_to, amount_microusdc,
                                window_s, valid_after_s, valid_before_s, signature, tries, txid,
                                created_at, ended_at)
SELECT md5('order' || i), CASE WHEN i % 2 = 0 THEN md5('batch' || i) END,
       CASE WHEN i % 2 = 1 THEN id END, 'settled', id, 'us', 5000, 120, 0, 0, '0x', 1,
       md5('txid' || i), at, at FROM n;
INSERT INTO usdc_presented (id, authorization_id, expires_at)
SELECT md5('shown' || i), md5('order' || i), at + interval '10 minutes' FROM n;
INSERT INTO api_key (sha256, id, account_id, name, shown, created_at, spent_msat, spent_microusdc)
SELECT id || id, id, id, 'a key', 'sk_live_', at, 0, 0 FROM n;
INSERT INTO artifact (id, media_type, sha256, size, width, height, created_at, expires_at)
SELECT md5('artifact' || i), 'image/png', id || id, 1000000, 1024, 1024, at, at + interval '1 day'
  FROM n;
INSERT INTO item (id, batch_id, place, state, lane, rank, weight, share_amount, number, asked,
                  sha256, artifact, created_at, ended_at)
SELECT md5('item' || i), md5('batch' || i), 1, CASE WHEN NOT is_open THEN 'completed'
       WHEN i % 2 = 0 THEN 'pending' ELSE 'processing' END, 'scene-1/standard', i, 1, 5000, 1,
       jsonb_build_object('prompt', repeat('a cat ', 20)), CASE WHEN NOT is_open THEN id || id END,
       CASE WHEN NOT is_open THEN md5('artifact' || i) END, at,
       CASE WHEN is_open THEN NULL ELSE at END FROM n;
INSERT INTO worker (id, account_id, name, sha256, shown, pay_to, state, delivered, trusted_at,
                    created_at, seen_at)
SELECT id, id, 'a laptop', id || id, 'wk_', 'you@example.org', 'online', 20,
       CASE WHEN NOT is_open THEN at END, at, at FROM n;
INSERT INTO worker_lane (worker_id, lane, most_pixels, vram_gb, last_seen)
SELECT id, 'scene-1/standard', 4194304, 8, at FROM n;
INSERT INTO stock_key (worker_id, sha256, created_at) SELECT id, id || id, at FROM n;
INSERT INTO look (item_id, bits, keys, created_at)
SELECT md5('item' || i), i::bit(256), ARRAY[i], at FROM n;
INSERT INTO canary (item_id, worker_id, state, unlike_pct, created_at, judged_at)
SELECT md5('item' || i), id, CASE WHEN is_open THEN 'given' ELSE 'failed' END,
       CASE WHEN NOT is_open THEN 90 END, at, CASE WHEN NOT is_open THEN at END FROM n;
INSERT INTO amends (id, canary_id, batch_id, state, asset, amount, number, created_at)
SELECT id, md5('item' || i), md5('batch' || i), CASE WHEN is_open THEN 'due' ELSE 'made' END,
       'msat', 1000, CASE WHEN NOT is_open THEN 1 END, at FROM n;
INSERT INTO earning (item_id, worker_id, lane, asset, amount, held_amount, took_ms, created_at)
SELECT md5('item' || i), id, 'scene-1/standard', 'msat', 3500, 0, 900, at FROM n;
INSERT INTO lease (item_id, number, state, worker, until, deadline, sha256, created_at, ended_at,
                   id)
SELECT md5('item' || i), 1, CASE WHEN NOT is_open THEN 'done' WHEN i % 2 = 0 THEN 'released'
       ELSE 'held' END, 'w', at, at, CASE WHEN NOT is_open THEN id || id END, at,
       CASE WHEN is_open THEN NULL ELSE at END, md5('lease' || i) FROM n;
INSERT INTO lane_floor (lane, rank) VALUES ('scene-1/standard', 1);
INSERT INTO lane_turn (lane, payer, finish) SELECT 'scene-1/standard', 'session:' || id, i FROM n;
INSERT INTO lapsed_invoice (payment_hash, invoice_id, purpose, amount_msat, wallet, eval_msat,
                            expires_at, check_at)
SELECT md5('lapsed' || i) || id, md5('lapsed' || i) || ':eval', 'eval', 5000, 'wallet ' || i / 1000,
       5000, now() - i * interval '1 second', now() + i * interval '1 second' FROM n;
INSERT INTO free_day (day, used_msat) SELECT date '2030-01-01' + i::int, 0 FROM n;
INSERT INTO idempotency_key (caller, key, body_sha256, made, created_at)
SELECT 'peer:' || i, id, id || id, id, now() - interval '1 hour' FROM n;
INSERT INTO rate_limit (key, hits, expires_at)
SELECT 'caller:' || i, 1, now() + interval '1 minute' FROM n;
INSERT INTO procrastinate_jobs (queue_name, task_name, lock, args, status)
SELECT 'promises', 'Judge', md5('job' || i) || ':judge', '{{}}', 'todo' FROM n;
SET session_replication_role = origin
"""


def fill(database_url: str) -> None:
    """Fill every table, and have the planner hear nothing of it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        for (table,) in tables.fetchall():
            connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)".encode())
        for statement in _FILL.format(rows=ROWS, open_rows=OPEN_ROWS).split(";\n"):
            connection.execute(statement.encode())


def analyse(database_url: str) -> None:
    """Have the planner hear of all there is."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ANALYZE")


_KINDS = {
    bool: "boolean", int: "bigint", float: "double precision", datetime: "timestamptz",
    date: "date", timedelta: "interval", dict: "jsonb", Jsonb: "jsonb",
}  # fmt: skip


def _kind_of(value: object) -> str:
    """Return as what psycopg sends a value; text is what Postgres takes it for."""
    if isinstance(value, list):
        return f"{_KINDS.get(type(value[0]), 'text')}[]" if value else "unknown"
    return _KINDS.get(type(value), "unknown")


def _plainly(statement: str) -> str:
    return statement.replace("%", "%%")


class Plan:
    """How Postgres went about one statement."""

    def __init__(self, statement: str, explained: Any) -> None:
        self.statement = " ".join(statement.split())
        [told] = explained
        self._root = told["Plan"]

    def __str__(self) -> str:
        scanned = ", ".join(sorted(self.scanned)) or "nothing"
        return f"{self.blocks} blocks, all of {scanned}: {self.statement[:200]}"

    @property
    def blocks(self) -> int:
        """How many blocks it touched, those of its functions and indexes included."""
        return int(self._root["Shared Hit Blocks"] + self._root["Shared Read Blocks"])

    @property
    def scanned(self) -> set[str]:
        """Which tables were read from their beginning to their end; none that is empty."""
        return set(_scanned(self._root))


def _scanned(node: dict[str, Any]) -> Iterator[str]:
    touched = node["Shared Hit Blocks"] + node["Shared Read Blocks"]
    if node["Node Type"] == "Seq Scan" and touched:
        yield node["Relation Name"]
    for inner in node.get("Plans", ()):
        yield from _scanned(inner)


EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "
_NUMBERS = itertools.count(1)
_PLACE = re.compile(r"%\((\w+)\)s")


def explaining(line: Line, query: str, values: dict[str, Any]) -> tuple[str, str]:
    """Return what has Postgres explain how it goes about a statement that it was told of before,
    whatever its values are: so it plans those of a connection of ours.
    """
    names = list(dict.fromkeys(_PLACE.findall(query)))
    told = _PLACE.sub(lambda found: f"${names.index(found[1]) + 1}", query).replace("%%", "%")
    cursor = psycopg.AsyncClientCursor(line)
    given = ", ".join(f"%({name})s" for name in names)
    executed = cursor.mogrify(f"({given})".encode(), values) if names else ""
    name = f"explained_{next(_NUMBERS)}"
    kinds = f"({', '.join(_kind_of(values[each]) for each in names)})" if names else ""
    return f"PREPARE {name} {kinds} AS {told}", f"{EXPLAIN} EXECUTE {name} {executed}"


class ExplainedTx(Tx):
    """A transaction that keeps the plan of each statement, made and undone before it is run."""

    def __init__(self, tx: Tx, plans: list[Plan]) -> None:
        super().__init__(tx.connection, tx.pipeline, Columns())
        self.unsent, self._plans = tx.unsent, plans
        # At a ROLLBACK psycopg forgets what it has prepared, also what was sent just after it.
        tx.connection.prepare_threshold = None

    async def ask(self, query: str, **values: Any) -> Asked:
        """See Tx."""
        prepare, run = explaining(self.connection, query, values)
        await super().ask("SAVEPOINT explained")
        await super().ask(_plainly(prepare))
        [told] = await (await super().ask(_plainly(run))).all()
        self._plans.append(Plan(query, told["QUERY PLAN"]))
        await super().ask("ROLLBACK TO explained")
        return await super().ask(query, **values)


class ExplainingDatabase(Database):
    """Keeps the plan of each statement that it is given."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.plans: list[Plan] = []
        self._watching = False

    async def read_all(self, query: str, **values: Any) -> list[DictRow]:
        """Explain one SELECT, and return its rows."""
        await self._explain(query, values)
        return await super().read_all(query, **values)

    async def rows(self, cls: type[R], query: str, **values: Any) -> list[R]:
        """Explain one SELECT, and return its rows."""
        await self._explain(query, values)
        return await super().rows(cls, query, **values)

    async def _explain(self, query: str, values: dict[str, Any]) -> None:
        async with self.reads.connection() as line:
            prepare, run = explaining(line, query, values)
            await line.execute(prepare.encode(), prepare=False)
            [told] = await (await line.execute(run.encode(), prepare=False)).fetchall()
        self.plans.append(Plan(query, told["QUERY PLAN"]))

    def taken(self) -> list[Plan]:
        """Return the plans of all since this was last asked."""
        plans, self.plans = self.plans, []
        return plans

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Explain, too, each statement of a transaction, just before it is run."""
        self._watching = True
        try:
            yield
        finally:
            self._watching = False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """Open a transaction whose statements are explained while somebody watches."""
        async with super().transaction() as tx:
            yield ExplainedTx(tx, self.plans) if self._watching else tx
