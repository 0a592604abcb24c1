"""Transfers: money of ours that goes from one wallet of the rail to another."""

from app.advance.act import Act
from app.advance.outcome import Applied, Missing, Outcome, Replayed
from db import ledger, receiving_wallets
from db.receiving_tables import WalletTransfer
from payments import rail
from statemachine import transfer as law
from statemachine.machine import IllegalTransition


async def begin(act: Act, transfer: WalletTransfer) -> bool:
    """Write that a wallet is about to be asked to pay. False: it has one on its way."""
    return await receiving_wallets.begin_transfer(act.tx, transfer)


async def settle(act: Act, settled: rail.Settled) -> Outcome:
    """Settle a transfer that has arrived."""
    return await _tell(act, settled.payment_hash, law.Arrived(settled.fee_msat))


async def fail(act: Act, payment_hash: str) -> Outcome:
    """Mark a transfer as failed, for good: the money is where it was."""
    return await _tell(act, payment_hash, law.FellThrough())


async def _tell(act: Act, payment_hash: str, event: law.Event) -> Outcome:
    row = await receiving_wallets.lock_transfer(act.tx, payment_hash)
    if row is None:
        return Missing()
    try:
        decision = law.decide(law.TransferFacts(payment_hash, row.outcome, row.fee_msat), event)
    except IllegalTransition:
        return Replayed()
    await receiving_wallets.move_transfer(act.tx, decision.facts, act.now)
    await ledger.post(act.tx, decision.entries, act.now)
    return Applied()
