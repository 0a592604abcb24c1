"""Logins by a wallet: it signs a message with a nonce of ours, and each nonce is good once.

A nonce is not kept until it is used: it carries its time, and our mark.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app import advance
from app.advance import Shell
from app.advance.accounts import SignedBy
from app.ports import Clock
from app.refusal import Refusal, Why
from app.trade.logins import LoggedIn, Logins
from db.people_tables import LoginBy
from payments import siwe
from payments.seal import Seal
from payments.siwe import SignIn, Wrong

KEPT = timedelta(minutes=10)
_NAME, _MARK = "sign-in nonce", 40  # digits of the mark
_TIME, _CHANCE = 8, 24


@dataclass(frozen=True, slots=True)
class WalletLogins:
    """The desk of wallets that sign in."""

    shell: Shell
    logins: Logins
    seal: Seal
    clock: Clock

    def nonce(self) -> tuple[str, datetime]:
        """Return a new nonce, and until when it is good."""
        until = self.clock() + KEPT
        told = f"{int(until.timestamp()):0{_TIME}x}{secrets.token_hex(_CHANCE // 2)}"
        return told + self.seal.mark(_NAME, told)[:_MARK], until

    async def log_in(self, message: str, signature: str, domain: str) -> LoggedIn | Wrong:
        """Log in by a signed message; the first login of an address opens its account."""
        signed = self._signed(message, signature, domain)
        if isinstance(signed, Wrong):
            return signed
        token, login = self.logins.new(LoginBy.WALLET)
        account = await self.shell.do(advance.accounts.log_in_by_wallet, signed, login)
        if account is None:
            return _used()
        return LoggedIn(account.id, token, login.expires_at, is_new=account.is_new)

    async def join(self, account_id: str, message: str, signature: str, domain: str) -> str | Wrong:
        """Have a wallet open an account too, which its holder is logged into; return its address.

        Raises Refusal (409) where it opens another one: two accounts are never made one.
        """
        signed = self._signed(message, signature, domain)
        if isinstance(signed, Wrong):
            return signed
        joined = await self.shell.do(advance.accounts.join_wallet, account_id, signed)
        if joined is None:
            return _used()
        if not joined:
            raise Refusal(
                Why.NOT_POSSIBLE_NOW,
                "This wallet opens another account, and two accounts are never made one.",
                "Sign in with the wallet to use that account.",
            )
        return signed.address

    def _signed(self, message: str, signature: str, domain: str) -> SignedBy | Wrong:
        now = self.clock()
        signed = siwe.signed_in(message, signature, domain, now)
        if isinstance(signed, Wrong):
            return signed
        until = self._until(signed)
        if until is None or until <= now:
            return Wrong("The nonce is not ours, or too old. Ask for a new one.")
        return SignedBy(signed.address, signed.nonce, until)

    def _until(self, signed: SignIn) -> datetime | None:
        """Return until when a nonce of ours is good; None for one that is not ours."""
        told, mark = signed.nonce[: _TIME + _CHANCE], signed.nonce[_TIME + _CHANCE :]
        if len(mark) != _MARK or not self.seal.has_marked(_NAME, told, mark):
            return None
        return datetime.fromtimestamp(int(told[:_TIME], 16), UTC)


def _used() -> Wrong:
    return Wrong("This nonce was used before. Ask for a new one.")
