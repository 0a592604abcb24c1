"""The books: entries are appended, balances are kept beside them and guarded by Postgres.

Posting an entry whose business key is there already is a replay, and changes nothing. An amount
is nothing without its asset: an account holds each of them apart, and no sum is over two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from db.arrays import integers, texts
from db.engine import Database, Row, Tx
from statemachine.entries import Asset, Entry, Kind

# A call of the function that posts, with the values of `values_of`.
POSTING = "post_entries(%(asset)s, %(at)s, %(keys)s, %(of)s, %(accounts)s, %(kinds)s, %(amounts)s)"


async def post(tx: Tx, entries: Sequence[Entry], now: datetime) -> None:
    """Post entries: rows, postings and kept balances, in one statement for each asset.

    A liability that would fall below zero, or an entry that is not balanced, fails the whole
    transaction. The function is in db/migrations.
    """
    by_key: dict[str, Entry] = {}
    for entry in entries:
        by_key.setdefault(entry.key, entry)
    for asset in Asset:  # in one order, so that two callers never wait for each other
        if posted := [entry for entry in by_key.values() if entry.asset is asset]:
            await tx.execute(f"SELECT {POSTING}", **values_of(posted, asset, now))


def values_of(entries: Sequence[Entry], asset: Asset, now: datetime) -> dict[str, Any]:
    """Return the values that POSTING names, of entries that are all in one asset."""
    legs = [
        (place, posting)
        for place, entry in enumerate(entries, start=1)
        for posting in entry.postings
    ]
    return {
        "asset": asset.value,
        "at": now,
        "keys": texts([entry.key for entry in entries]),
        "of": integers([place for place, _ in legs]),
        "accounts": texts([posting.account.name for _, posting in legs]),
        "kinds": texts([posting.account.kind.value for _, posting in legs]),
        "amounts": integers([posting.amount for _, posting in legs]),
    }


@dataclass(frozen=True, slots=True)
class Balance:
    """One line of the trial balance, in the account's natural sign."""

    account: str
    kind: Kind
    asset: Asset
    kept: int  # the balance beside the postings
    recomputed: int  # what the postings add up to


async def trial_balance(db: Database) -> list[Balance]:
    """Recompute every account from its postings, each asset apart, in one snapshot."""
    rows = await db.read_whole(
        "SELECT name, kind, asset, balance, coalesce(sum(amount), 0)::bigint AS total"
        " FROM kept_balance LEFT JOIN (SELECT posting.account, posting.amount, entry.asset AS of"
        " FROM posting JOIN entry ON entry.id = posting.entry_id) AS leg"
        " ON leg.account = name AND leg.of = asset"
        " GROUP BY name, kind, asset, balance ORDER BY name, asset"
    )
    return [_line(row) for row in rows]


def _line(row: Row) -> Balance:
    kind, asset = Kind(row["kind"]), Asset(row["asset"])
    return Balance(row["name"], kind, asset, row["balance"], kind.sign * row["total"])


async def balance(db: Database, account: str, asset: Asset) -> int:
    """Return what rests on an account of an asset, in its natural sign; 0: nothing ever did."""
    row = await db.read_one(
        "SELECT balance FROM kept_balance WHERE name = %(name)s AND asset = %(asset)s",
        name=account,
        asset=asset.value,
    )
    return int(row["balance"]) if row else 0


class Leg(NamedTuple):
    """One posting, with the entry that it is of."""

    key: str
    asset: Asset
    at: datetime
    account: str
    amount: int


async def entries_of(db: Database, accounts: Sequence[str]) -> list[Leg]:
    """Return every leg of the entries that touch one of these accounts, in the order of time."""
    return await db.rows(
        Leg,
        "SELECT e.key, e.asset, e.at, p.account, p.amount"
        " FROM entry e JOIN posting p ON p.entry_id = e.id WHERE e.id IN"
        " (SELECT entry_id FROM posting WHERE account = ANY(%(accounts)s))"
        " ORDER BY e.id, p.amount DESC, p.account",
        accounts=list(accounts),
    )
