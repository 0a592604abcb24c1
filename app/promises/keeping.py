"""Keep one promise, and report the outcome as an event.

Each method reads the row, leaves it when the promise is kept already, asks the outside with no
transaction open, and tells the shell. All of them may run twice.
"""

from datetime import timedelta

import structlog

from app import advance
from app.advance import Shell
from app.ports import Clock
from app.promises.courier import PAUSED_S, Courier
from app.promises.labour import Labour
from app.promises.notices import Notices
from app.promises.payees import Payees, payee_of
from app.promises.sending import Sending
from app.promises.usdc_sending import UsdcSending
from db import invoices, payouts
from db.engine import Database
from db.payouts import LiveAttempt
from db.promises import Outbox, TryAgain
from payments import rail
from payments.rail import Rail
from pricing.money import Msat
from statemachine.invoice import InvoiceState
from statemachine.owner import Purpose, named
from statemachine.promises import (
    CreateInvoice,
    FetchInvoice,
    Judge,
    Notify,
    PayInvoice,
    Promise,
    SendUsdc,
    Work,
)
from statemachine.public_id import public_id

log = structlog.get_logger("boltwork.promises")

# How long after an invoice's own expiry a rail's "failed" is believed: until then a payment that
# was called failed has been seen to settle. Ten minutes and more, though our clock jump an hour.
SETTLE_MARGIN = timedelta(minutes=75)


