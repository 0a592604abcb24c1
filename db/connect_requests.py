"""Requests to connect a wallet: insert, find, move, and those whose time has passed."""

from datetime import datetime
from typing import NamedTuple

from db.engine import Database, Tx
from db.rows import columns
from statemachine.connect import ConnectFacts, ConnectKind, ConnectState


class ConnectRow(NamedTuple):
    """A request as it is now."""

    id: str
    kind: ConnectKind
    state: ConnectState
    account_id: str
    network: str | None
    amount: int
    created_at: datetime
    expires_at: datetime
    paid_at: datetime | None


_SELECT = f"SELECT {columns(ConnectRow)} FROM connect_request"
_INSERT = """
INSERT INTO connect_request (id, kind, state, account_id, network, amount, created_at, expires_at)
VALUES (%(id)s, %(kind)s, 'open', %(account_id)s, %(network)s, %(amount)s, %(created_at)s,
        %(expires_at)s)
ON CONFLICT (network, amount) WHERE kind = 'usdc' AND state = 'open' DO NOTHING
"""


async def insert(tx: Tx, row: ConnectRow) -> bool:
    """Write a new request; False, and nothing is written: another one asks for this amount."""
    return bool(
        await tx.count(
            _INSERT,
            id=row.id,
            kind=row.kind,
            account_id=row.account_id,
            network=row.network,
            amount=row.amount,
            created_at=row.created_at,
            expires_at=row.expires_at,
        )
    )


async def get(db: Database, request_id: str) -> ConnectRow | None:
    """Return a request as it is now."""
    return await db.row(ConnectRow, f"{_SELECT} WHERE id = %(id)s", id=request_id)


async def lock_of_account(tx: Tx, account_id: str) -> ConnectRow | None:
    """Return the request that an account is of, locked; None: it was opened otherwise."""
    query = f"{_SELECT} WHERE account_id = %(id)s FOR UPDATE"
    return await tx.row(ConnectRow, query, id=account_id)


_LOCK_OPEN = f"""
{_SELECT} WHERE kind = 'usdc' AND state = 'open' AND network = %(network)s
   AND amount = %(amount)s FOR UPDATE
"""


async def lock_open(tx: Tx, network: str, amount_microusdc: int) -> ConnectRow | None:
    """Return the one open request that asks for an amount on a chain, locked."""
    return await tx.row(ConnectRow, _LOCK_OPEN, network=network, amount=amount_microusdc)


_ASKED_BEFORE = f"""
{_SELECT} WHERE kind = 'usdc' AND state <> 'open' AND network = %(network)s
   AND amount = %(amount)s ORDER BY created_at DESC LIMIT 1
"""


async def asked_before(tx: Tx, network: str, amount_microusdc: int) -> ConnectRow | None:
    """Return the newest request that has asked for an amount on a chain, and does so no more."""
    return await tx.row(ConnectRow, _ASKED_BEFORE, network=network, amount=amount_microusdc)


_LOCK_DUE = f"""
{_SELECT} WHERE state = 'open' AND kind = %(kind)s AND expires_at < %(before)s
   AND network IS NOT DISTINCT FROM %(network)s
 ORDER BY expires_at LIMIT %(most)s FOR UPDATE SKIP LOCKED
"""


async def lock_due(
    tx: Tx, kind: ConnectKind, network: str | None, before: datetime, most: int
) -> list[ConnectRow]:
    """Return open requests whose time had passed by then, locked."""
    named = {"kind": kind.value, "network": network, "before": before, "most": most}
    return await tx.rows(ConnectRow, _LOCK_DUE, **named)


async def is_due(db: Database, kind: ConnectKind, network: str | None, before: datetime) -> bool:
    """Say whether the time of an open request had passed by then."""
    row = await db.read_one(
        "SELECT 1 FROM connect_request WHERE state = 'open' AND kind = %(kind)s"
        " AND network IS NOT DISTINCT FROM %(network)s AND expires_at < %(before)s LIMIT 1",
        kind=kind.value,
        network=network,
        before=before,
    )
    return row is not None


def facts_of(row: ConnectRow) -> ConnectFacts:
    """Return the law's view of a row."""
    return ConnectFacts(row.id, row.state)


async def move(tx: Tx, after: ConnectFacts, paid_at: datetime | None) -> None:
    """Write where a locked request stands."""
    await tx.execute(
        "UPDATE connect_request SET state = %(state)s, paid_at = %(paid_at)s WHERE id = %(id)s",
        id=after.id,
        state=after.state,
        paid_at=paid_at,
    )
