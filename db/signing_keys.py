"""The keys that receipts are signed with: one is active, and every public one stays to be shown.

A private key is written here and read here only, by statements that no error message quotes. Of a
retired key the private half is gone: it signs no more.
"""

from dataclasses import dataclass, field
from datetime import datetime

from db.engine import Database, Tx


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
    await tx.execute(
        "INSERT INTO signing_key (kid, algorithm, public_key, private_key, created_at)"
        " VALUES (%(kid)s, %(algorithm)s, %(public)s, %(private)s, %(now)s)"
        " ON CONFLICT (algorithm) WHERE retired_at IS NULL DO NOTHING",
        kid=key.kid,
        algorithm=key.algorithm,
        public=key.public_key,
        private=key.private_key,
        now=now,
    )


async def retire(tx: Tx, algorithm: str, now: datetime) -> None:
    """Let the active key sign no more; another can be offered then."""
    await tx.execute(
        "UPDATE signing_key SET retired_at = %(now)s, private_key = ''"
        " WHERE algorithm = %(algorithm)s AND retired_at IS NULL",
        now=now,
        algorithm=algorithm,
    )


async def public(db: Database) -> list[PublicKey]:
    """Return the public half of every key there ever was, the newest first."""
    rows = await db.read_all(
        "SELECT kid, algorithm, public_key FROM signing_key ORDER BY created_at DESC, kid"
    )
    return [PublicKey(**row) for row in rows]
