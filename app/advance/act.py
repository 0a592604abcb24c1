"""What every function of the shell is given: the transaction, its moment, and how things are held.

Nothing of it outlives the transaction.
"""

from dataclasses import dataclass
from datetime import datetime

from app.advance.outcome import Terms
from db.engine import Tx
from db.promises import Outbox


@dataclass(frozen=True, slots=True)
class Act:
    """One transaction that tells the law what happened, and writes what it decides."""

    tx: Tx
    now: datetime
    terms: Terms
    outbox: Outbox
