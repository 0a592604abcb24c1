"""What every function of the shell is given: the transaction, its moment, and how things are held.

Nothing of it outlives the transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from secrets import token_hex
from uuid import uuid4

from app.advance.outcome import Terms
from db.engine import Tx
from db.promises import Outbox
from statemachine.cell import ALONE, Cell


def new_id() -> str:
    """Return a random UUID (RFC 9562, version 4) as 32 hex digits: 122 bits of chance."""
    return uuid4().hex


def ids_of(cell: Cell) -> Callable[[], str]:
    """Return what makes ids in a cell: 32 hex digits, of which all but the cell's are chance."""
    return new_id if cell == ALONE else partial(_marked_id, cell)


def _marked_id(cell: Cell) -> str:
    return cell.mark(token_hex(16))


@dataclass(frozen=True, slots=True)
class Act:
    """One transaction that tells the law what happened, and writes what it decides."""

    tx: Tx
    now: datetime
    terms: Terms
    outbox: Outbox
    new_id: Callable[[], str]  # for what nobody outside has named before
    cell: Cell = ALONE
