"""What every function of the shell is given: the transaction, its moment, and how things are held.

Nothing of it outlives the transaction.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from app.advance.outcome import Terms
from db.engine import Tx
from db.promises import Outbox


def new_id() -> str:
    """Return 128 bits of chance as 32 hex digits."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Act:
    """One transaction that tells the law what happened, and writes what it decides."""

    tx: Tx
    now: datetime
    terms: Terms
    outbox: Outbox
    new_id: Callable[[], str]  # for what nobody outside has named before
