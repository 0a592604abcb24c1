"""Money coming in. A payment is never lost: late, unawaited and over-paid money is owed back."""

from dataclasses import dataclass, replace
from enum import StrEnum, auto

from statemachine import entries
from statemachine.decision import Decision, Owed
from statemachine.machine import Machine
from statemachine.owner import Reason


class InvoiceState(StrEnum):
    """Where an invoice of ours stands."""

    WANTED = auto()  # the rail has not made it yet
    OPEN = auto()  # somebody can pay it
    SETTLED = auto()  # final: the money came
    EXPIRED = auto()  # nobody paid in time; a late payment is still taken in, and owed back
    CANCELED = auto()  # nobody needs it any more; likewise


class InvoiceEvent(StrEnum):
    """What can happen to an invoice of ours."""

    OPENED = auto()
    PAID = auto()
    LAPSED = auto()
    DROPPED = auto()


INVOICE = Machine(
    "invoice",
    InvoiceState,
    InvoiceEvent,
    [
        (InvoiceEvent.OPENED, InvoiceState.WANTED, InvoiceState.OPEN),
        (InvoiceEvent.PAID, InvoiceState.OPEN, InvoiceState.SETTLED),
        (InvoiceEvent.PAID, InvoiceState.EXPIRED, InvoiceState.SETTLED),
        (InvoiceEvent.PAID, InvoiceState.CANCELED, InvoiceState.SETTLED),
        (InvoiceEvent.LAPSED, InvoiceState.WANTED, InvoiceState.EXPIRED),
        (InvoiceEvent.LAPSED, InvoiceState.OPEN, InvoiceState.EXPIRED),
        (InvoiceEvent.DROPPED, InvoiceState.WANTED, InvoiceState.CANCELED),
        (InvoiceEvent.DROPPED, InvoiceState.OPEN, InvoiceState.CANCELED),
    ],
)


@dataclass(frozen=True, slots=True)
class InvoiceFacts:
    """What the law needs to know of an invoice. Amounts are msat."""

    id: str
    account: entries.Account  # whose it becomes when it is paid in time
    state: InvoiceState
    amount_msat: int
    payment_hash: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """The rail made the invoice."""

    payment_hash: str
    kind = InvoiceEvent.OPENED


@dataclass(frozen=True, slots=True)
class Paid:
    """The rail holds the money. `awaited`: a job or session is waiting for just this payment."""

    received_msat: int
    awaited: bool
    kind = InvoiceEvent.PAID


@dataclass(frozen=True, slots=True)
class Lapsed:
    """Its time is over, and the rail says nobody has paid."""

    kind = InvoiceEvent.LAPSED


@dataclass(frozen=True, slots=True)
class Dropped:
    """Its job or session needs it no more."""

    kind = InvoiceEvent.DROPPED


Event = Opened | Paid | Lapsed | Dropped


def decide(facts: InvoiceFacts, event: Event) -> Decision[InvoiceFacts]:
    """Return what the event means. Raises IllegalTransition, and ValueError on a short payment."""
    after = replace(facts, state=INVOICE.step(facts.state, event.kind))
    if isinstance(event, Opened):
        return Decision(replace(after, payment_hash=event.payment_hash))
    if isinstance(event, Paid):
        return _paid(after, event)
    return Decision(after)


def _paid(after: InvoiceFacts, event: Paid) -> Decision[InvoiceFacts]:
    if event.received_msat < after.amount_msat:
        raise ValueError(f"invoice {after.id} settled below its amount")  # Lightning forbids it
    if event.awaited:
        kept, reason = after.amount_msat, Reason.OVERPAID
    else:
        kept, reason = 0, Reason.UNAWAITED
    credits = [(after.account, kept)]
    owed: tuple[Owed, ...] = ()
    if event.received_msat > kept:
        back = Owed(f"{after.id}:{reason}", reason, event.received_msat - kept)
        owed = (back,)
        credits.append((entries.of_refund(back.id), back.amount))
    return Decision(after, (entries.invoice_settled(after.payment_hash, *credits),), owed=owed)
