"""A claim on a refund: with an invoice, or with a destination that it is sent to."""

from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from app import advance
from app.advance import Applied, Outcome, Shell
from app.ports import Destinations
from app.promises.keeping import Keeper
from app.promises.sending import IN_USDC, Sending, Unpayable, where
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from db import payouts
from db.engine import Database
from db.payouts import PayoutRow
from db.promises import Outbox, TryAgain
from db.signals import Signals
from payments import bolt11
from payments.lnurl import BadDestination, Destination
from statemachine.entries import Asset
from statemachine.payout import MOST_FAILURES, PayoutState
from statemachine.promises import FetchInvoice

PATIENCE_S = 8.0  # how long a claim waits for the rail's answer before it says "on its way"


@dataclass(frozen=True, slots=True)
class Claimed:
    """The outcome of a claim, so far."""

    state: PayoutState
    amount_msat: int
    payment_hash: str
    note: str | None


@dataclass(frozen=True, slots=True)
class Directed:
    """The outcome of naming a destination, so far."""

    paid: bool
    amount_msat: int
    note: str | None  # why it isn't sent, where the destination gave a reason


@dataclass(frozen=True, slots=True)
class Refunds:
    """The desk where refunds are claimed."""

    db: Database
    shell: Shell
    outbox: Outbox
    signals: Signals
    keeper: Keeper
    destinations: Destinations
    sending: Sending

    async def claim(self, job_id: str, text: str) -> Claimed:
        """Pay what a job owes back to an invoice of exactly that amount, and wait a moment for it.

        Raises BadInput for an invoice that can't be paid, and Refusal (409) when nothing is owed,
        or all of it is paid or on its way.
        """
        payout_id, payment_hash = await self.start(job_id, text)
        row = (await self._settled(job_id, {payout_id}))[0]
        return Claimed(row.state, row.sent, payment_hash, row.note)

    async def start(self, job_id: str, text: str, payout_id: str | None = None) -> tuple[str, str]:
        """Send what a job owes back to an invoice; return the payout's id and the payment_hash.

        With `payout_id` it is that one, else the one whose amount the invoice asks for. The same
        invoice again, while it is on its way, is a replay. Raises as `claim` does.
        """
        rows = await payouts.of_owner(self.db, job_id)
        if payout_id is not None:
            rows = [row for row in rows if row.id == payout_id]
        rows = _in_msat(rows)
        try:
            invoice = bolt11.decode(text)
        except bolt11.BadInvoice as bad:
            raise BadInput(str(bad)) from bad
        again = next((row for row in rows if row.payment_hash == invoice.payment_hash), None)
        if again is not None and again.state is PayoutState.IN_FLIGHT:
            return again.id, invoice.payment_hash
        waiting = _owed(rows)
        owed = self._asked_for(rows, waiting, invoice.amount_msat or 0)
        sent = await self.sending.send(owed, invoice)
        if isinstance(sent, Unpayable):
            raise BadInput(sent.sentence)
        if not isinstance(sent, Applied):
            raise _on_its_way()
        return owed.id, invoice.payment_hash

    def _asked_for(
        self, rows: list[PayoutRow], waiting: list[PayoutRow], amount_msat: int
    ) -> PayoutRow:
        """Return the payout that an invoice of this amount is for, or else the first.

        Raises Refusal (409) where the one of just this amount is on its way, or there.
        """
        exact = [row for row in waiting if row.amount_msat == amount_msat]
        least_msat = self.sending.least_msat
        near = [row for row in waiting if least_msat(row) <= amount_msat <= row.amount_msat]
        sent = [row for row in rows if row.amount_msat == amount_msat]
        if sent and not exact and not near:
            _owed(sent)  # says so
        return (exact or near or waiting)[0]

    async def direct(self, job_id: str, text: str) -> Directed:
        """Send everything that a job owes to a destination, now and after each failure.

        Raises BadInput for what is none, and Refusal (409) as `claim` does.
        """
        destination = self.destination_of(text)
        owed = _owed(_in_msat(await payouts.of_owner(self.db, job_id)))
        for row in owed:
            if row.refund_to == destination.text and row.failures < MOST_FAILURES:
                continue  # it goes there already
            promise = FetchInvoice(row.id, 0)
            blocked = await self.outbox.is_staged(promise.key)
            await self.shell.do(advance.payouts.redirect, row.id, destination.text)
            if blocked:
                # The promise to ask the old destination pauses, and would hold up the new one's.
                with suppress(TryAgain):
                    await self.keeper.keep(promise, 0)
        rows = await self._settled(job_id, {row.id for row in owed})
        paid = all(row.state is PayoutState.PAID for row in rows)
        note = next((row.note for row in rows if row.failures), None)
        return Directed(paid, sum(row.sent for row in rows), note)

    async def sendable_msat(self, payout: PayoutRow) -> int:
        """Return what an invoice for a payout may ask for now; 0 where it costs more to send."""
        return (await self.sending.share_of(payout)).sendable_msat

    async def redirect(self, payout: PayoutRow, text: str) -> Outcome:
        """Send one payout to this destination from now on; anything but Applied changed nothing.

        Raises BadInput for what is none of its asset.
        """
        destination = where(self.destinations, payout, text)
        if isinstance(destination, BadDestination):
            raise BadInput(destination.sentence)
        return await self.shell.do(advance.payouts.redirect, payout.id, destination)

    async def ask(self, payout: PayoutRow) -> bool:
        """Ask the rail what became of a payout; False where that waits to be handed to it.

        Raises TryAgain where it can't be handed over now.
        """
        if payout.asset is not Asset.MSAT:
            await self.keeper.usdc.ask(payout.id, payout.attempts)
            return True
        return await self.keeper.ask(payout.id, payout.attempts)

    def destination_of(self, text: str) -> Destination:
        """Return what a text means as a destination, or raise BadInput: what is wrong with it."""
        destination = self.destinations.parse(text)
        if isinstance(destination, BadDestination):
            raise BadInput(destination.sentence)
        return destination

    async def _settled(self, job_id: str, payout_ids: set[str]) -> list[PayoutRow]:
        """Wait a moment until these are paid, or wait for their owner again; return their rows.

        Payouts go on whether a caller waits or not.
        """
        until = monotonic() + PATIENCE_S
        changed, stop = self.signals.watch(job_id)
        try:
            while True:
                changed.clear()
                rows = await payouts.of_owner(self.db, job_id)
                rows = [row for row in rows if row.id in payout_ids]
                left_s = until - monotonic()
                if left_s <= 0 or not any(_is_moving(row) for row in rows):
                    return rows
                await self.signals.wait(changed, left_s)
        finally:
            stop()


