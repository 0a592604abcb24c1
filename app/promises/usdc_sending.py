"""What is owed in USDC is sent by our own signed order, and the chain says what became of it.

An order may be handed over any number of times, and signed anew for as long as it takes: the token
takes one of a payout. Nobody else's word ends an attempt.
"""

from dataclasses import dataclass
from datetime import timedelta

import structlog

from app import advance
from app.advance import Applied, Shell
from app.ports import Clock, RefundSigner, UsdcRail
from db import payouts, switches, usdc_attempts
from db.engine import Database, Duplicate
from db.payouts import PayoutRow
from db.promises import TryAgain
from db.usdc_attempts import LiveOrder
from payments.usdc.address import Address
from payments.usdc.outcome import Failed, Outcome, Settled, Unknown
from payments.usdc.payment import Payment
from payments.usdc.refund import WINDOW_S, read_refund_to, unsigned_refund, what_became
from pricing.money import MicroUsdc
from statemachine.payout import PayoutState

log = structlog.get_logger("boltwork.usdc")

BUSY_S, PAUSED_S, SHORT_S, KEYLESS_S = 2.0, 5.0, 60.0, 300.0
LEAST_LEFT = timedelta(seconds=30)  # of an order's time, for it to be handed over
SILENT = timedelta(seconds=30)  # so long nobody else's is handed over, where nobody has answered


@dataclass(frozen=True, slots=True)
class UsdcSending:
    """Keeps the promise SendUsdc, and asks what became of what was sent."""

    db: Database
    shell: Shell
    usdc: UsdcRail | None
    clock: Clock

    async def send(self, payout_id: str, failures: int) -> None:
        """Sign an order for a payout and hand it over; TryAgain while that can't be done."""
        row = await payouts.get(self.db, payout_id)
        if row is None or row.state is not PayoutState.OWED or row.failures != failures:
            return
        if not await switches.is_on(self.db, switches.Name.PAYING_OUT):
            raise TryAgain("payouts are paused by the operator", PAUSED_S)
        usdc, signed = await self._signed(row)
        try:
            told = await self.shell.do(advance.usdc_payouts.order, payout_id, signed)
        except Duplicate:
            raise TryAgain("another order in USDC is handed over just now", BUSY_S) from None
        if isinstance(told, Applied):
            await self._hand_over(usdc, payout_id, row.attempts + 1, signed)

    async def _signed(self, row: PayoutRow) -> tuple[UsdcRail, Payment]:
        usdc = self.usdc
        if usdc is None or usdc.refunds is None:
            raise TryAgain("what is owed in USDC waits for REFUND_KEY", KEYLESS_S)
        where = read_refund_to(row.refund_to or "")
        if where is None or where[0] != usdc.network.caip2:
            raise TryAgain("it is owed on another network than USDC_NETWORK", KEYLESS_S)
        amount, key = MicroUsdc(row.amount), usdc.refunds
        held = await usdc.ledger.balance_microusdc(key.address)
        if not isinstance(held, Unknown) and held < amount:
            log.warning("usdc_short", held_microusdc=held, needed_microusdc=amount)
            raise TryAgain(f"{key.address} holds too little USDC", SHORT_S)
        return usdc, key.refund(row.id, where[1], amount, self.clock())

    async def _hand_over(
        self, usdc: UsdcRail, payout_id: str, number: int, signed: Payment
    ) -> None:
        said = await usdc.facilitator.settle(signed)
        became = await what_became(signed, usdc.ledger, usdc.facilitator)
        if isinstance(became, Unknown) and isinstance(said, Settled):
            txid, _ = _of(said)
            await self.shell.do(advance.usdc_payouts.acknowledge, payout_id, number, txid)
            return
        await self._conclude(payout_id, number, signed, became)

    async def ask(self, payout_id: str, number: int) -> None:
        """Ask the chain about an attempt. What nobody says was sent is handed over once more."""
        attempt = await usdc_attempts.live(self.db, payout_id, number)
        usdc = self.usdc
        if attempt is None or usdc is None or usdc.network.caip2 != attempt.network:
            return
        order = _order(usdc, attempt)
        became = await what_became(order, usdc.ledger, usdc.facilitator)
        is_sent = attempt.txid is not None or attempt.expires_at - self.clock() < LEAST_LEFT
        key = usdc.refunds
        if not isinstance(became, Unknown) or is_sent or not _is_of(key, attempt):
            await self._conclude(payout_id, number, order, became)
        elif await switches.is_on(self.db, switches.Name.PAYING_OUT):
            await self._once_more(usdc, attempt, order)
        began_at = attempt.expires_at - timedelta(seconds=WINDOW_S)
        if isinstance(became, Unknown) and self.clock() - began_at > SILENT:
            await self.shell.do(advance.usdc_payouts.let_go, payout_id, number)

    async def _once_more(self, usdc: UsdcRail, attempt: LiveOrder, order: Payment) -> None:
        """Hand over what nobody says was sent, unless another one is in hand: then later."""
        payout_id, number = attempt.payout_id, attempt.number
        if not attempt.in_hand:
            try:
                await self.shell.do(advance.usdc_payouts.take_hand, payout_id, number)
            except Duplicate:
                return
        await self._hand_over(usdc, payout_id, number, order)

    async def _conclude(self, payout_id: str, number: int, order: Payment, became: Outcome) -> None:
        if isinstance(became, Settled):
            txid, moved_microusdc = _of(became)
            if moved_microusdc != order.authorization.amount_microusdc:
                # A payout's amount never changes, so another program has used our key.
                log.error("usdc_nonce_used", payout=payout_id, moved_microusdc=moved_microusdc)
                return
            await self.shell.do(advance.usdc_payouts.settle, payout_id, number, txid)
        elif isinstance(became, Failed):
            reason = f"The payment failed: {became.reason}. It is sent again."
            await self.shell.do(advance.usdc_payouts.take_back, payout_id, number, reason)
        else:
            log.info("payout_in_flight", payout=payout_id, outcome=became.reason)


def _of(settled: Settled) -> tuple[str, MicroUsdc]:
    """Return the name of what moved the money on the chain, and how much that was."""
    match settled:
        case Settled(txid, amount_microusdc):
            return txid, amount_microusdc


def _is_of(key: RefundSigner | None, attempt: LiveOrder) -> bool:
    """Say whether the key is there that has signed an attempt."""
    return key is not None and key.address == attempt.payer


def _order(usdc: UsdcRail, attempt: LiveOrder) -> Payment:
    """Return the order of an attempt: signed where its key is there, else enough to ask about."""
    key, began_at = usdc.refunds, attempt.expires_at - timedelta(seconds=WINDOW_S)
    amount, payee = MicroUsdc(attempt.amount_microusdc), Address(attempt.payee)
    if key is not None and _is_of(key, attempt):
        return key.refund(attempt.payout_id, payee, amount, began_at)
    payer = Address(attempt.payer)
    return unsigned_refund(usdc.network, payer, attempt.payout_id, payee, amount, began_at)
