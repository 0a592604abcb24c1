"""The keys that receipts are signed with: one is active, and every public one stays to be shown.

A private key is written here and read here only, by statements that no error message quotes. Of a
retired key the private half is gone: it signs no more.
"""

from dataclasses import dataclass, field
from datetime import datetime

from db.engine import Database, Tx, driver_of


@dataclass(frozen=True, slots=True)
class Key:
    """One key pair. The private half never shows in a representation."""

    kid: str
    algorithm: str
    public_key: str  # base64url, as a JWK has it
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What anybody may know of a key."""

    kid: str
    algorithm: str
    public_key: str


async def active(db: Database, algorithm: str) -> Key | None:
    """Return the key that signs now; None when none was made yet."""
    row = await db.read_one(
        "SELECT kid, algorithm, public_key, private_key FROM signing_key"
        " WHERE algorithm = %(algorithm)s AND retired_at IS NULL",
        algorithm=algorithm,
    )
    return Key(**row) if row else None


async def offer(tx: Tx, key: Key, now: datetime) -> None:
    """Make this the active key, unless there is one: of two processes that make one, one wins.

    The other waits here for its commit, and finds it afterwards.
    """
    # Through the driver: an error of SQLAlchemy's would quote its parameters, and so the key.
    connection = await driver_of(tx)
    await connection.execute(
        "INSERT INTO signing_key (kid, algorithm, public_key, private_key, created_at)"
        " VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (algorithm) WHERE retired_at IS NULL DO NOTHING",
        (key.kid, key.algorithm, key.public_key, key.private_key, now),
    )


async def retire(tx: Tx, algorithm: str, now: datetime) -> None:
    """Let the active key sign no more; another can be offered then."""
    connection = await driver_of(tx)
    await connection.execute(
        "UPDATE signing_key SET retired_at = %s, private_key = ''"
        " WHERE algorithm = %s AND retired_at IS NULL",
        (now, algorithm),
    )


async def public(db: Database) -> list[PublicKey]:
    """Return the public half of every key there ever was, the newest first."""
    rows = await db.read_all(
        "SELECT kid, algorithm, public_key FROM signing_key ORDER BY created_at DESC, kid"
    )
    return [PublicKey(**row) for row in rows]
