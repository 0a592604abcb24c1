"""A second proof that somebody holds an account: by more than what he is logged in with.

It counts where it is a day old, or as old as the account: who has taken over a login could give an
account another recovery code, or join a wallet of his own.
"""

import hmac
from dataclasses import dataclass

from app import advance
from app.advance import Shell
from app.advance.accounts import SETTLED_AFTER
from app.ports import Clock
from app.refusal import Refusal
from app.trade.lightning_logins import LightningLogins, Unsigned
from app.trade.logins import sha256_of_code
from app.trade.wallet_logins import WalletLogins
from db import people
from db.engine import Database
from payments.siwe import Wrong

WRONG_CODE = "The recovery code isn't right, or less than a day old."
WRONG_WALLET = "This wallet does not open your account, or has for less than a day."
USED = "This nonce was used before. Ask for a new one."


class ProofNeeded(Refusal):
    """It is more than an account takes out in a day without a second proof."""


@dataclass(frozen=True, slots=True)
class Given:
    """What somebody has sent to prove it: a recovery code, a message and its signature, or what a
    Lightning wallet's code is fetched by.
    """

    recovery_code: str | None = None
    message: str | None = None
    signature: str | None = None
    k1: str | None = None
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Proofs:
    """The desk of second proofs."""

    db: Database
    shell: Shell
    wallet_logins: WalletLogins
    lightning_logins: LightningLogins
    clock: Clock

    async def proven(
        self, account_id: str, given: Given, domain: str | None
    ) -> bool | Unsigned | Wrong:
        """Say whether anything was sent that proves it; or what is wrong with it.

        `domain`: by which name wallets know us; None: none can sign here. A message and a code of
        a Lightning wallet are good once.
        """
        if given.recovery_code is not None:
            is_right = await self._is_code(account_id, given.recovery_code)
            return True if is_right else Wrong(WRONG_CODE)
        if given.k1 is not None and given.secret is not None:
            told = await self.lightning_logins.proven(account_id, given.k1, given.secret)
            return Wrong(WRONG_WALLET) if told is False else told
        if given.message is None or given.signature is None:
            return False
        if domain is None:
            return Wrong("Wallets can't sign in here: the server does not know its own address.")
        signed = await self.wallet_logins.proven(given.message, given.signature, domain)
        if isinstance(signed, Wrong):
            return signed
        opens = await self.shell.do(advance.accounts.prove, account_id, signed)
        if opens is None:
            return Wrong(USED)
        return True if opens else Wrong(WRONG_WALLET)

    async def _is_code(self, account_id: str, code: str) -> bool:
        known, given = await people.recovery_of(self.db, account_id), sha256_of_code(code)
        if known is None or given is None or not hmac.compare_digest(given, known.sha256):
            return False
        return known.since is None or known.since <= self.clock() - SETTLED_AFTER
