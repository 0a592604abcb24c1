"""Who is being paid just now, so that a payee who holds payments up holds up only his own.

It counts for one process: what it guards is that process's own hands.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from db.promises import TryAgain
from payments import bolt11

BUSY_PAUSE_S = 2.0


def payee_of(invoice: str) -> str:
    """Return the node that an invoice pays; an invoice that can't be read stands for itself."""
    try:
        return bolt11.decode(invoice).payee
    except bolt11.BadInvoice:
        return invoice


class Payees:
    """Counts what is handed over to each payee at once."""

    def __init__(self, most_each: int) -> None:
        self._most_each = most_each
        self._going: Counter[str] = Counter()

    @contextmanager
    def one_more(self, payee: str) -> Iterator[None]:
        """Stay in this block while a payee is asked; TryAgain when he holds enough already."""
        if self._going[payee] >= self._most_each:
            raise TryAgain("this payee has others to answer first", BUSY_PAUSE_S)
        self._going[payee] += 1
        try:
            yield
        finally:
            self._going[payee] -= 1
            if not self._going[payee]:
                del self._going[payee]
