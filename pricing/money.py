"""Units, and every rounding rule in one place.

Bitcoin is counted in msat, dollars in micro-USD (a millionth of a dollar), USDC in its smallest
unit (a millionth of one), all as integers.
Here is all that rounds money, and its name says which way. What somebody may have to pay is rounded
up, so that no price is ever more than was said; what somebody has, or is sent, is rounded down, so
that nobody is promised what is not there. What a buyer is asked for is rounded up to a whole sat,
once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NewType

Msat = NewType("Msat", int)
MicroUsd = NewType("MicroUsd", int)
MicroUsdc = NewType("MicroUsdc", int)

MSAT_PER_SAT = 1_000
SAT_PER_BTC = 100_000_000
MICROUSD_PER_USD = 1_000_000
MICROUSD_PER_CENT = 10_000


def ceil_div(numerator: int, denominator: int) -> int:
    """Return numerator / denominator, rounded up. The denominator must be positive."""
    if denominator <= 0:
        raise ValueError(f"cannot divide money by {denominator}")
    return -(-numerator // denominator)


def seconds_up(duration_ms: int) -> int:
    """Return how many seconds are to be paid for: each that has begun."""
    return ceil_div(duration_ms, 1_000)


def margin_in(charged_msat: int, margin_pct: int) -> int:
    """Return how much of what was charged is margin, and not cost; rounded down."""
    return charged_msat * margin_pct // (100 + margin_pct)


def with_author(price_microusd: int, author_pct: int) -> MicroUsd:
    """Return a price with an author's share on top of it, rounded up to a micro-USD."""
    return MicroUsd(ceil_div(price_microusd * (100 + author_pct), 100))


def author_share(charged_amount: int, author_pct: int) -> int:
    """Return how much of what was charged is an author's, in any unit; rounded down.

    The share lies on top of the price: of 110 that are charged at ten per cent, 10 are theirs.
    """
    return charged_amount * author_pct // (100 + author_pct)


def worker_share(charged_amount: int, pct: int) -> int:
    """Return how much of what was charged is a worker's, in any unit; rounded down."""
    return charged_amount * pct // 100


def half_down(amount: int) -> int:
    """Return half of an amount, in any unit; rounded down."""
    return amount // 2


