"""API keys: a program's way into an account. A key is shown once, and known by its hash since."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from app import advance
from app.advance import Missing, Shell
from app.keys import api_keys as credential
from app.keys.api_keys import Prefix
from app.ports import Clock
from app.refusal import Refusal, Why
from app.trade.accounts import gone
from db import api_keys
from db.api_keys import KeyRow, Limits, NewKey
from db.engine import Database

NOTED = timedelta(minutes=1)  # how exactly it is known when a key was last used


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key that was just made: it is known to who is given it, and to nobody else."""

    id: str
    key: str


@dataclass(frozen=True, slots=True)
class Keys:
    """The desk of API keys."""

    db: Database
    shell: Shell
    clock: Clock
    new_id: Callable[[], str]

    async def make(self, account_id: str, prefix: Prefix, name: str, limits: Limits) -> MadeKey:
        """Give an account another key. Refuses where it has too many, or is not there any more."""
        key = credential.new_key(prefix, self.shell.cell)
        new = kept(self.new_id(), key)
        told = await self.shell.do(advance.keys.make, account_id, new, name, limits)
        if isinstance(told, Missing):
            raise gone()
        if not told:
            raise Refusal(
                Why.FULL,
                f"An account has {advance.keys.MOST} API keys at most.",
                "Revoke one that you don't use.",
            )
        return MadeKey(new.id, key)

    async def rotate(self, account_id: str, key_id: str) -> MadeKey | None:
        """Put another key into the place of one, which isn't valid any more; None: no such key."""
        for row in await self.of_account(account_id):
            if row.id == key_id:
                key = credential.new_key(credential.prefix_of(row.shown), self.shell.cell)
                if await self.shell.do(advance.keys.rotate, account_id, kept(key_id, key)):
                    return MadeKey(key_id, key)
        return None

    async def revoke(self, account_id: str, key_id: str) -> bool:
        """End a key of an account; False where it has none of that id."""
        return await self.shell.do(advance.keys.revoke, account_id, key_id)

    async def of_account(self, account_id: str) -> list[KeyRow]:
        """Return the keys of an account that hold, the newest first."""
        return await api_keys.of_account(self.db, account_id)

    async def holder(self, text: str) -> KeyRow | None:
        """Return the key that a request shows; None where it isn't valid, or no more."""
        sha256 = credential.kept_of(text)
        row = await api_keys.find(self.db, sha256) if sha256 is not None else None
        if row is None or sha256 is None:
            return None
        if row.last_used_at is None or self.clock() - row.last_used_at >= NOTED:
            await self.shell.do(advance.keys.use, sha256)
        return row


def kept(key_id: str, key: str) -> NewKey:
    """Return what is kept of a key. It must be one of ours."""
    sha256 = credential.kept_of(key)
    assert sha256 is not None, "it was just made"
    return NewKey(key_id, sha256, credential.shown(key))
