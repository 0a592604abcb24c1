"""Accounts of people: what it takes to debit one that pays by an API key.

A debit of ours is whole: the key is found and held against its limit, the balance is locked and
looked at, and an entry is posted, in one transaction. The peer's is the bare one of `debits`.
"""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import psycopg

from app import advance
from app.advance import Act, Shell, Terms
from app.advance.accounts import Opening
from app.keys.api_keys import Prefix, new_key
from app.trade.keys import kept
from db.api_keys import Limits
from db.engine import Database
from db.people import NewLogin
from db.people_tables import LoginBy
from db.promises import Outbox
from statemachine.entries import of_user

from .debits import FEW_SESSIONS, PEER, SESSIONS
from .polls import post, run_script
from .prepaid import RICH_MSAT
from .rows import Row, Want
from .slices import Pace, Pair, closed, compare
from .stand import Stand

_RICH = "INSERT INTO account (name, asset, kind, balance) VALUES (%s, 'msat', 'liability', %s)"


def rows(stand: Stand, pace: Pace) -> list[Row]:
    """Debit many accounts in turn."""
    url = stand.database()
    ours = stand.server("house", url)
    count = FEW_SESSIONS if pace.quick else SESSIONS
    keys = opened(url, count)
    run_script(url, PEER, msat=RICH_MSAT, owners="identity", id="account_id")
    bare = stand.server("debits", url)
    mine = [post("/bench/account", f"x-api-key: {key}\r\n") for key in keys.values()]
    theirs = [post(f"/once/{account_id}") for account_id in keys]
    pair = Pair(
        f"debit of an account by its API key, {count} accounts",
        closed(ours, *mine),
        closed(bare, *theirs),
        (Want("rate", least=0.5), Want("cpu")),
        ("Boltwork", "peer, 1 transaction"),
    )
    return [compare(pair, stand, replace(pace, slice_s=pace.slice_s * 2, warm_s=pace.slice_s))]


def opened(database_url: str, count: int) -> dict[str, str]:
    """Open so many accounts, each rich; return the API key of each by its id."""
    keys = asyncio.run(_open(database_url, count))
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.executemany(
            _RICH.encode(), [(of_user(account_id).name, RICH_MSAT) for account_id in keys]
        )
    return keys


async def _open(database_url: str, count: int) -> dict[str, str]:
    db, keys = Database(database_url), dict[str, str]()
    shell = Shell(db, Outbox(db), Terms(), lambda: datetime.now(UTC))
    await db.open()
    for number in range(count):
        account_id, key = uuid4().hex, new_key(Prefix.SK)
        keys[account_id] = key
        new = Opening(account_id, f"payer-{number}", "none", "0" * 64)
        login = NewLogin(uuid4().hex, uuid4().hex * 2, LoginBy.PASSWORD, shell.clock())

        async def open_one(act: Act, new: Opening, login: NewLogin, key: str) -> None:
            await advance.accounts.open_with_password(act, new, login)
            made = kept(uuid4().hex, key)
            await advance.keys.make(act, new.account_id, made, "bench", Limits())

        await shell.do(open_one, new, login, key)
    await db.close()
    return keys
