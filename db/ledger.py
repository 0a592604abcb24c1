"""The books: entries are appended, balances are kept beside them and guarded by Postgres.

Posting an entry whose business key is there already is a replay, and changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from db.engine import Database, Row, Tx
from statemachine.entries import Entry

# What was posted before, by its key, brings no legs: neither postings nor accounts.
_POST = """
WITH fresh AS (INSERT INTO entry (key, asset, at) SELECT key, %(asset)s, %(at)s
       FROM unnest(CAST(%(keys)s AS text[])) WITH ORDINALITY AS new(key, place) ORDER BY place
       ON CONFLICT (key) DO NOTHING RETURNING id, key),
     legs AS (SELECT id, account, kind, amount FROM fresh JOIN unnest(CAST(%(of)s AS text[]),
       CAST(%(accounts)s AS text[]), CAST(%(kinds)s AS text[]), CAST(%(amounts)s AS bigint[]))
       AS leg(key, account, kind, amount) USING (key)),
     posted AS (INSERT INTO posting (entry_id, account, amount)
       SELECT id, account, amount FROM legs),
     opened AS (INSERT INTO account (name, asset, kind, balance)
       SELECT DISTINCT account, %(asset)s, kind, 0 FROM legs ORDER BY account
       ON CONFLICT DO NOTHING)
SELECT key FROM fresh
"""
# Rows are locked in the order of their names, so that two entries never wait for each other.
_BALANCES = """
WITH legs AS (SELECT * FROM unnest(CAST(%(names)s AS text[]), CAST(%(deltas)s AS bigint[]))
       AS leg(name, delta)),
     locked AS (SELECT account.name FROM account JOIN legs USING (name)
       WHERE asset = %(asset)s ORDER BY account.name FOR UPDATE)
UPDATE account SET balance = balance + legs.delta FROM legs, locked
 WHERE account.name = legs.name AND locked.name = legs.name AND account.asset = %(asset)s
"""


async def post(tx: Tx, entries: Sequence[Entry], now: datetime) -> None:
    """Post entries of one asset: rows, postings and kept balances, in two statements.

    A liability that would fall below zero, or an entry that is not balanced, fails the whole
    transaction.
    """
    if not entries:
        return
    by_key: dict[str, Entry] = {}
    for entry in entries:
        by_key.setdefault(entry.key, entry)
    asset = entries[0].asset.value
    legs = [(entry.key, posting) for entry in by_key.values() for posting in entry.postings]
    posted = await tx.all(
        _POST,
        keys=list(by_key),
        asset=asset,
        at=now,
        of=[key for key, _ in legs],
        accounts=[posting.account.name for _, posting in legs],
        kinds=[posting.account.kind.value for _, posting in legs],
        amounts=[posting.amount for _, posting in legs],
    )
    fresh = {row["key"] for row in posted}
    deltas: dict[str, int] = {}
    for key, posting in legs:
        if key in fresh:
            name, kind = posting.account.name, posting.account.kind
            deltas[name] = deltas.get(name, 0) + kind.sign * posting.amount
    if deltas:
        names = sorted(deltas)
        changes = [deltas[name] for name in names]
        await tx.execute(_BALANCES, names=names, deltas=changes, asset=asset)


@dataclass(frozen=True, slots=True)
class Balance:
    """One line of the trial balance, in the account's natural sign."""

    account: str
    kind: str
    asset: str
    kept: int  # the balance beside the postings
    recomputed: int  # what the postings add up to


async def trial_balance(db: Database) -> list[Balance]:
    """Recompute every account from its postings, in one snapshot."""
    rows = await db.read_all(
        "SELECT name, kind, asset, balance, coalesce(sum(amount), 0)::bigint AS total"
        " FROM account LEFT JOIN (SELECT posting.account, posting.amount, entry.asset AS of"
        " FROM posting JOIN entry ON entry.id = posting.entry_id) AS leg"
        " ON leg.account = name AND leg.of = asset"
        " GROUP BY name, kind, asset, balance ORDER BY name"
    )
    signs = {"asset": 1, "expense": 1, "liability": -1, "income": -1}
    return [
        Balance(r["name"], r["kind"], r["asset"], r["balance"], signs[r["kind"]] * r["total"])
        for r in rows
    ]


async def balance(db: Database, account: str) -> int:
    """Return what rests on an account, in its natural sign; 0 when nothing ever did."""
    row = await db.read_one("SELECT balance FROM account WHERE name = %(name)s", name=account)
    return int(row["balance"]) if row else 0


async def entries_of(db: Database, accounts: Sequence[str]) -> list[Row]:
    """Return every leg of the entries that touch one of these accounts, in the order of time."""
    return await db.read_all(
        "SELECT e.key, e.asset, e.at, p.account, p.amount"
        " FROM entry e JOIN posting p ON p.entry_id = e.id WHERE e.id IN"
        " (SELECT entry_id FROM posting WHERE account = ANY(%(accounts)s))"
        " ORDER BY e.id, p.amount DESC, p.account",
        accounts=list(accounts),
    )
