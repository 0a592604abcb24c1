"""The books: entries are appended, balances are kept beside them and guarded by Postgres.

Posting an entry whose business key is there already is a replay, and changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from db.engine import Database, Row, Tx, execute
from statemachine.entries import Entry

_ENTRY = text(
    "INSERT INTO entry (key, asset, at) VALUES (:key, :asset, :at)"
    " ON CONFLICT (key) DO NOTHING RETURNING id"
)
_POSTINGS = text(
    "INSERT INTO posting (entry_id, account, amount)"
    " SELECT * FROM unnest(CAST(:entries AS bigint[]), CAST(:accounts AS text[]),"
    " CAST(:amounts AS bigint[]))"
)
_OPEN_ACCOUNTS = text(
    "INSERT INTO account (name, asset, kind, balance)"
    " SELECT n, :asset, k, 0 FROM unnest(CAST(:names AS text[]), CAST(:kinds AS text[]))"
    " AS new(n, k) ON CONFLICT DO NOTHING"
)
# Rows are locked in the order of their names, so that two entries never wait for each other.
_BALANCES = text(
    "WITH legs AS (SELECT * FROM unnest(CAST(:names AS text[]), CAST(:deltas AS bigint[]))"
    " AS leg(name, delta)),"
    " locked AS (SELECT account.name FROM account JOIN legs USING (name)"
    " WHERE asset = :asset ORDER BY account.name FOR UPDATE)"
    " UPDATE account SET balance = balance + legs.delta FROM legs, locked"
    " WHERE account.name = legs.name AND locked.name = legs.name AND account.asset = :asset"
)


async def post(tx: Tx, entries: Sequence[Entry], now: datetime) -> None:
    """Post entries of one asset: rows, postings and kept balances, in three statements.

    A liability that would fall below zero, or an entry that is not balanced, fails the whole
    transaction.
    """
    fresh: list[tuple[int, Entry]] = []
    for entry in entries:
        values = {"key": entry.key, "asset": entry.asset.value, "at": now}
        entry_id = (await execute(tx, _ENTRY, values)).scalar_one_or_none()
        if entry_id is not None:
            fresh.append((entry_id, entry))
    legs = [(entry_id, posting) for entry_id, entry in fresh for posting in entry.postings]
    if not legs:
        return
    kinds = {posting.account.name: posting.account.kind for _, posting in legs}
    deltas = dict.fromkeys(sorted(kinds), 0)
    for _, posting in legs:
        deltas[posting.account.name] += posting.account.kind.sign * posting.amount
    asset = fresh[0][1].asset.value
    names = list(deltas)
    accounts = {"names": names, "kinds": [kinds[name].value for name in names], "asset": asset}
    await execute(tx, _OPEN_ACCOUNTS, accounts)
    await execute(
        tx,
        _POSTINGS,
        {
            "entries": [entry_id for entry_id, _ in legs],
            "accounts": [posting.account.name for _, posting in legs],
            "amounts": [posting.amount for _, posting in legs],
        },
    )
    changes = {"names": names, "deltas": list(deltas.values()), "asset": asset}
    await execute(tx, _BALANCES, changes)


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
