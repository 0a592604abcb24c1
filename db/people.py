"""Accounts of people: found by a proven name, opened by a login, and forgotten when never used."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from db.engine import Database, Tx
from db.people_tables import IdentityKind, LoginBy
from db.rows import Reads, columns
from db.sessions import CHANNEL

MOST_LOGINS = 50  # of one account: a new one ends the oldest

_CLAIM = """
INSERT INTO identity (kind, name, account_id, secret, recovery_sha256, created_at)
VALUES (%(kind)s, %(name)s, %(account_id)s, %(secret)s, %(recovery_sha256)s, %(now)s)
ON CONFLICT (kind, name) DO NOTHING
"""


async def claim(
    tx: Tx,
    kind: IdentityKind,
    name: str,
    account_id: str,
    now: datetime,
    *,
    secret: str | None = None,
    recovery_sha256: str | None = None,
) -> bool:
    """Make a name an account's; False when it is one's already. Who is second waits for the first.

    The account itself may be written later in the same transaction.
    """
    return bool(
        await tx.count(
            _CLAIM,
            kind=kind,
            name=name,
            account_id=account_id,
            secret=secret,
            recovery_sha256=recovery_sha256,
            now=now,
        )
    )


async def insert(tx: Tx, account_id: str, now: datetime) -> None:
    """Write a new account."""
    await tx.execute(
        "INSERT INTO user_account (id, created_at, last_login_at)"
        " VALUES (%(id)s, %(now)s, %(now)s)",
        id=account_id,
        now=now,
    )


class Holder(NamedTuple):
    """Whose a name is."""

    account_id: str


async def holder_of(reads: Reads, kind: IdentityKind, name: str) -> str | None:
    """Return the account that a name opens."""
    query = "SELECT account_id FROM identity WHERE kind = %(kind)s AND name = %(name)s"
    found = await reads.row(Holder, query, kind=kind.value, name=name)
    return found.account_id if found else None


class AccountRow(NamedTuple):
    """An account whose row is locked until the transaction ends."""

    id: str


async def lock(tx: Tx, account_id: str) -> AccountRow | None:
    """Return an account, locked; None when there is none."""
    query = "SELECT id FROM user_account WHERE id = %(id)s FOR UPDATE"
    return await tx.row(AccountRow, query, id=account_id)


_TELL = "SELECT pg_notify(%(channel)s, %(id)s)"


async def tell(tx: Tx, account_id: str) -> None:
    """Tell whoever waits for a change of an account."""
    await tx.execute(_TELL, channel=CHANNEL, id=account_id)


async def keep(tx: Tx, account_id: str) -> bool:
    """Have an account stay until this transaction ends; False: it is there no more."""
    query = "SELECT 1 FROM user_account WHERE id = %(id)s FOR KEY SHARE"
    return await tx.one(query, id=account_id) is not None


class Password(NamedTuple):
    """What a password is held against."""

    name: str
    account_id: str
    secret: str
    recovery_sha256: str | None


_PASSWORD = f"SELECT {columns(Password)} FROM identity WHERE kind = 'password'"


async def password_of(db: Database, name: str) -> Password | None:
    """Return what the password of this name is held against."""
    return await db.row(Password, f"{_PASSWORD} AND name = %(name)s", name=name)


async def password_of_account(db: Database, account_id: str) -> Password | None:
    """Return what the password of an account is held against; None: it has none."""
    return await db.row(Password, f"{_PASSWORD} AND account_id = %(id)s", id=account_id)


async def lock_password(tx: Tx, kept: Password) -> bool:
    """Lock a password, and say whether it is still the one that was looked at."""
    row = await tx.one(
        "SELECT 1 FROM identity WHERE kind = 'password' AND name = %(name)s"
        " AND secret = %(secret)s AND recovery_sha256 IS NOT DISTINCT FROM %(recovery)s FOR UPDATE",
        name=kept.name,
        secret=kept.secret,
        recovery=kept.recovery_sha256,
    )
    return row is not None


async def set_password(
    tx: Tx, name: str, secret: str, recovery_sha256: str | None, now: datetime
) -> None:
    """Give a locked name another password, and another recovery code."""
    await tx.execute(
        "UPDATE identity SET secret = %(secret)s, recovery_sha256 = %(recovery)s,"
        " recovery_at = %(now)s WHERE kind = 'password' AND name = %(name)s",
        name=name,
        secret=secret,
        recovery=recovery_sha256,
        now=now,
    )


class Recovery(NamedTuple):
    """A recovery code by its hash, and since when it is that; None: since its account is there."""

    sha256: str
    since: datetime | None


async def recovery_of(reads: Reads, account_id: str) -> Recovery | None:
    """Return the recovery code of an account; None: it has none."""
    return await reads.row(
        Recovery,
        "SELECT recovery_sha256 AS sha256, recovery_at AS since FROM identity WHERE kind ="
        " 'password' AND account_id = %(id)s AND recovery_sha256 IS NOT NULL",
        id=account_id,
    )


async def is_settled(
    tx: Tx, account_id: str, kind: IdentityKind, name: str, before: datetime
) -> bool:
    """Say whether a wallet opens an account, and has since then or since the account is there."""
    row = await tx.one(
        "SELECT 1 FROM identity i JOIN user_account u ON u.id = i.account_id"
        " WHERE i.kind = %(kind)s AND i.name = %(name)s AND u.id = %(id)s"
        " AND (i.created_at <= %(before)s OR i.created_at = u.created_at)",
        kind=kind.value,
        name=name,
        id=account_id,
        before=before,
    )
    return row is not None


@dataclass(frozen=True, slots=True)
class NewLogin:
    """A login that is to be written: its token's hash, and never the token."""

    id: str
    sha256: str
    by: LoginBy
    expires_at: datetime


