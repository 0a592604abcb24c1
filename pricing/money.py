"""Units, and every rounding rule in one place.

Bitcoin is counted in msat, dollars in micro-USD (a millionth of a dollar), both as integers.
What a buyer is asked for is rounded up to a whole sat, once, here; nothing else ever rounds money.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NewType

Msat = NewType("Msat", int)
MicroUsd = NewType("MicroUsd", int)

MSAT_PER_SAT = 1_000
SAT_PER_BTC = 100_000_000
MICROUSD_PER_USD = 1_000_000


def ceil_div(numerator: int, denominator: int) -> int:
    """Return numerator / denominator, rounded up. The denominator must be positive."""
    if denominator <= 0:
        raise ValueError(f"cannot divide money by {denominator}")
    return -(-numerator // denominator)


def margin_in(charged_msat: int, margin_pct: int) -> int:
    """Return how much of what was charged is margin, and not cost; rounded down."""
    return charged_msat * margin_pct // (100 + margin_pct)


def sats_to_msat(amount_sat: int) -> Msat:
    """Return whole sats as msat. Exact."""
    return Msat(amount_sat * MSAT_PER_SAT)


def msat_to_sats(amount_msat: int) -> int:
    """Return whole sats for an amount that is a whole number of them; ValueError otherwise.

    The wire speaks sats. An amount with a fraction must have been rounded by `to_msat` before.
    """
    sats, rest = divmod(amount_msat, MSAT_PER_SAT)
    if rest:
        raise ValueError(f"{amount_msat} msat is not a whole number of sats")
    return sats


@dataclass(frozen=True, slots=True)
class BtcPrice:
    """What one bitcoin costs, and where that was learnt. Locked on a quote.

    `sources` names who was asked and answered; `note` says in a sentence when the price is not
    from live sources (the operator's fixed price, or the one of the development environment).
    """

    microusd_per_btc: MicroUsd
    at: datetime
    sources: tuple[str, ...]
    note: str = ""

    def __post_init__(self) -> None:
        if self.microusd_per_btc <= 0:
            raise ValueError("a bitcoin price must be positive")

    def to_msat(self, cost_microusd: int) -> Msat:
        """Return a dollar amount as msat: rounded up to a whole sat, and at least one sat."""
        sats = ceil_div(cost_microusd * SAT_PER_BTC, self.microusd_per_btc)
        return sats_to_msat(max(1, sats))

    def to_microusd(self, amount_msat: int) -> MicroUsd:
        """Return what msat are worth in dollars, rounded down. To be shown, never charged."""
        return MicroUsd(amount_msat * self.microusd_per_btc // (SAT_PER_BTC * MSAT_PER_SAT))


def usd_number(amount_microusd: int) -> float:
    """Return dollars as a JSON number. For the wire only: nothing computes with it."""
    return amount_microusd / MICROUSD_PER_USD
