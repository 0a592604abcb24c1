"""Transfers: money of ours that goes from one wallet of the rail to another."""

from app.advance.act import Act
from app.advance.outcome import Applied, Outcome, Replayed
from db import ledger, receiving_wallets
from payments import rail
from statemachine import entries


async def settle(act: Act, settled: rail.Settled) -> Outcome:
    """Tell a transfer that it arrived. What it cost is our expense; most cost nothing."""
    name, fee_msat = settled.payment_hash, settled.fee_msat
    if not await receiving_wallets.end_transfer(act.tx, name, "settled", fee_msat, act.now):
        return Replayed()
    if fee_msat:
        await ledger.post(act.tx, [entries.transfer_settled(name, fee_msat)], act.now)
    return Applied()


async def fail(act: Act, payment_hash: str) -> Outcome:
    """Tell a transfer that it did not happen, for good: the money is where it was."""
    if not await receiving_wallets.end_transfer(act.tx, payment_hash, "failed", None, act.now):
        return Replayed()
    return Applied()
