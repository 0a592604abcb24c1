"""Logins by a wallet: it signs a message with a nonce of ours, and each nonce is good once.

A nonce is not kept until it is used: it carries its time, and our mark.
"""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app import advance
from app.advance import Shell
from app.advance.proofs import SignedBy
from app.ports import Clock, UsdcRail
from app.refusal import LEAST_RETRY_S, Refusal, Why, unavailable
from app.trade.logins import LoggedIn, Logins
from db.people_tables import LoginBy
from payments import siwe
from payments.seal import Seal
from payments.siwe import Message, Wrong
from payments.usdc.network import BASE
from payments.usdc.outcome import Unknown

KEPT = timedelta(minutes=10)
_NAMES = {False: "sign-in nonce", True: "withdrawal nonce"}
_MARK = 40  # digits of the mark
_TIME, _CHANCE = 8, 24
_HEX = re.compile("0x(?:[0-9a-fA-F]{2})+")


@dataclass(frozen=True, slots=True)
class WalletLogins:
    """The desk of wallets that sign in."""

    shell: Shell
    logins: Logins
    seal: Seal
    clock: Clock
    usdc: UsdcRail | None  # by whose chain wallets are asked that are contracts

    @property
    def chain_id(self) -> int:
        """Return the chain that our messages name: any will do where a key signs them."""
        return self.usdc.network.chain_id if self.usdc else BASE.chain_id

    def nonce(self, *, approves: bool = False) -> tuple[str, datetime]:
        """Return a new nonce, and until when it is good: to sign in by, or to approve by it that
        money is taken out. One is never good for the other.
        """
        until = self.clock() + KEPT
        told = f"{int(until.timestamp()):0{_TIME}x}{secrets.token_hex(_CHANCE // 2)}"
        return told + self.seal.mark(_NAMES[approves], told)[:_MARK], until

    async def log_in(self, message: str, signature: str, domain: str) -> LoggedIn | Wrong:
        """Log in by a signed message; the first login of an address opens its account."""
        signed = await self.proven(message, signature, domain)
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
        signed = await self.proven(message, signature, domain)
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

    async def proven(
        self, message: str, signature: str, domain: str, approved: str | None = None
    ) -> SignedBy | Wrong:
        """Return whose wallet has signed a message with a nonce of ours, which is not spent yet.

        `approved`: what its statement must say, word by word, with a nonce to approve by. Raises
        Refusal (503) where a chain must be asked, and does not answer.
        """
        now = self.clock()
        told = siwe.read_message(message, domain, now)
        if isinstance(told, Wrong):
            return told
        until = self._until(told.nonce, approves=approved is not None)
        if until is None or until <= now:
            return Wrong("The nonce is not ours, too old, or not for this. Ask for a new message.")
        if approved is not None and told.statement != approved:
            return Wrong(f"The message approves something else. Its statement must be: {approved}")
        wrong = None if siwe.is_signed(told, signature) else await self._asked(told, signature)
        return wrong or SignedBy(told.address, told.nonce, until)

    async def _asked(self, told: Message, signature: str) -> Wrong | None:
        """Ask the chain whether the address is a contract that calls the signature its own; return
        what is wrong. On another chain the same address may be another one's contract.
        """
        if self.usdc is None or not _HEX.fullmatch(signature):
            return Wrong(siwe.NOT_SIGNED)
        network = self.usdc.network
        if told.chain_id != network.chain_id:
            hint = f"A wallet that is a contract signs with Chain ID {network.chain_id}."
            return Wrong(f"{siwe.NOT_SIGNED} {hint}")
        raw = bytes.fromhex(signature[2:])
        is_its = await self.usdc.ledger.is_signed_by_contract(told.address, told.digest, raw)
        if isinstance(is_its, Unknown):
            sentence = "The chain can't be asked about this wallet just now."
            raise unavailable(Why.NOT_WELL, sentence, LEAST_RETRY_S)
        return None if is_its else Wrong(siwe.NOT_SIGNED)

    def _until(self, nonce: str, *, approves: bool) -> datetime | None:
        """Return until when a nonce of ours is good; None for one that is not ours."""
        told, mark = nonce[: _TIME + _CHANCE], nonce[_TIME + _CHANCE :]
        if len(mark) != _MARK or not self.seal.has_marked(_NAMES[approves], told, mark):
            return None
        return datetime.fromtimestamp(int(told[:_TIME], 16), UTC)


def _used() -> Wrong:
    return Wrong("This nonce was used before. Ask for a new one.")
