"""What is sold for USDC, by signed orders: claimed first, settled then, and only then begun.

An order buys one thing, however often and from wherever it is sent. Whoever signs a second one for
what he has had no answer about is given the first, and the second one is left alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from time import monotonic
from typing import Any, Final

import structlog

from app import advance
from app.advance import Act, Shell
from app.promises.settling import Settling, authorization_of, told_of
from app.refusal import Refusal, Why, unavailable
from app.telemetry.logs import about
from db import authorizations
from db.authorizations import AuthorizationRow
from db.engine import Database
from db.signals import Signals
from payments.usdc.outcome import Settled
from payments.usdc.payment import Payment
from payments.usdc.x402 import PaymentState, Retry, response
from pricing.money import MicroUsdc
from statemachine.authorization import AuthorizationState
from statemachine.owner import Owner

log = structlog.get_logger("boltwork.usdc")

TOLD_AGAIN: Final = timedelta(hours=1)  # so long whoever sends no key is answered again
PAUSE_S: Final = 0.5  # between two looks, where nothing tells of a change
PENDING: Final = "settlement_pending"


@dataclass(frozen=True, slots=True)
class Thing:
    """What an order is claimed for: whose money it will be, and what writes that, unpaid."""

    owner: Owner
    begin: Callable[[Act], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Bought:
    """What a payment has bought, settled or about to be."""

    authorization: str
    owner: Owner
    is_settled: bool
    told: dict[str, Any]  # x402's SettleResponse
    # The order that was shown was shown to nobody before: whoever sent it holds the payer's key. Of
    # one that was handed over, anybody may read the signature on the chain.
    is_proof: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class NotPaid:
    """A payment that paid nothing: its sender may sign another one."""

    sentence: str
    told: dict[str, Any]  # x402's SettleResponse
    retry_action: Retry = Retry.RESIGN
    payment_state: PaymentState = PaymentState.NOT_PAID


def purchase_of(payment: Payment, resource: str, body: bytes, key: str | None) -> str:
    """Return what names a purchase, whatever it is paid by: its payer, what is asked for, and the
    Idempotency-Key, where one was given."""
    parts = (payment.network.caip2, payment.authorization.payer, resource, key or "")
    return sha256("\n".join(parts).encode() + b"\n" + sha256(body).digest()).hexdigest()


@dataclass(frozen=True, slots=True)
class UsdcSales:
    """The desk that sells for signed orders in USDC."""

    db: Database
    shell: Shell
    signals: Signals
    settling: Settling
    answer_s: float  # how long an answer may take
    unfinished: set[asyncio.Task[None]] = field(default_factory=set)

    async def buy(
        self,
        payment: Payment,
        purchase: str,
        prepare: Callable[[], Awaitable[Thing]],
        is_named: bool = False,
    ) -> Bought | NotPaid:
        """Return what this payment has bought. `prepare` is asked for what is to be sold, where
        nothing was before; nothing of it is done until the money is ours. `is_named`: its sender
        has named it by a key that he alone knows.

        Raises Refusal: 409 when the order was used for another purchase, or its answer was given
        long ago, and what `prepare` does.
        """
        until_s = monotonic() + self.answer_s
        row, is_new = await self._claimed(payment, purchase, prepare, is_named)
        if not is_new and not is_named:
            self._still_told(payment, row)
        about(**{row.owner.kind.value: row.owner.id})
        changed, stop = self.signals.watch(row.owner.id)
        try:
            task = self._go_on(self.settling.hand_over(row) if is_new else self._look(row))
            await asyncio.wait({task}, timeout=until_s - monotonic())
            while True:
                changed.clear()
                now = await authorizations.get(self.db, row.id)
                assert now is not None, "an order that was claimed stays"
                left_s = until_s - monotonic()
                is_known = now.state is not AuthorizationState.CLAIMED or now.declined
                # Whoever has handed it over waits no longer than for an answer to that.
                if is_known or is_new or left_s <= 0:
                    return _answer(payment, now, is_new)
                await self.signals.wait(changed, min(left_s, PAUSE_S))
        finally:
            stop()

    async def answered(self, bought: Bought) -> None:
        """Take note that its buyer has had his answer: the next such request buys anew."""
        await self.shell.do(advance.authorizations.answered, bought.authorization)

    async def _claimed(
        self,
        payment: Payment,
        purchase: str,
        prepare: Callable[[], Awaitable[Thing]],
        is_named: bool,
    ) -> tuple[AuthorizationRow, bool]:
        """Return the order that pays for this purchase, and whether it was claimed just now."""
        before = await self._before(payment, purchase, is_named)
        if before is not None:
            return before, False
        thing = await prepare()

        async def claim(act: Act) -> AuthorizationRow | None:
            told = told_of(payment, purchase)
            row = await advance.authorizations.claim(act, thing.owner, told, is_named)
            if row is not None:
                await thing.begin(act)
            return row

        row = await self.shell.do(claim)
        if row is not None:
            return row, True
        before = await self._before(payment, purchase, is_named)
        if before is None:  # what stood in the way has failed meanwhile, or was answered
            raise unavailable(Why.BUSY, "This purchase changed at the same moment.", 1)
        return before, False

    async def _before(
        self, payment: Payment, purchase: str, is_named: bool
    ) -> AuthorizationRow | None:
        """Return the order that pays for this purchase already: this one, the one in whose place
        it was shown before, or one that its buyer has had no answer about, or has named."""
        shown = authorization_of(payment)
        row = await authorizations.get(self.db, shown)
        row = row or await authorizations.answering(self.db, shown)
        if row is None:
            return await self._in_its_place(payment, purchase, is_named)
        if row.purchase != purchase:
            raise Refusal(
                Why.KEY_REUSED,
                "This payment was made for another request, and with that one it is still good.",
                "Send the request that it was made for, or sign a new payment for this one.",
            )
        return row

    async def _in_its_place(
        self, payment: Payment, purchase: str, is_named: bool
    ) -> AuthorizationRow | None:
        """Return the order that pays for this purchase in the place of a new one, which then buys
        nothing else: its buyer may send it once more after he has had the answer."""
        row = await authorizations.of_purchase(self.db, purchase, is_named)
        if row is not None:
            until_s = payment.authorization.valid_before_s
            shown = authorization_of(payment)
            await self.shell.do(advance.authorizations.present, shown, row.id, until_s)
        return row

    def _still_told(self, payment: Payment, row: AuthorizationRow) -> None:
        """Raise Refusal where an order was answered so long ago that no client tries it again.

        Once it is on the chain, anybody can read it there, and send it with a body that he guesses.
        """
        answered_at = row.answered_at if authorization_of(payment) == row.id else None
        if answered_at is not None and self.shell.clock() - answered_at > TOLD_AGAIN:
            raise Refusal(
                Why.NO_ANSWER_KEPT,
                "This payment has bought what it was made for, and was answered.",
                "With an Idempotency-Key, the answer is given again later, too.",
            )

    async def _look(self, claimed: AuthorizationRow) -> None:
        """Look at an order of which nobody knows, if no other process does just now."""
        if claimed.state is AuthorizationState.CLAIMED:
            row = await self.settling.take_on(claimed.id)
            if row is not None:
                await self.settling.look(row)

    def _go_on(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Have something done to its end, whether or not its buyer waits so long."""
        task = asyncio.create_task(work)
        self.unfinished.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        """What could not be done, the loop does in its turn."""
        self.unfinished.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("settling_broke", error=type(task.exception()).__name__)


def _answer(payment: Payment, row: AuthorizationRow, is_new: bool) -> Bought | NotPaid:
    """Return what is to be said of an order as it stands."""
    network, payer = payment.network, payment.authorization.payer
    is_proof = is_new or authorization_of(payment) != row.id
    if row.txid is not None:
        settled = Settled(row.txid, MicroUsdc(row.amount_microusdc))
        return Bought(row.id, row.owner, True, response(network, payer, settled), is_proof)
    if row.state is AuthorizationState.FAILED or row.declined:
        reason = row.reason or "declined"
        sentence = f"The payment was not made ({reason}). Nothing was charged."
        return NotPaid(sentence, response(network, payer, reason))
    return Bought(row.id, row.owner, False, response(network, payer, PENDING), is_proof)
