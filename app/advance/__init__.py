"""THE SHELL: lock → decide → write state, entries, promises → commit. Nothing outside is called.

It is the only writer of a state column. An event that the law does not allow any more is a
replay, and a named outcome: nothing changed, and nothing is wrong.
"""

from app.advance.holds import Holds
from app.advance.outcome import (
    Applied,
    Dear,
    Missing,
    Outcome,
    Purse,
    Replayed,
    Short,
    Spending,
    Terms,
)
from app.advance.payouts import Payouts
from app.advance.purging import Purging
from app.advance.transfers import Transfers

__all__ = [
    "Applied",
    "Dear",
    "Missing",
    "Outcome",
    "Purse",
    "Replayed",
    "Shell",
    "Short",
    "Spending",
    "Terms",
]


class Shell(Purging, Payouts, Holds, Transfers):
    """Makes truth fact: every method works inside the transaction it is given."""