def refund_reason(reason: str) -> str:
    """Return why something is owed back, as one word that programs compare."""
    return reason.replace(" ", "_")


def _in_msat(rows: list[PayoutRow]) -> list[PayoutRow]:
    """Return what an invoice can be made for. What is owed in USDC needs none."""
    if rows and all(row.asset is not Asset.MSAT for row in rows):
        raise Refusal(Why.NOTHING_OWED, IN_USDC)
    return [row for row in rows if row.asset is Asset.MSAT]


def _owed(rows: list[PayoutRow]) -> list[PayoutRow]:
    waiting = [row for row in rows if row.state is PayoutState.OWED]
    if not rows:
        raise Refusal(Why.NOTHING_OWED, "No refund is owed: nothing is left, or the work goes on.")
    if not waiting and any(row.state is PayoutState.IN_FLIGHT for row in rows):
        raise _on_its_way()
    if not waiting:
        raise Refusal(Why.REFUND_PAID, "This refund was paid already.")
    return waiting


def _on_its_way() -> Refusal:
    return Refusal(
        Why.REFUND_IN_FLIGHT,
        "This refund is on its way to another invoice, and is not sent twice.",
        "Its refundState shows when it has arrived, or that it is owed again.",
    )


def _is_moving(row: PayoutRow) -> bool:
    """Say whether a payout is on its way, or on its first try to be."""
    if row.state is PayoutState.OWED:
        return row.refund_to is not None and row.failures == 0
    return bool(row.state is PayoutState.IN_FLIGHT)
