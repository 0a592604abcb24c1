"""Who bears the routing of a payout: the house, for what work owes back.

A balance that only passed through (a session's rest, what was paid over, late or twice) bears its
own, beyond what the house earned from its payer and a small allowance. Else whoever owns the last
hop could have the house pay him for money that he sends in a circle.
"""

from dataclasses import dataclass, replace

from pricing.money import whole_sats_down, whole_sats_up
from statemachine.owner import Reason

ALARM_PCT = 80  # of what is given on a day


def is_nearly_given(given_msat: int, most_msat: int) -> bool:
    """Say whether the operator must look: little is left of what the house gives today."""
    return most_msat > 0 and given_msat * 100 >= most_msat * ALARM_PCT


@dataclass(frozen=True, slots=True)
class Means:
    """What the house may spend on the routing of one payer's payouts, in msat."""

    earned_msat: int  # what it earned from him, and has not spent on that yet
    free_msat: int  # what it gives beyond that


@dataclass(frozen=True, slots=True)
class Share:
    """Who bears what of the routing of one payout. Amounts are msat."""

    amount_msat: int  # what is owed
    limit_msat: int  # the most that its way may cost
    earned_msat: int  # of that, what the house bears out of what it earned from the payer
    free_msat: int  # and what it gives
    is_passing: bool = True

    @property
    def borne_msat(self) -> int:
        """What the house bears, before the payee does."""
        return self.earned_msat + self.free_msat

    @property
    def sendable_msat(self) -> int:
        """The most that an invoice for it may ask for now."""
        if self.borne_msat >= self.limit_msat:
            return self.amount_msat
        return max(0, whole_sats_down(self.amount_msat - self.limit_msat + self.borne_msat))

    @property
    def least_msat(self) -> int:
        """The least that an invoice for it may ask for; the house may bear nothing of it."""
        if not self.is_passing:
            return self.amount_msat
        return max(0, whole_sats_down(self.amount_msat - self.limit_msat))

    def of(self, sent_msat: int) -> "Share":
        """Return the same for an invoice of this amount: what is withheld is used last."""
        borne_msat = max(0, self.limit_msat - (self.amount_msat - sent_msat))
        earned_msat = min(self.earned_msat, borne_msat)
        return replace(self, earned_msat=earned_msat, free_msat=borne_msat - earned_msat)


def share(reason: Reason, amount_msat: int, limit_msat: int, means: Means | None) -> Share:
    """Return who bears what; `means` are those of the payer, where the money passed through."""
    if not reason.only_passed or means is None:
        return Share(amount_msat, limit_msat, limit_msat, 0, is_passing=False)
    earned_msat = min(limit_msat, means.earned_msat)
    return Share(
        amount_msat, limit_msat, earned_msat, min(limit_msat - earned_msat, means.free_msat)
    )


def change_msat(withheld_msat: int, borne_msat: int, fee_msat: int) -> int:
    """Return what is left of what was withheld, in whole sats, once the fee is known."""
    if not withheld_msat:
        return 0
    needed_msat = max(0, fee_msat - borne_msat)
    return max(0, whole_sats_down(withheld_msat - whole_sats_up(needed_msat)))
