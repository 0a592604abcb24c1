"""The books: entries are appended, balances are kept beside them and guarded by Postgres.

Posting an entry whose business key is there already is a replay, and changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from db.engine import Database, Row, Tx
from statemachine.entries import Entry

_POST = """
SELECT post_entries(%(asset)s, %(at)s, %(keys)s, %(of)s, %(accounts)s, %(kinds)s, %(amounts)s)
"""


async def post(tx: Tx, entries: Sequence[Entry], now: datetime) -> None:
    """Post entries of one asset: rows, postings and kept balances, in one statement.

    A liability that would fall below zero, or an entry that is not balanced, fails the whole
    transaction. The function is in db/migrations.
    """
    by_key: dict[str, Entry] = {}
    for entry in entries:
        by_key.setdefault(entry.key, entry)
    legs = [
        (place, posting)
        for place, entry in enumerate(by_key.values(), start=1)
        for posting in entry.postings
    ]
    if not legs:
        return
    await tx.execute(
        _POST,
        asset=entries[0].asset,
        at=now,
        keys=list(by_key),
        of=[place for place, _ in legs],
        accounts=[posting.account.name for _, posting in legs],
        kinds=[posting.account.kind.value for _, posting in legs],
        amounts=[posting.amount for _, posting in legs],
    )


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
