"""Where buyers' orders in USDC are settled: handed to the facilitator, asked about on the chain.

Only the chain, or a plain "yes" of the facilitator, ends an order. While nobody knows, it is handed
over again, for as long as its buyer has signed: the contract lets it move the money once.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app import advance
from app.advance import Shell
from app.ports import Clock, UsdcRail
from db import authorizations
from db.authorizations import AuthorizationRow
from db.engine import Database
from payments.usdc.address import Address
from payments.usdc.authorization import Authorization
from payments.usdc.network import NETWORKS
from payments.usdc.outcome import Declined, Failed, Settled, Unused, outcome_of
from payments.usdc.payment import Payment, UsdcOffer
from payments.usdc.x402 import LEAST_LEFT_S
from pricing.money import MicroUsdc

LONGEST_REASON = 300  # characters
_NAME = re.compile("(eip155:[0-9]+):(0x[0-9a-fA-F]{40}):(0x[0-9a-f]{64})")


def authorization_of(payment: Payment) -> str:
    """Return the name of an order: its chain, its payer and its nonce, which is used once."""
    order = payment.authorization
    return f"{payment.network.caip2}:{order.payer}:{order.nonce}"


def told_of(payment: Payment, purchase: str) -> dict[str, Any]:
    """Return what a row keeps of an order: all that is needed to hand it over again."""
    order = payment.authorization
    return {
        "id": authorization_of(payment),
        "purchase": purchase,
        "pay_to": order.payee,
        "amount_microusdc": order.amount_microusdc,
        "window_s": payment.offer.window_s,
        "valid_after_s": order.valid_after_s,
        "valid_before_s": order.valid_before_s,
        "signature": payment.signature,
    }


def payment_of(row: AuthorizationRow) -> Payment:
    """Return the order that a row keeps."""
    found = _NAME.fullmatch(row.id)
    assert found is not None, "it was named by us"
    caip2, payer, nonce = found.groups()
    pay_to, amount = Address(row.pay_to), MicroUsdc(row.amount_microusdc)
    order = Authorization(
        Address(payer), pay_to, amount, row.valid_after_s, row.valid_before_s, nonce
    )
    return Payment(UsdcOffer(NETWORKS[caip2], pay_to, amount, row.window_s), order, row.signature)


@dataclass(frozen=True, slots=True)
class Settling:
    """Settles orders that were claimed."""

    db: Database
    shell: Shell
    usdc: UsdcRail
    clock: Clock

    async def hand_over(self, row: AuthorizationRow) -> None:
        """Have the facilitator settle an order that this process has taken on, and write what it
        says."""
        match await self.usdc.facilitator.settle(payment_of(row)):
            case Settled(txid, _):
                await self.shell.do(advance.authorizations.settle, row.id, txid)
            case Declined(reason, code, is_early=True) if row.tries == 1:
                said = (code or reason)[:LONGEST_REASON]
                await self.shell.do(advance.authorizations.decline, row.id, said)
            case unknown:
                said = unknown.reason[:LONGEST_REASON]
                await self.shell.do(advance.authorizations.note, row.id, said)

    async def look(self, row: AuthorizationRow) -> None:
        """Ask the chain about an order that was taken on, and hand it over again if that helps."""
        payment = payment_of(row)
        use = await self.usdc.ledger.use_of(payment.authorization)
        match outcome_of(payment.authorization, use):
            case Settled(txid, _):
                await self.shell.do(advance.authorizations.settle, row.id, txid)
            case Failed(reason):
                await self.shell.do(advance.authorizations.fail, row.id, reason)
            case unknown:
                if isinstance(use, Unused) and not row.declined and self._has_time(row):
                    await self.hand_over(row)
                    return
                said = unknown.reason[:LONGEST_REASON]
                await self.shell.do(advance.authorizations.note, row.id, said)

    async def known(self, caip2: str, order: Authorization, signature: str) -> Payment | None:
        """Return an order that was claimed before, whatever is offered by now; None: it was not."""
        row = await authorizations.get(self.db, f"{caip2}:{order.payer}:{order.nonce}")
        if row is None or row.signature != signature:
            return None
        payment = payment_of(row)
        return payment if payment.authorization == order else None

    async def take_on(self, authorization: str) -> AuthorizationRow | None:
        """Take on one order, if it is its turn: nobody else does meanwhile."""
        rows = await self.take_due(1, authorization)
        return rows[0] if rows else None

    async def take_due(self, most: int, authorization: str | None = None) -> list[AuthorizationRow]:
        """Take on the orders whose turn it is to be looked at."""
        now = self.clock()
        until = now + timedelta(seconds=self.shell.terms.settling_s)
        return await self.db.run(
            "due_authorizations",
            lambda tx: authorizations.take_due(tx, now, until, most, authorization),
            alone=True,
        )

    def _has_time(self, row: AuthorizationRow) -> bool:
        now: datetime = self.clock()
        return row.valid_before_s >= now.timestamp() + LEAST_LEFT_S
