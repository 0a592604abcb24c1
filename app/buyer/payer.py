"""Pays for a buyer: what may be paid, written down first, and each invoice once.

Right before a payment one place decides (Payments.begin): within the limit of the purchase and the
budget of the day, each thing once, for what the invoice itself says. Whatever the wallet does not
say for certain is looked up until it is known, or given up on with a sentence; it is never sent
again by the same run.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import IntEnum
from typing import Any, TypeVar

from app.buyer.spending import Again, Before, Beyond, Over, Payments, Unkept, Wanted
from app.buyer.wallets.wallet import Overcharged, Wallet, due, sats_of
from app.plain_text import one_line
from payments.bolt11 import Invoice, whole_sats
from payments.rail import Absent, Failed, Outcome, Pending, Settled
from pricing.money import sats_up

T = TypeVar("T")
PATIENCE_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 4.0


class Exit(IntEnum):
    """What a command ends with; scripts can use it."""

    COMPLETE = 0
    FAILED = 1  # the job failed, or something else went wrong
    REFUSED = 2  # over a limit or a budget, or wrong usage: not paid
    REJECTED = 3  # the agent rejected the request
    UNPAID = 4  # a payment could not be made, or its outcome is unknown
    AWAY = 5  # the server can't be reached, or isn't a Boltwork server


class Stop(Exception):
    """The end of a purchase that is not a job's end: the exit code, and a sentence."""

    def __init__(self, code: Exit, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence

    def of(self, what: str) -> "Stop":
        """Return the same, with another sentence after it."""
        sentence = f"{self.sentence} {what}"
        return NotPaid(sentence) if isinstance(self, NotPaid) else Stop(self.code, sentence)


class NotPaid(Stop):
    """A payment was not made, or its outcome is unknown."""

    def __init__(self, sentence: str) -> None:
        super().__init__(Exit.UNPAID, sentence)


async def never() -> bool:
    """Return that the server has not seen a payment: it isn't asked."""
    return False


class Payer:
    """A wallet, with what may be spent from it. Without `spending` it is known to this object only.

    One is enough for everything that a program buys.
    """

    def __init__(
        self,
        wallet: Wallet,
        spending: Payments | None = None,
        *,
        patience_s: float = PATIENCE_S,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.wallet = wallet
        self.spending = Payments() if spending is None else spending
        self._network = wallet.network
        self._patience_s, self._pause = patience_s, pause

    @classmethod
    def of(cls, wallet: "Wallet | Payer") -> "Payer":
        """Return who pays with a wallet."""
        return wallet if isinstance(wallet, Payer) else cls(wallet)

    async def pay(
        self,
        shown: Mapping[str, Any],
        wanted: Wanted,
        arrived: Callable[[], Awaitable[bool]] = never,
    ) -> Settled | None:
        """Pay an invoice of the server's; raise Stop unless it is certain that it was paid.

        `arrived` asks the server whether it has the payment. None is returned when the server
        reported it first, or when a person pays: the job's state shows it then.
        """
        invoice = self._checked(shown)
        before = await self._begin(invoice.payment_hash, sats_of(invoice), wanted)
        self._network = invoice.network
        outcome = await self._sent(invoice, before)
        if self.wallet.is_by_hand:
            return None
        if isinstance(outcome, Failed):
            if before is None:
                await self._forget(invoice)
            raise NotPaid(f"{self._who} did not pay: {_reason(outcome)}.")
        paid = outcome if isinstance(outcome, Settled) else None
        if paid is None:
            paid = await self._cleared_up(invoice, outcome, arrived)
        if paid is not None:
            await self._count_fee(invoice, paid)
        return paid

    def _checked(self, shown: Mapping[str, Any]) -> Invoice:
        """Return the invoice, if it asks for the stated amount on the wallet's network."""
        try:
            invoice = due(shown)
        except Overcharged as wrong:
            raise NotPaid(f"{wrong} It was not paid.") from wrong
        if invoice.network != (self._network or invoice.network):
            raise NotPaid(
                f"The server's invoice is on another network (ln{invoice.network}) than the"
                f" {self.wallet.name} wallet (ln{self._network}). It was not paid."
            )
        return invoice

    async def _sent(self, invoice: Invoice, before: Before | None) -> Outcome:
        """Have the wallet pay, unless an earlier run began to: then that is looked up first."""
        if before is not None and not self.wallet.is_by_hand:
            outcome = await self.wallet.look_up(invoice)
            if not isinstance(outcome, Absent | Failed):
                return outcome
        if before is not None and before.against is not None:  # it was never sent, or by hand
            raise _stop(before.against)
        return await self.wallet.pay(invoice)

    async def paid_for(self, purchase: str) -> dict[str, int]:
        """Return what was paid for each purpose of a purchase, as far as it is written down."""
        return await self._kept(self.spending.of, purchase)

    async def _cleared_up(
        self, invoice: Invoice, outcome: Outcome, arrived: Callable[[], Awaitable[bool]]
    ) -> Settled | None:
        """Look a payment up until its outcome is known. Raises Stop when it stays unknown."""
        waited_s, pause_s = 0.0, FIRST_PAUSE_S
        while True:
            if await arrived():
                return None
            found = await self.wallet.look_up(invoice)
            if isinstance(found, Settled):
                return found
            if isinstance(found, Failed):
                raise NotPaid(f"{self._who} says that the payment failed: {_reason(found)}.")
            if not isinstance(found, Absent):  # which proves nothing so soon
                outcome = found
            if waited_s >= self._patience_s:
                why = "it is under way" if isinstance(outcome, Pending) else _reason(outcome)
                raise NotPaid(
                    f"It is not known yet whether the payment of {whole_sats(sats_of(invoice))}"
                    f" was made ({why}). It is not sent again."
                )
            await self._pause(pause_s)
            waited_s, pause_s = waited_s + pause_s, min(2 * pause_s, LONGEST_PAUSE_S)

    @property
    def _who(self) -> str:
        return f"The {self.wallet.name} wallet"

    # ----------------------------------------------------------------- budget

    async def check(self, amount_sats: int) -> None:
        """Raise Stop when this much is more than is left of the budget. Nothing is counted."""
        if self.spending.limit_sats is None:
            return
        over = await self._kept(self.spending.would_be_over, amount_sats)
        if over is not None:
            raise _stop(over)

    async def set_aside(self, name: str, amount_sats: int, wanted: Wanted) -> None:
        """Count what is about to be spent under a name. Raises Stop when it is too much."""
        await self._begin(name, amount_sats, wanted)

    async def settle_aside(self, name: str, amount_sats: int) -> None:
        """Count what was set aside under a name as this much."""
        await self._kept(self.spending.correct, name, amount_sats)

    async def _begin(self, name: str, amount_sats: int, wanted: Wanted) -> Before | None:
        """Decide on a payment and record it; return it if an earlier run began it."""
        verdict = await self._kept(self.spending.begin, name, amount_sats, wanted)
        if isinstance(verdict, Over | Beyond | Again):
            raise _stop(verdict)
        return verdict if isinstance(verdict, Before) else None

    async def _forget(self, invoice: Invoice) -> None:
        await self._kept(self.spending.forget, invoice.payment_hash)

    async def _count_fee(self, invoice: Invoice, paid: Settled) -> None:
        fee_sats = sats_up(paid.fee_msat)
        if fee_sats:
            spent_sats = sats_of(invoice) + fee_sats
            await self._kept(self.spending.correct, invoice.payment_hash, spent_sats)

    async def _kept(self, keep: Callable[..., T], *given: Any) -> T:
        """Read or write the record in a thread: it may be a file with a lock."""
        try:
            return await asyncio.to_thread(keep, *given)
        except Unkept as unkept:
            raise Stop(Exit.REFUSED, str(unkept)) from unkept


def _stop(why: Over | Beyond | Again) -> Stop:
    code = Exit.UNPAID if isinstance(why, Again) else Exit.REFUSED
    return Stop(code, f"{why.sentence} It was not paid.")


def _reason(outcome: Outcome) -> str:
    return one_line(str(getattr(outcome, "reason", "no answer"))).rstrip(".")
