"""Logins by a Lightning wallet (LUD-04): a code is scanned, and the page that shows it is let in.

Whoever sees the code may sign it, so it opens nothing by itself: the page holds a secret, of which
the code carries a hash. Neither is kept; what a wallet has signed is, until the page fetches it.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app import advance
from app.advance import Shell
from app.advance.proofs import SignedBy, SignedCode
from app.ports import Clock
from app.refusal import Refusal, Why
from app.trade.logins import LoggedIn, Logins
from db import people
from db.engine import Database
from db.people_tables import IdentityKind, LoginBy
from payments.lnurl_auth import is_signed
from payments.seal import Seal
from payments.siwe import Wrong

KEPT = timedelta(minutes=10)
_NAMES = {False: "lnurl-auth", True: "lnurl-auth proof"}
_TIME, _HASH, _MARK = 8, 28, 28  # digits of a k1: until when, of which secret, and that it is ours
_K1 = re.compile("[0-9a-f]{64}")
_SECRET = re.compile("[0-9a-f]{64}")
_OLD = Wrong("This code is not ours, or too old. Open a new one.")

Admits = Callable[[], Awaitable[None]]  # counts a new account; raises Refusal where it is one more


@dataclass(frozen=True, slots=True)
class Code:
    """What a wallet signs, and what only the page that shows it knows."""

    k1: str
    secret: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Unsigned:
    """No wallet has signed this code yet."""


@dataclass(frozen=True, slots=True)
class LightningLogins:
    """The desk of Lightning wallets that sign in."""

    db: Database
    shell: Shell
    logins: Logins
    seal: Seal
    clock: Clock

    def code(self, *, is_proof: bool = False) -> Code:
        """Return a new code, and until when it is good: to sign in by, or as a second proof."""
        secret, until = secrets.token_hex(32), self.clock() + KEPT
        told = f"{int(until.timestamp()):0{_TIME}x}{_hash(secret)}"
        return Code(told + self.seal.mark(_NAMES[is_proof], told)[:_MARK], secret, until)

    async def sign(
        self, k1: str, key: str, signature: str, *, is_proof: bool = False
    ) -> Wrong | None:
        """Take what a wallet has signed; the same once more is as good.

        `is_proof`: its holder was asked for a second proof. Who was asked to sign in proves nothing
        more by it.
        """
        until = self._until(k1, is_proof=is_proof)
        if until is None:
            return _OLD
        if not is_signed(k1, key, signature):
            return Wrong("The signature isn't valid.")
        signed = SignedBy(key, k1, until)
        if not await self.shell.do(advance.accounts.sign_lightning, signed):
            return Wrong("This code was used before. Open a new one.")
        return None

    async def log_in(self, k1: str, secret: str, admits: Admits) -> LoggedIn | Unsigned | Wrong:
        """Log in by what a wallet has signed; the first login of a key opens its account."""
        if not self._is_theirs(k1, secret):
            return _OLD
        signer = await people.lightning_signer(self.db, k1)
        if signer is None:
            return Unsigned()
        if await people.holder_of(self.db, IdentityKind.LIGHTNING, signer) is None:
            await admits()
        token, login = self.logins.new(LoginBy.LIGHTNING)
        account = await self.shell.do(advance.accounts.log_in_by_lightning, k1, login)
        if account is None:
            return Unsigned()
        return LoggedIn(account.id, token, login.expires_at, is_new=account.is_new)

    async def join(self, account_id: str, k1: str, secret: str) -> str | Unsigned | Wrong:
        """Have the wallet that has signed open an account too; return its key.

        Raises Refusal (409) where it opens another one: two accounts are never made one.
        """
        if not self._is_theirs(k1, secret):
            return _OLD
        signer = await people.lightning_signer(self.db, k1)
        if signer is None:
            return Unsigned()
        joined = await self.shell.do(advance.accounts.join_lightning, account_id, k1)
        if joined is None:
            return Unsigned()
        if not joined:
            raise Refusal(
                Why.NOT_POSSIBLE_NOW,
                "This wallet opens another account, and two accounts are never made one.",
                "Sign in with the wallet to use that account.",
            )
        return signer

    async def waits(self, k1: str, secret: str) -> bool:
        """Say whether a second proof is waited for, of who knows the secret: nobody has signed."""
        if not self._is_theirs(k1, secret, is_proof=True):
            return False
        return await people.lightning_signer(self.db, k1) is None

    async def proven(self, k1: str, secret: str) -> SignedCode | Unsigned | Wrong:
        """Return a code that a wallet has signed as a second proof; it is not spent yet."""
        if not self._is_theirs(k1, secret, is_proof=True):
            return _OLD
        signer = await people.lightning_signer(self.db, k1)
        return Unsigned() if signer is None else SignedCode(k1)

    def _is_theirs(self, k1: str, secret: str, *, is_proof: bool = False) -> bool:
        """Say whether a code that is good still was made for who knows this secret."""
        if self._until(k1, is_proof=is_proof) is None or not _SECRET.fullmatch(secret):
            return False
        return hmac.compare_digest(_hash(secret), k1[_TIME : _TIME + _HASH])

    def _until(self, k1: str, *, is_proof: bool) -> datetime | None:
        """Return until when a code of ours is good; None for one that is not ours, or too old."""
        if not _K1.fullmatch(k1):
            return None
        told, mark = k1[: _TIME + _HASH], k1[_TIME + _HASH :]
        if not self.seal.has_marked(_NAMES[is_proof], told, mark):
            return None
        until = datetime.fromtimestamp(int(told[:_TIME], 16), UTC)
        return until if until > self.clock() else None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:_HASH]