class Keeper:
    """Keeps what the shell has promised."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        shell: Shell,
        rail: Rail,
        clock: Clock,
        *,
        labour: Labour,
        courier: Courier,
        payees: Payees,
        sending: Sending,
        usdc: UsdcSending,
        notices: Notices,
        invoice_expiry_s: int,
    ) -> None:
        self._db, self._outbox, self._shell = db, outbox, shell
        self._rail, self._clock = rail, clock
        self._labour, self._courier, self._payees = labour, courier, payees
        self._sending, self.usdc, self._notices = sending, usdc, notices
        self._invoice_expiry_s = invoice_expiry_s

    async def keep(self, promise: Promise, tries: int) -> None:
        """Keep one promise; TryAgain when it can't be kept now."""
        match promise:
            case CreateInvoice(invoice_id):
                made = await self.create_invoice(invoice_id)
                if made is not None:
                    raise TryAgain(made.reason, _pause_s(tries, made.retry_after_s))
            case Judge(job_id):
                await self._labour.judge(job_id, tries)
            case Work(job_id):
                await self._labour.work(job_id, tries)
            case PayInvoice(payout_id, attempt):
                await self.pay(payout_id, attempt, tries)
            case FetchInvoice(payout_id, failures):
                await self._courier.fetch(payout_id, failures, tries)
            case SendUsdc(payout_id, failures):
                await self.usdc.send(payout_id, failures)
            case Notify(receiver):
                await self._notices.serve(receiver)

    async def create_invoice(self, invoice_id: str) -> rail.Unavailable | None:
        """Have the rail make an invoice that is wanted; None when it is there."""
        row = await invoices.get(self._db, invoice_id)
        if row is None or row.state is not InvoiceState.WANTED:
            return None
        opened = await self.new_invoice(invoice_id, row.purpose, row.amount_msat)
        if isinstance(opened, rail.Unavailable):
            return opened
        await self._shell.do(advance.invoices.open, invoice_id, opened)
        return None

    async def new_invoice(
        self, key: str, purpose: Purpose, amount_msat: int
    ) -> rail.Opened | rail.Unavailable:
        """Have the rail make an invoice. Until it is written down nobody sees it, or can pay it.

        `key` is the invoice's name, or begins as that does.
        """
        opened = await self._rail.create_invoice(
            key=key,
            amount_msat=Msat(amount_msat),
            memo=_memo(key, purpose),
            expiry_s=self._invoice_expiry_s,
        )
        if isinstance(opened, rail.Unavailable):
            log.warning("rail_unavailable", call="create_invoice", reason=opened.reason)
        return opened

    async def pay(self, payout_id: str, number: int, tries: int = 0) -> None:
        """Hand an attempt to the rail, once; what it does not know is asked later by the sweep."""
        attempt = await payouts.live_attempt(self._db, payout_id, number)
        if attempt is None:
            return
        if attempt.called_at is not None:
            await self.ask(payout_id, number)
            return
        if not await self._sending.pays_out():
            raise TryAgain("payouts are paused by the operator", PAUSED_S)
        with self._payees.one_more(payee_of(attempt.bolt11)):
            await self._hand_over(attempt, tries)

    async def _hand_over(self, attempt: LiveAttempt, tries: int) -> None:
        now = self._clock()
        payout_id, number = attempt.payout_id, attempt.number
        # Claimed in a commit of its own: after this nobody can say that nothing was sent.
        payer = self._rail.wallet
        called = await self._shell.do(advance.payouts.call, payout_id, number, payer)
        if not isinstance(called, advance.Applied):
            return
        # Claimed first all the same: only then is it sure that nobody else is calling just now.
        if now >= attempt.expires_at:
            # After a restore it may have been called all the same, and the books forgot.
            outcome = await self._rail.look_up_payment(attempt.payment_hash, payer)
            if not isinstance(outcome, rail.Absent):
                late = now >= attempt.expires_at + SETTLE_MARGIN
                await self._conclude(payout_id, number, outcome, believe_failed=late)
                return
            reason = "The invoice expired before it could be paid. Give another one."
            await self._shell.do(advance.payouts.take_back, payout_id, number, reason)
            return
        limit_msat = Msat(attempt.fee_limit_msat)
        outcome = await self._rail.pay(attempt.bolt11, limit_msat, payer)
        if isinstance(outcome, rail.Unsent):
            await self._shell.do(advance.payouts.uncall, payout_id, number)
            raise TryAgain(outcome.reason, _pause_s(tries, 5))
        await self._conclude(payout_id, number, outcome, believe_failed=True)

    async def ask(self, payout_id: str, number: int) -> bool:
        """Ask the rail what became of an attempt; False where that waits to be handed to it."""
        attempt = await payouts.live_attempt(self._db, payout_id, number)
        if attempt is None:
            return True
        if attempt.called_at is None:
            # In its own lane, unless its promise was lost with its keeper.
            if await self._outbox.is_staged(PayInvoice(payout_id, number).key):
                return False
            await self.pay(payout_id, number)
            return True
        # Before it is asked: an answer may be read long after it was given.
        late = self._clock() >= attempt.expires_at + SETTLE_MARGIN
        outcome = await self._rail.look_up_payment(attempt.payment_hash, attempt.called_by)
        if isinstance(outcome, rail.Absent) and late:
            outcome = rail.Failed("it was never sent")
        await self._conclude(payout_id, number, outcome, believe_failed=late)
        return True

    async def _conclude(
        self, payout_id: str, number: int, outcome: rail.Outcome, believe_failed: bool
    ) -> None:
        if isinstance(outcome, rail.Settled):
            await self._shell.do(advance.payouts.settle, payout_id, number, outcome)
        elif isinstance(outcome, rail.Failed) and believe_failed:
            reason = f"The payment failed: {outcome.reason}. Give another invoice."
            await self._shell.do(advance.payouts.take_back, payout_id, number, reason)
        else:
            log.info("payout_in_flight", payout=payout_id, outcome=type(outcome).__name__)


def _memo(invoice_id: str, purpose: Purpose) -> str:
    # Payers see it, and whoever keeps their wallet: a name that opens nothing.
    return f"Boltwork: {purpose.memo} {public_id(named(invoice_id).owner.id)[:8]}"


def _pause_s(tries: int, least_s: float) -> float:
    return min(60.0, least_s * float(2 ** min(tries, 5)))
