"""A second proof that somebody holds an account: by more than what he is logged in with.

Here it is read; the withdrawal that it approves spends it.
"""

import hmac
from dataclasses import dataclass

from app.advance.outcome import Disproved
from app.advance.proofs import Proof, RecoveryCode
from app.refusal import Refusal, Why
from app.trade.approvals import Withdrawal
from app.trade.lightning_logins import LightningLogins, Unsigned
from app.trade.logins import sha256_of_code
from app.trade.wallet_logins import WalletLogins
from db import people
from db.engine import Database
from payments.siwe import Wrong

_WHY = {
    Disproved.CODE: "The recovery code isn't right, or less than a day old.",
    Disproved.WALLET: "This wallet does not open your account, or has for less than a day.",
    Disproved.USED: "This proof was used before. Ask for a new one.",
}


class ProofNeeded(Refusal):
    """It is more than an account takes out in a day without a second proof."""


def disproved(why: Disproved) -> Refusal:
    """Return what is said to who has sent a second proof that does not hold."""
    bearer = {"WWW-Authenticate": 'Bearer realm="boltwork"'}
    return Refusal(Why.CREDENTIAL_INVALID, _WHY[why], headers=bearer)


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
    wallet_logins: WalletLogins
    lightning_logins: LightningLogins

    async def read(
        self, account_id: str, given: Given, domain: str | None, withdrawal: Withdrawal
    ) -> Proof | Unsigned | Wrong | None:
        """Return what was sent to prove that this withdrawal is its holder's, or what is wrong with
        it; None: nothing was sent. A wallet's message must say what is withdrawn.

        `domain`: by which name wallets know us; None: none can sign here.
        """
        if given.recovery_code is not None:
            return await self._code(account_id, given.recovery_code)
        if given.k1 is not None and given.secret is not None:
            return await self.lightning_logins.proven(given.k1, given.secret)
        if given.message is None or given.signature is None:
            return None
        if domain is None:
            return Wrong("Wallets can't sign in here: the server does not know its own address.")
        says = withdrawal.statement
        return await self.wallet_logins.proven(given.message, given.signature, domain, says)

    async def _code(self, account_id: str, code: str) -> RecoveryCode | Wrong:
        known, given = await people.recovery_of(self.db, account_id), sha256_of_code(code)
        if known is None or given is None or not hmac.compare_digest(given, known.sha256):
            return Wrong(_WHY[Disproved.CODE])
        return RecoveryCode(given)