class LoginRow(NamedTuple):
    """A login that holds."""

    id: str
    account_id: str
    by: LoginBy
    created_at: datetime
    expires_at: datetime


_LOG_IN = """
INSERT INTO login (sha256, id, account_id, by, created_at, expires_at)
VALUES (%(sha256)s, %(id)s, %(account_id)s, %(by)s, %(now)s, %(expires_at)s)
"""
_KEEP_NEWEST = """
DELETE FROM login WHERE id IN (SELECT id FROM login WHERE account_id = %(account_id)s
       ORDER BY created_at DESC, id OFFSET %(most)s)
"""


async def log_in(tx: Tx, account_id: str, new: NewLogin, now: datetime) -> None:
    """Write a login. The account's oldest ends where it has too many."""
    await tx.execute(
        "UPDATE user_account SET last_login_at = %(now)s WHERE id = %(id)s", id=account_id, now=now
    )
    await tx.execute(
        _LOG_IN,
        sha256=new.sha256,
        id=new.id,
        account_id=account_id,
        by=new.by,
        expires_at=new.expires_at,
        now=now,
    )
    await tx.execute(_KEEP_NEWEST, account_id=account_id, most=MOST_LOGINS)


_LOGIN = f"SELECT {columns(LoginRow)} FROM login"


async def login(db: Database, sha256: str, now: datetime) -> LoginRow | None:
    """Return the login of a token by its hash, where it holds."""
    return await db.row(
        LoginRow, f"{_LOGIN} WHERE sha256 = %(sha256)s AND expires_at > %(now)s",
        sha256=sha256, now=now,
    )  # fmt: skip


async def logins_of(db: Database, account_id: str, now: datetime) -> list[LoginRow]:
    """Return the logins of an account that hold, the newest first."""
    return await db.rows(
        LoginRow,
        f"{_LOGIN} WHERE account_id = %(id)s AND expires_at > %(now)s ORDER BY created_at DESC, id",
        id=account_id,
        now=now,
    )


async def log_out(tx: Tx, account_id: str, login_id: str) -> bool:
    """End a login of an account; False: it has none of that id."""
    query = "DELETE FROM login WHERE account_id = %(account)s AND id = %(id)s"
    return bool(await tx.count(query, account=account_id, id=login_id))


async def log_out_all(tx: Tx, account_id: str, but: str | None = None) -> None:
    """End all logins of an account, but one."""
    await tx.execute(
        "DELETE FROM login WHERE account_id = %(account)s AND id IS DISTINCT FROM %(but)s",
        account=account_id,
        but=but,
    )


class Named(NamedTuple):
    """A name of an account."""

    kind: IdentityKind
    name: str
    created_at: datetime


async def names_of(db: Database, account_id: str) -> list[Named]:
    """Return the names that open an account, the oldest first."""
    return await db.rows(
        Named,
        f"SELECT {columns(Named)} FROM identity WHERE account_id = %(id)s"
        " ORDER BY created_at, kind, name",
        id=account_id,
    )


async def spend_nonce(tx: Tx, nonce: str, expires_at: datetime) -> bool:
    """Use up a nonce; False: it was used before."""
    query = (
        "INSERT INTO spent_nonce (nonce, expires_at) VALUES (%(nonce)s, %(expires_at)s)"
        " ON CONFLICT (nonce) DO NOTHING"
    )
    return bool(await tx.count(query, nonce=nonce, expires_at=expires_at))


async def sign_lightning(tx: Tx, k1: str, key: str, expires_at: datetime) -> None:
    """Keep which wallet has signed a code, until the page that shows it asks."""
    await tx.execute(
        "INSERT INTO lightning_proof (k1, key, expires_at) VALUES (%(k1)s, %(key)s, %(until)s)",
        k1=k1,
        key=key,
        until=expires_at,
    )


class Signer(NamedTuple):
    """The wallet that has signed a code."""

    key: str


