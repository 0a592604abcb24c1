"""What a worker has earned, and where that is by now: held back, free, on its way, or paid."""

from dataclasses import dataclass

from app.trade.lending import Standing
from statemachine.entries import Asset
from statemachine.owner import Reason
from statemachine.payout import PayoutState


@dataclass(frozen=True, slots=True)
class Purse:
    """Where a worker's pay in one asset is, in its smallest unit: the others add up to `earned`."""

    earned: int
    held: int
    free: int
    sending: int
    paid: int


def purses(standing: Standing) -> dict[Asset, Purse]:
    """Return where a worker's pay is, in each asset."""
    row = standing.row
    held = {Asset.MSAT: row.held_msat, Asset.MICROUSDC: row.held_microusdc}
    earned = {each.asset: each.amount for each in standing.earned}
    found = dict[Asset, Purse]()
    for asset in Asset:
        sent = [payout for payout in standing.payouts if payout.asset is asset]
        # What routing did not need of a payout is owed once more: it was not paid.
        change = sum(payout.amount for payout in sent if payout.reason is Reason.CHANGE)
        paid = sum(payout.amount for payout in sent if payout.state is PayoutState.PAID)
        sending = sum(payout.amount for payout in sent if payout.state is not PayoutState.PAID)
        free = standing.free[asset]
        found[asset] = Purse(earned.get(asset, 0), held[asset], free, sending, paid - change)
    return found
