"""A hold: money set aside for a call that is answered while it runs, and charged when it is over.

Whoever set it aside may die: a hold that nobody ends is let go of, and nothing is charged.
"""

from dataclasses import dataclass, replace
from enum import StrEnum, auto

from statemachine import entries
from statemachine.decision import Decision
from statemachine.machine import Machine


class HoldState(StrEnum):
    """Where a hold stands."""

    HELD = auto()  # the call runs
    CHARGED = auto()  # final: the call was answered, and its cost is ours
    DROPPED = auto()  # final: nothing was charged


class HoldEvent(StrEnum):
    """What can happen to a hold."""

    USED = auto()
    BROKE = auto()
    LET_GO = auto()


HOLD = Machine(
    "hold",
    HoldState,
    HoldEvent,
    [
        (HoldEvent.USED, HoldState.HELD, HoldState.CHARGED),
        (HoldEvent.BROKE, HoldState.HELD, HoldState.DROPPED),
        (HoldEvent.LET_GO, HoldState.HELD, HoldState.DROPPED),
    ],
)


@dataclass(frozen=True, slots=True)
class HoldFacts:
    """What the law needs to know of a hold. Amounts are msat."""

    id: str
    state: HoldState
    amount_msat: int
    session_id: str | None = None  # whose balance pays; None: the house does
    charge_msat: int = 0
    spent_msat: int = 0  # what a call that broke has cost the house

    @property
    def source(self) -> entries.Account:
        """Where the money comes from, and where what is not used goes back to."""
        if self.session_id is None:
            return entries.EXPENSE_FREE
        return entries.of_session(self.session_id)


@dataclass(frozen=True, slots=True)
class Used:
    """The call is over, and cost this much; never more is charged than was held."""

    cost_msat: int
    kind = HoldEvent.USED


@dataclass(frozen=True, slots=True)
class Broke:
    """The call failed, and had cost the house this much: its session pays nothing for it."""

    cost_msat: int
    kind = HoldEvent.BROKE


@dataclass(frozen=True, slots=True)
class LetGo:
    """The call was not answered, or nobody is left to say."""

    kind = HoldEvent.LET_GO


Event = Used | Broke | LetGo


def begin(hold_id: str, amount_msat: int, session_id: str | None) -> Decision[HoldFacts]:
    """Return how a hold comes to be."""
    facts = HoldFacts(hold_id, HoldState.HELD, amount_msat, session_id)
    return Decision(facts, (entries.held(hold_id, facts.source, amount_msat),))


def decide(facts: HoldFacts, event: Event) -> Decision[HoldFacts]:
    """Return what the event means in money. Raises IllegalTransition."""
    after = replace(facts, state=HOLD.step(facts.state, event.kind))
    match event:
        case Used(cost_msat):
            after = replace(after, charge_msat=min(cost_msat, facts.amount_msat))
        case Broke(cost_msat):
            after = replace(after, spent_msat=cost_msat)
    back_msat = after.amount_msat - after.charge_msat
    ended = entries.hold_ended(after.id, after.source, after.charge_msat, back_msat)
    failed = (entries.call_failed(after.id, after.spent_msat),) if after.spent_msat else ()
    return Decision(after, (ended, *failed))
