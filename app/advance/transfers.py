"""Transfers: money of ours that goes from one wallet of the rail to another."""

from datetime import datetime

from app.advance.outcome import Applied, Outcome, Replayed
from app.advance.writing import Writing
from db import ledger, receiving_wallets
from db.engine import Tx
from payments import rail
from statemachine import entries


class Transfers(Writing):
    """What can be told to a transfer."""

    async def settle_transfer(self, tx: Tx, settled: rail.Settled, now: datetime) -> Outcome:
        """Tell a transfer that it arrived. What it cost is our expense; most cost nothing."""
        payment_hash, fee_msat = settled.payment_hash, settled.fee_msat
        if not await receiving_wallets.end_transfer(tx, payment_hash, "settled", fee_msat, now):
            return Replayed()
        if fee_msat:
            await ledger.post(tx, [entries.transfer_settled(payment_hash, fee_msat)], now)
        return Applied()

    async def fail_transfer(self, tx: Tx, payment_hash: str, now: datetime) -> Outcome:
        """Tell a transfer that it did not happen, for good: the money is where it was."""
        if not await receiving_wallets.end_transfer(tx, payment_hash, "failed", None, now):
            return Replayed()
        return Applied()
