"""How a story is told: one line a fact. What a story does not say must not happen.

    story("A job that nobody can judge gives its fee back", JOB)
        .begins(job.begin("j", 5_000, None)) …
        .hears(EvalPaid()).becomes(EVALUATING).promises(Judge("j"))
        .hears(Broke("x")).becomes(FAILED).has(error="x")
        .moves(5_000, "job:j", "refund:j:unjudged", "payout:j:unjudged:owed")
        .owes("not evaluated", 5_000, "j:unjudged")

Money moves from an account that is debited to one that is credited, under the name of its entry.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from statemachine.decision import Decision
from statemachine.entries import Asset
from statemachine.machine import IllegalTransition, Machine
from statemachine.promises import Promise


class Happening(Protocol):
    """An event of the law."""

    @property
    def kind(self) -> StrEnum:
        """Its name in the table."""
        ...


@dataclass(frozen=True, slots=True)
class Law:
    """A machine, what decides for it, and all the events that it may be told."""

    machine: Machine[Any, Any]
    decide: Callable[[Any, Any], Decision[Any]]
    events: tuple[type[Happening], ...]


@dataclass(frozen=True, slots=True)
class Move:
    """Money that goes from one ledger account to another, and the entry that says so."""

    amount: int
    source: str
    target: str
    under: str
    asset: Asset = Asset.MSAT


@dataclass(frozen=True, slots=True)
class Step:
    """What happens, and all that must follow of it."""

    source: StrEnum | None  # None: it is not there yet
    state: StrEnum
    event: Happening | None = None
    said: str = ""  # what is done, where no event is heard
    does: Callable[[Any], Decision[Any]] | None = None
    error: type[Exception] | None = None  # it is refused, and changes nothing
    passes: tuple[tuple[StrEnum, StrEnum], ...] = ()  # states on the way, and what leads out
    facts: tuple[tuple[str, object], ...] = ()
    moves: tuple[Move, ...] = ()
    promises: tuple[Promise, ...] = ()
    wants: tuple[tuple[str, str, int], ...] = ()
    owes: tuple[tuple[str, str, int, Asset], ...] = ()
    drops: tuple[str, ...] = ()

    def decided(self, law: Law, before: Any) -> Decision[Any]:
        """Return what the law makes of it."""
        return self.does(before) if self.does else law.decide(before, self.event)

    @property
    def arcs(self) -> list[tuple[StrEnum, StrEnum, StrEnum]]:
        """Return the arcs of the table that this step goes along: event, from, to."""
        if self.event is None or self.source is None or self.error is not None:
            return []
        told, state, kind = [], self.source, self.event.kind
        for passed, leads in self.passes:
            told.append((kind, state, passed))
            state, kind = passed, leads
        return [*told, (kind, state, self.state)]


@dataclass(frozen=True, slots=True)
class Story:
    """A title, a law, how the thing stands at first, and the steps. Each call adds one fact."""

    title: str
    law: Law
    first: Any = None
    steps: tuple[Step, ...] = ()

    @property
    def _state(self) -> StrEnum:
        state: StrEnum = self.steps[-1].state if self.steps else self.first.state
        return state

    def _adds(self, step: Step) -> "Story":
        return replace(self, steps=(*self.steps, step))

    def _says(self, **more: Any) -> "Story":
        return replace(self, steps=(*self.steps[:-1], replace(self.steps[-1], **more)))

    @property
    def _last(self) -> Step:
        return self.steps[-1]

    # ------------------------------------------------------------------ what happens

    def given(self, facts: Any) -> "Story":
        """It stands like this."""
        return replace(self, first=facts)

    def begins(self, state: StrEnum, begun: Decision[Any]) -> "Story":
        """It comes to be, in this state."""
        return self._adds(Step(None, state, said="begins", does=lambda _: begun))

    def does(self, said: str, does: Callable[[Any], Decision[Any]]) -> "Story":
        """Something is asked of the law that is no event."""
        return self._adds(Step(self._state, self._state, said=said, does=does))

    def hears(self, event: Happening) -> "Story":
        """It is told an event."""
        return self._adds(Step(self._state, self._state, event))

    def refuses(self, event: Happening, error: type[Exception] = IllegalTransition) -> "Story":
        """It is told an event that is not allowed: nothing changes."""
        return self._adds(Step(self._state, self._state, event, error=error))

    # ------------------------------------------------------------------ what follows

    def becomes(self, state: StrEnum) -> "Story":
        """It is in this state after that; where nothing is said it stays."""
        return self._says(state=state)

    def passes(self, state: StrEnum, event: StrEnum) -> "Story":
        """It goes through this state on the way, and the law itself adds this event."""
        return self._says(passes=(*self._last.passes, (state, event)))

    def has(self, **facts: object) -> "Story":
        """These facts have these values now; all others are as they were."""
        return self._says(facts=(*self._last.facts, *facts.items()))

    def moves(
        self, amount: int, source: str, target: str, under: str, asset: Asset = Asset.MSAT
    ) -> "Story":
        """An entry of this name moves this much."""
        return self._says(moves=(*self._last.moves, Move(amount, source, target, under, asset)))

    def promises(self, promise: Promise) -> "Story":
        """This is promised."""
        return self._says(promises=(*self._last.promises, promise))

    def wants(self, purpose: str, amount_msat: int, invoice_id: str) -> "Story":
        """An invoice must come to exist."""
        return self._says(wants=(*self._last.wants, (invoice_id, purpose, amount_msat)))

    def owes(self, reason: str, amount: int, payout_id: str, asset: Asset = Asset.MSAT) -> "Story":
        """A payout must come to exist."""
        return self._says(owes=(*self._last.owes, (payout_id, reason, amount, asset)))

    def drops(self, invoice_id: str) -> "Story":
        """An invoice is needed no more."""
        return self._says(drops=(*self._last.drops, invoice_id))


def story(title: str, law: Law) -> Story:
    """Return a story of which nothing is told yet."""
    return Story(title, law)
