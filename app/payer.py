"""Pays for a buyer: within the budget, written down first, and each invoice once.

Whatever the wallet does not say for certain is looked up until it is known, or given up on with
a sentence; it is never sent again by the same run.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import IntEnum
from typing import Any

from app.spending import Before, Over, Spending, Unkept
from app.wallets.wallet import Overcharged, Wallet, due, sats_of
from payments.bolt11 import Invoice
from payments.rail import Absent, Failed, Outcome, Pending, Settled
from pricing.money import MSAT_PER_SAT, ceil_div

PATIENCE_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 4.0


class Exit(IntEnum):
    """What a command ends with; scripts can use it."""

    COMPLETE = 0
    FAILED = 1  # the job failed, or something else went wrong
    REFUSED = 2  # before anything was paid: over a limit or a budget, or asked for wrongly
    REJECTED = 3  # the agent does not take the request
    UNPAID = 4  # a payment could not be made, or nobody knows whether it was
    AWAY = 5  # the server can't be reached


class Stop(Exception):
    """The end of a purchase that is not a job's end: the exit code, and a sentence."""

    def __init__(self, code: Exit, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence


async def never() -> bool:
    """Say that the server has not seen a payment: nobody asks it."""
    return False


class Payer:
    """A wallet, with what may be spent from it. Without `spending` nothing is written down."""

    def __init__(
        self,
        wallet: Wallet,
        spending: Spending | None = None,
        *,
        patience_s: float = PATIENCE_S,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.wallet, self.spending = wallet, spending
        self.paid_sats = 0
        self._patience_s, self._pause = patience_s, pause

    async def pay(
        self, told: Mapping[str, Any], arrived: Callable[[], Awaitable[bool]] = never
    ) -> Settled | None:
        """Pay an invoice that the server told of; raise Stop unless that is certain.

        `arrived` asks the server whether it has the payment. None is returned when that knew it
        first, or when a person pays: the job tells.
        """
        try:
            invoice = due(told)
        except Overcharged as wrong:
            raise Stop(Exit.UNPAID, f"{wrong} It was not paid.") from wrong
        begun_before = await self._count(invoice)
        if begun_before and not self.wallet.is_by_hand:
            outcome = await self.wallet.look_up(invoice)
            if isinstance(outcome, Absent | Failed):  # an earlier run never sent it
                outcome = await self.wallet.pay(invoice)
        else:
            outcome = await self.wallet.pay(invoice)
        if self.wallet.is_by_hand:
            return None
        if isinstance(outcome, Failed):
            if not begun_before:
                await self._forget(invoice)
            raise Stop(Exit.UNPAID, f"{self._who} did not pay: {outcome.reason}.")
        if isinstance(outcome, Settled):
            paid: Settled | None = outcome
        else:
            paid = await self._cleared_up(invoice, outcome, arrived)
        self.paid_sats += sats_of(invoice)
        if paid is not None:
            await self._count_fee(invoice, paid)
        return paid

    async def _cleared_up(
        self, invoice: Invoice, outcome: Outcome, arrived: Callable[[], Awaitable[bool]]
    ) -> Settled | None:
        """Look a payment up until its outcome is known. Raises Stop when it does not get known."""
        waited_s, pause_s = 0.0, FIRST_PAUSE_S
        while True:
            if await arrived():
                return None
            found = await self.wallet.look_up(invoice)
            if isinstance(found, Settled):
                return found
            if isinstance(found, Failed):
                raise Stop(
                    Exit.UNPAID, f"{self._who} says that the payment failed: {found.reason}."
                )
            if not isinstance(found, Absent):  # which proves nothing so soon
                outcome = found
            if waited_s >= self._patience_s:
                why = "it is under way" if isinstance(outcome, Pending) else str(_reason(outcome))
                raise Stop(
                    Exit.UNPAID,
                    f"Nobody knows yet whether the payment of {sats_of(invoice)} sats was made"
                    f" ({why}). It is not sent again.",
                )
            await self._pause(pause_s)
            waited_s, pause_s = waited_s + pause_s, min(2 * pause_s, LONGEST_PAUSE_S)

    @property
    def _who(self) -> str:
        return f"The {self.wallet.name} wallet"

    # ----------------------------------------------------------------- budget

    async def check(self, amount_sats: int) -> None:
        """Raise Stop when this much is more than is left of the budget. Nothing is counted."""
        spending = self.spending
        if spending is None or spending.limit_sats is None:
            return
        try:
            over = await asyncio.to_thread(spending.would_be_over, amount_sats)
        except Unkept as unkept:
            raise Stop(Exit.REFUSED, str(unkept)) from unkept
        if over is not None:
            raise _over(amount_sats, over)

    async def set_aside(self, name: str, amount_sats: int) -> None:
        """Count what is about to be spent under a name. Raises Stop when it is too much."""
        await self._begin(name, amount_sats)

    async def settle_aside(self, name: str, amount_sats: int) -> None:
        """Count what was set aside under a name as this much."""
        if self.spending is not None:
            await asyncio.to_thread(self.spending.correct, name, amount_sats)

    async def _count(self, invoice: Invoice) -> bool:
        """Write a payment down that is about to be made; say whether it was begun before."""
        return await self._begin(invoice.payment_hash, sats_of(invoice))

    async def _begin(self, name: str, amount_sats: int) -> bool:
        if self.spending is None:
            return False
        try:
            counted = await asyncio.to_thread(self.spending.begin, name, amount_sats)
        except Unkept as unkept:
            raise Stop(Exit.REFUSED, f"{unkept} Nothing was paid.") from unkept
        if isinstance(counted, Over):
            raise _over(amount_sats, counted)
        return isinstance(counted, Before)

    async def _forget(self, invoice: Invoice) -> None:
        if self.spending is not None:
            await asyncio.to_thread(self.spending.forget, invoice.payment_hash)

    async def _count_fee(self, invoice: Invoice, paid: Settled) -> None:
        fee_sats = ceil_div(paid.fee_msat, MSAT_PER_SAT)
        if self.spending is not None and fee_sats:
            amount_sats = sats_of(invoice) + fee_sats
            await asyncio.to_thread(self.spending.correct, invoice.payment_hash, amount_sats)


def _over(amount_sats: int, over: Over) -> Stop:
    return Stop(Exit.REFUSED, f"Not paid: {amount_sats} sats. {over.sentence}")


def _reason(outcome: Outcome) -> str:
    return str(getattr(outcome, "reason", "no answer"))