async def lightning_signer(reads: Reads, k1: str) -> str | None:
    """Return the key of the wallet that has signed a code; None: nobody has."""
    found = await reads.row(Signer, "SELECT key FROM lightning_proof WHERE k1 = %(k1)s", k1=k1)
    return found.key if found else None


async def take_lightning(tx: Tx, k1: str) -> str | None:
    """Return that key, once: nobody fetches it again."""
    row = await tx.one("DELETE FROM lightning_proof WHERE k1 = %(k1)s RETURNING key", k1=k1)
    return str(row["key"]) if row else None


async def forget(tx: Tx, now: datetime) -> None:
    """Forget logins that have expired, and nonces that nobody could use any more."""
    await tx.execute("DELETE FROM login WHERE expires_at <= %(now)s", now=now)
    await tx.execute("DELETE FROM spent_nonce WHERE expires_at <= %(now)s", now=now)
    await tx.execute("DELETE FROM lightning_proof WHERE expires_at <= %(now)s", now=now)


# What an account may have beside its names: where there is none of it, nothing is lost with it.
_NOTHING = """
SELECT id FROM user_account u WHERE id = ANY(%(ids)s)
   AND NOT EXISTS (SELECT FROM login l WHERE l.account_id = u.id)
   AND NOT EXISTS (SELECT FROM batch b WHERE b.account_id = u.id)
   AND NOT EXISTS (SELECT FROM job j WHERE j.account_id = u.id)
   AND NOT EXISTS (SELECT FROM invoice i WHERE i.account_id = u.id)
   AND NOT EXISTS (SELECT FROM payout p WHERE p.account_id = u.id)
   AND NOT EXISTS (SELECT FROM usdc_authorization o WHERE o.account_id = u.id)
   AND NOT EXISTS (SELECT FROM usdc_deposit d WHERE d.account_id = u.id)
   AND NOT EXISTS (SELECT FROM spell s WHERE s.author_id = u.id)
   AND NOT EXISTS (SELECT FROM worker w WHERE w.account_id = u.id)
   AND NOT EXISTS (SELECT FROM account a WHERE a.name = 'user:' || u.id)
"""
_UNUSED = f"""{_NOTHING}
   AND NOT EXISTS (SELECT FROM api_key k WHERE k.account_id = u.id)
   AND NOT EXISTS (SELECT FROM connect_request c WHERE c.account_id = u.id)
   AND (%(passwords)s OR NOT EXISTS
        (SELECT FROM identity n WHERE n.account_id = u.id AND n.kind <> 'evm'))
"""
_NEVER_OPENED = f"""{_NOTHING}
   AND NOT EXISTS (SELECT FROM identity n WHERE n.account_id = u.id)
"""
_LOCK_FREE = "SELECT id FROM user_account WHERE id = ANY(%(ids)s) FOR UPDATE SKIP LOCKED"


async def forget_unused(tx: Tx, ids: list[str], passwords: bool = False) -> int:
    """Forget accounts of wallets among these that never had a thing, or of others, too; return how
    many: who comes again has a new one.

    They are looked at once they are locked: what was begun for one meanwhile is seen then.
    """
    locked = await _lock_free(tx, ids)
    found = await tx.all(_UNUSED, ids=locked, passwords=passwords) if locked else []
    return await _forget(tx, [row["id"] for row in found])


async def forget_unpaid(tx: Tx, ids: list[str]) -> int:
    """Forget accounts among these that were to be opened by a payment that never came, with what
    they were asked for, and keys that nobody was shown; return how many."""
    locked = await _lock_free(tx, ids)
    found = await tx.all(_NEVER_OPENED, ids=locked) if locked else []
    unpaid = [row["id"] for row in found]
    await tx.execute("DELETE FROM api_key WHERE account_id = ANY(%(ids)s)", ids=unpaid)
    await tx.execute("DELETE FROM connect_request WHERE account_id = ANY(%(ids)s)", ids=unpaid)
    return await _forget(tx, unpaid)


async def _lock_free(tx: Tx, ids: list[str]) -> list[str]:
    return [row["id"] for row in await tx.all(_LOCK_FREE, ids=ids)] if ids else []


async def _forget(tx: Tx, ids: list[str]) -> int:
    if ids:
        await tx.execute("DELETE FROM identity WHERE account_id = ANY(%(ids)s)", ids=ids)
        await tx.execute("DELETE FROM user_account WHERE id = ANY(%(ids)s)", ids=ids)
    return len(ids)


_IDLE = """
SELECT id AS account_id FROM user_account WHERE id > %(after)s AND last_login_at < %(before)s
 ORDER BY id LIMIT %(most)s
"""


async def idle(db: Database, after: str, before: datetime, most: int) -> list[str]:
    """Return accounts that nobody has logged into since then, in the order of their ids."""
    rows = await db.rows(Holder, _IDLE, after=after, before=before, most=most)
    return [row.account_id for row in rows]
