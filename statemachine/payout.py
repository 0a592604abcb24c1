"""Money going out. In flight is committed before the rail is called, and only an explicit,
terminal answer brings it back: Unknown stays in flight, and is asked again.

A payout with a destination is tried by itself; after three failures another one is asked for. One
in USDC goes to an address, which can't fail: it is sent again for as long as it takes.
"""

from dataclasses import dataclass, replace
from enum import StrEnum, auto

from statemachine import entries, routing
from statemachine.decision import Decision, Owed
from statemachine.entries import Asset
from statemachine.machine import Machine
from statemachine.owner import Reason
from statemachine.promises import FetchInvoice, PayInvoice, Promise, SendUsdc

MOST_FAILURES = 3


class PayoutState(StrEnum):
    """Where a payout stands."""

    OWED = auto()  # somebody's money, waiting for a destination or another try
    IN_FLIGHT = auto()  # handed to the rail; its outcome is not known
    PAID = auto()  # final: the payee has it


class PayoutEvent(StrEnum):
    """What can happen to a payout."""

    SENT = auto()
    SETTLED = auto()
    RETURNED = auto()
    REFUSED = auto()
    REDIRECTED = auto()


PAYOUT = Machine(
    "payout",
    PayoutState,
    PayoutEvent,
    [
        (PayoutEvent.SENT, PayoutState.OWED, PayoutState.IN_FLIGHT),
        (PayoutEvent.SETTLED, PayoutState.IN_FLIGHT, PayoutState.PAID),
        (PayoutEvent.RETURNED, PayoutState.IN_FLIGHT, PayoutState.OWED),
        (PayoutEvent.REFUSED, PayoutState.OWED, PayoutState.OWED),
        (PayoutEvent.REDIRECTED, PayoutState.OWED, PayoutState.OWED),
    ],
)


@dataclass(frozen=True, slots=True)
class PayoutFacts:
    """What the law needs to know of a payout."""

    id: str
    state: PayoutState
    amount: int  # in the smallest unit of its asset
    attempts: int = 0  # how many were sent; the number of the live one
    # LNURL-pay or Lightning address, where one was given; in USDC the address and its network.
    refund_to: str | None = None
    failures: int = 0  # how often that destination has failed
    asset: Asset = Asset.MSAT

    @property
    def needs_destination(self) -> bool:
        """Say whether nothing more happens until somebody names where the money should go."""
        failed = self.asset is Asset.MSAT and self.failures >= MOST_FAILURES
        return self.state is PayoutState.OWED and (self.refund_to is None or failed)


@dataclass(frozen=True, slots=True)
class Sent:
    """A destination was given and checked: the next attempt begins."""

    kind = PayoutEvent.SENT


@dataclass(frozen=True, slots=True)
class Settled:
    """The rail says the payee has it; `fee_msat` is what routing cost.

    The house bears `borne_msat` of that first, and what was withheld from the payee the rest.
    """

    fee_msat: int
    withheld_msat: int = 0
    borne_msat: int = 0
    kind = PayoutEvent.SETTLED


@dataclass(frozen=True, slots=True)
class Returned:
    """The rail says, for good, that this attempt did not happen."""

    kind = PayoutEvent.RETURNED


@dataclass(frozen=True, slots=True)
class Refused:
    """The destination gives no invoice that can be paid, and says so or misbehaves."""

    kind = PayoutEvent.REFUSED


@dataclass(frozen=True, slots=True)
class Redirected:
    """Another destination was named."""

    refund_to: str
    kind = PayoutEvent.REDIRECTED


Event = Sent | Settled | Returned | Refused | Redirected


def begin(facts: PayoutFacts) -> Decision[PayoutFacts]:
    """Return how a payout comes to be: owed, and sent by itself where a destination is known."""
    return Decision(facts, promises=_next_try(facts))


def decide(facts: PayoutFacts, event: Event) -> Decision[PayoutFacts]:
    """Return what the event means in money and promises. Raises IllegalTransition."""
    after = replace(facts, state=PAYOUT.step(facts.state, event.kind))
    match event:
        case Sent():
            after = replace(after, attempts=facts.attempts + 1)
            entry = entries.payout_sent(after.id, after.attempts, after.asset, after.amount)
            if after.asset is Asset.MICROUSDC:  # by whoever hands it over, and then asks
                return Decision(after, (entry,))
            return Decision(after, (entry,), (PayInvoice(after.id, after.attempts),))
        case Settled():
            return _settled(after, event)
        case Returned():
            after = replace(after, failures=after.failures + 1)
            entry = entries.payout_returned(after.id, after.attempts, after.asset, after.amount)
            return Decision(after, (entry,), _next_try(after))
        case Refused():
            after = replace(after, failures=after.failures + 1)
            return Decision(after, promises=_next_try(after))
        case Redirected(refund_to):
            after = replace(after, refund_to=refund_to, failures=0)
            return Decision(after, promises=_next_try(after))


def _settled(after: PayoutFacts, event: Settled) -> Decision[PayoutFacts]:
    if after.asset is Asset.MICROUSDC:
        return Decision(after, (entries.usdc_payout_settled(after.id, after.amount),))
    change_msat = routing.change_msat(event.withheld_msat, event.borne_msat, event.fee_msat)
    entry = entries.payout_settled(
        after.id, after.amount, event.fee_msat, event.withheld_msat, change_msat
    )
    change = Owed(entries.change_id(after.id), Reason.CHANGE, change_msat)
    return Decision(after, (entry,), owed=(change,) if change_msat else ())


def _next_try(facts: PayoutFacts) -> tuple[Promise, ...]:
    if facts.needs_destination:
        return ()
    kind = FetchInvoice if facts.asset is Asset.MSAT else SendUsdc
    return (kind(facts.id, facts.failures),)