def halfway(one_microusd: int, other_microusd: int) -> MicroUsd:
    """Return the price in the middle of two, rounded down to a micro-USD."""
    return MicroUsd((one_microusd + other_microusd) // 2)


def usd_to_microusd(amount_usd: Decimal) -> MicroUsd:
    """Return dollars, as somebody else tells them, in whole micro-USD: what is less is cut off."""
    return MicroUsd(int(amount_usd * MICROUSD_PER_USD))


def btc_to_msat(amount_btc: Decimal) -> Msat | None:
    """Return bitcoin as msat; None for what is no whole number of them: it is not rounded."""
    amount_msat = amount_btc * SAT_PER_BTC * MSAT_PER_SAT
    return Msat(int(amount_msat)) if amount_msat == int(amount_msat) else None


def sats_up(amount_msat: int) -> int:
    """Return an amount in whole sats, rounded up: what something may cost."""
    return ceil_div(amount_msat, MSAT_PER_SAT)


def sats_down(amount_msat: int) -> int:
    """Return an amount in whole sats, rounded down: what there is to spend, or to be sent."""
    return amount_msat // MSAT_PER_SAT


def whole_sats_up(amount_msat: int) -> Msat:
    """Return the least msat, no less than these, that are a whole number of sats."""
    return sats_to_msat(sats_up(amount_msat))


def whole_sats_down(amount_msat: int) -> Msat:
    """Return the most msat, no more than these, that are a whole number of sats."""
    return sats_to_msat(sats_down(amount_msat))


def microusdc_of(text: str) -> MicroUsdc:
    """Return an amount of USDC, a decimal with six places at most, in its smallest unit. Exact."""
    whole, _, rest = text.partition(".")
    return MicroUsdc(int(whole + rest.ljust(6, "0")))


def split_sats(amount_msat: int) -> tuple[int, int]:
    """Return whole sats, and the msat that are left. Exact: for an amount that is only shown."""
    return divmod(amount_msat, MSAT_PER_SAT)


def split_usd(amount_microusd: int) -> tuple[int, int]:
    """Return whole dollars, and the millionths that are left. Exact, of USDC too."""
    return divmod(amount_microusd, MICROUSD_PER_USD)


def usd_in_usdc(amount_microusd: int) -> MicroUsdc:
    """Return what is priced in dollars as USDC: a dollar is one, and nothing is rounded."""
    return MicroUsdc(amount_microusd)


def shares_of(amount: int, weights: Sequence[int]) -> list[int]:
    """Return an amount in shares as the weights go, each rounded down; the rest is the first's."""
    total = sum(weights)
    shares = [amount * weight // total for weight in weights]
    shares[0] += amount - sum(shares)
    return shares


def part_of(amount: int, part: int, whole: int) -> int:
    """Return so much of an amount as a part is of its whole, rounded up in the seller's favour."""
    if not 0 <= part <= whole or whole <= 0:
        raise ValueError("a part is at most its whole")
    return ceil_div(amount * part, whole)


def sats_to_msat(amount_sat: int) -> Msat:
    """Return whole sats as msat. Exact."""
    return Msat(amount_sat * MSAT_PER_SAT)


def credits_to_msat(credits: int, credit_sats: int) -> Msat:
    """Return what credits of so many sats are. Exact."""
    return sats_to_msat(credits * credit_sats)


def credits_down(amount_msat: int, credit_sats: int) -> int:
    """Return how many whole credits of so many sats there are to spend."""
    return amount_msat // credits_to_msat(1, credit_sats)


def msat_to_sats(amount_msat: int) -> int:
    """Return whole sats for an amount that is a whole number of them; ValueError otherwise.

    The wire speaks sats. An amount with a fraction must have been rounded by `to_msat` before.
    """
    sats, rest_msat = split_sats(amount_msat)
    if rest_msat:
        raise ValueError(f"{amount_msat} msat is not a whole number of sats")
    return sats


def sats_text(amount_msat: int) -> str:
    """Return an amount in sats as people read it, with what is left of a sat behind the point."""
    whole, rest = split_sats(abs(amount_msat))
    return f"{'-' if amount_msat < 0 else ''}{whole:,}" + (f".{rest:03d}" if rest else "")


def btc_text(amount_msat: int) -> str:
    """Return an amount in bitcoin as programs read it, exactly: no zeros at its end."""
    whole, rest = divmod(amount_msat, SAT_PER_BTC * MSAT_PER_SAT)
    return f"{whole}.{rest:011d}".rstrip("0").rstrip(".")


def usd_text(amount_microusd: int) -> str:
    """Return an amount in dollars as programs read it, exactly: no zeros at its end."""
    whole, rest = split_usd(amount_microusd)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")


def usdc_text(amount_microusdc: int) -> str:
    """Return an amount in USDC as programs read it, exactly: with all its six places."""
    whole, rest = split_usd(amount_microusdc)
    return f"{whole}.{rest:06d}"


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

    def to_cents(self, amount_msat: int) -> MicroUsd:
        """Return the least whole cents, in micro-USD, that msat are worth: rounded up."""
        worth = ceil_div(amount_msat * self.microusd_per_btc, SAT_PER_BTC * MSAT_PER_SAT)
        return MicroUsd(ceil_div(worth, MICROUSD_PER_CENT) * MICROUSD_PER_CENT)

    def least_usdc(self, amount_msat: int) -> MicroUsdc:
        """Return the least USDC that is worth so many msat, or more."""
        worth = ceil_div(amount_msat * self.microusd_per_btc, SAT_PER_BTC * MSAT_PER_SAT)
        return MicroUsdc(worth)

    def to_microusd(self, amount_msat: int) -> MicroUsd:
        """Return what msat are worth in dollars, rounded down. To be shown, never charged."""
        return MicroUsd(amount_msat * self.microusd_per_btc // (SAT_PER_BTC * MSAT_PER_SAT))


def usd_number(amount_microusd: int) -> float:
    """Return dollars as a JSON number. For the wire only: nothing computes with it."""
    return amount_microusd / MICROUSD_PER_USD


def usd_shown(amount_microusd: int) -> float:
    """Return dollars to four places, as a JSON number: what something has cost, to be read."""
    return round(usd_number(amount_microusd), 4)
