"""What every function of the shell is given: the transaction, its moment, and how things are held.

Nothing of it outlives the transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from app.advance.outcome import Terms
from db.engine import Tx
from db.promises import Outbox


def new_id() -> str:
    """Return a random UUID (RFC 9562, version 4) as 32 hex digits: 122 bits of chance."""
    return uuid4().hex


@dataclass(frozen=True, slots=True)
class Act:
    """One transaction that tells the law what happened, and writes what it decides."""

    tx: Tx
    now: datetime
    terms: Terms
    outbox: Outbox
    new_id: Callable[[], str]  # for what nobody outside has named before
