"""What a decide() of the law returns: described, not performed. `app.advance` makes it fact."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from statemachine.entries import Asset, Entry
from statemachine.owner import Purpose, Reason
from statemachine.promises import Promise

F_co = TypeVar("F_co", covariant=True)


@dataclass(frozen=True, slots=True)
class InvoiceWanted:
    """An invoice that must come to exist; `id` is "<job>:eval", "<session>:deposit" and so on.

    With a promise to make it beside it, it is made later; else the rail has made it before.
    """

    id: str
    purpose: Purpose
    amount_msat: int


@dataclass(frozen=True, slots=True)
class Owed:
    """A payout that must come to exist: money that is somebody's, with the reason why."""

    id: str
    reason: Reason
    amount: int  # in the smallest unit of its asset
    asset: Asset = Asset.MSAT


@dataclass(frozen=True, slots=True)
class Decision(Generic[F_co]):
    """The facts as they are after the event, and all that goes with them in one transaction."""

    facts: F_co
    entries: tuple[Entry, ...] = ()
    promises: tuple[Promise, ...] = ()
    wanted: tuple[InvoiceWanted, ...] = ()
    owed: tuple[Owed, ...] = ()
    dropped: tuple[str, ...] = ()  # ids of invoices that nobody needs any more
