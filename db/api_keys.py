"""API keys of accounts, each known by its sha256 alone."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from db.engine import Database, Tx
from db.lookups import Lookup
from db.rows import columns
from statemachine.entries import Asset


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that is to be written: its hash and what is shown of it, never the key."""

    id: str
    sha256: str
    shown: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may spend in all, in each asset; None: as much as its account has."""

    msat: int | None = None
    microusdc: int | None = None


class KeyRow(NamedTuple):
    """A key that holds."""

    id: str
    account_id: str
    name: str
    shown: str
    created_at: datetime
    last_used_at: datetime | None
    limit_msat: int | None
    limit_microusdc: int | None
    spent_msat: int
    spent_microusdc: int

    @property
    def is_limited(self) -> bool:
        """Whether it may spend only so much: then it opens nothing else, either."""
        return self.limit_msat is not None or self.limit_microusdc is not None


_KEYS = f"SELECT {columns(KeyRow)} FROM api_key WHERE revoked_at IS NULL"


_HELD = Lookup(KeyRow, ["sha256"], f"{_KEYS} AND api_key.sha256 = asked.sha256")


async def find(db: Database, sha256: str) -> KeyRow | None:
    """Return a key that holds by its hash."""
    return await _HELD.find(db, sha256)


async def of_account(db: Database, account_id: str) -> list[KeyRow]:
    """Return the keys of an account that hold, the newest first."""
    query = f"{_KEYS} AND account_id = %(id)s ORDER BY created_at DESC, id"
    return await db.rows(KeyRow, query, id=account_id)


async def count(tx: Tx, account_id: str) -> int:
    """Return how many keys of an account hold."""
    query = "SELECT count(*) AS n FROM api_key WHERE account_id = %(id)s AND revoked_at IS NULL"
    row = await tx.one(query, id=account_id)
    return int(row["n"]) if row else 0


_INSERT = """
INSERT INTO api_key (sha256, id, account_id, name, shown, created_at, limit_msat, limit_microusdc,
                     spent_msat, spent_microusdc)
VALUES (%(sha256)s, %(id)s, %(account_id)s, %(name)s, %(shown)s, %(now)s, %(limit_msat)s,
        %(limit_microusdc)s, 0, 0)
"""


async def insert(
    tx: Tx, account_id: str, new: NewKey, name: str, limits: Limits, now: datetime
) -> None:
    """Write a new key of an account."""
    await tx.execute(
        _INSERT,
        sha256=new.sha256,
        id=new.id,
        account_id=account_id,
        name=name,
        shown=new.shown,
        limit_msat=limits.msat,
        limit_microusdc=limits.microusdc,
        now=now,
    )


async def replace(tx: Tx, account_id: str, new: NewKey) -> bool:
    """Have the key of this id be another one: the one of before isn't valid any more.

    Its name, its limits and what it has spent stay. False: the account has none of this id.
    """
    query = (
        "UPDATE api_key SET sha256 = %(sha256)s, shown = %(shown)s, last_used_at = NULL"
        " WHERE account_id = %(account_id)s AND id = %(id)s AND revoked_at IS NULL"
    )
    values = {"sha256": new.sha256, "shown": new.shown, "id": new.id}
    return bool(await tx.count(query, account_id=account_id, **values))


async def revoke(tx: Tx, account_id: str, key_id: str, now: datetime) -> bool:
    """End a key of an account; False: it has none of this id."""
    query = (
        "UPDATE api_key SET revoked_at = %(now)s"
        " WHERE account_id = %(account_id)s AND id = %(id)s AND revoked_at IS NULL"
    )
    return bool(await tx.count(query, account_id=account_id, id=key_id, now=now))


_SHOW = """
UPDATE api_key SET shown_at = coalesce(shown_at, %(now)s)
 WHERE sha256 = %(sha256)s AND revoked_at IS NULL AND last_used_at IS NULL
   AND (shown_at IS NULL OR shown_at > %(since)s)
"""


async def show(tx: Tx, sha256: str, since: datetime, now: datetime) -> bool:
    """Note that a key is shown; False where it was used, or first shown before a time."""
    return bool(await tx.count(_SHOW, sha256=sha256, since=since, now=now))


async def use(tx: Tx, sha256: str, now: datetime) -> None:
    """Note that a key was used just now."""
    query = "UPDATE api_key SET last_used_at = %(now)s WHERE sha256 = %(sha256)s"
    await tx.execute(query, sha256=sha256, now=now)


# A key that has a limit in one asset only spends nothing of the other: see `debit_account`, which
# counts what is spent.
_MAY_SPEND = """
coalesce(limit_{asset}, CASE WHEN limit_{other} IS NULL THEN 9223372036854775807 ELSE 0 END)
"""
_LEFT = """
SELECT greatest(0, {most} - spent_{asset}) AS left_amount FROM api_key
 WHERE id = %(id)s AND revoked_at IS NULL
"""


def _of(query: str, asset: Asset) -> str:
    [other] = [each for each in Asset if each is not asset]
    most = _MAY_SPEND.format(asset=asset, other=other).strip()
    return query.format(asset=asset, other=other, most=most)


async def left(tx: Tx, key_id: str, asset: Asset) -> int:
    """Return how much a key may still spend in an asset."""
    row = await tx.one(_of(_LEFT, asset), id=key_id)
    return int(row["left_amount"]) if row else 0


async def unspend(tx: Tx, key_id: str, asset: Asset, amount: int) -> None:
    """Count it as not spent, after all."""
    query = "UPDATE api_key SET spent_{asset} = spent_{asset} - %(amount)s WHERE id = %(id)s"
    await tx.execute(_of(query, asset), id=key_id, amount=amount)
