"""A session: a prepaid balance that pays for requests, until it is closed or left alone.

What rests on it belongs to whoever paid it in: spent it is charged, else it is owed back.
"""

from dataclasses import dataclass, replace
from enum import StrEnum, auto

from statemachine import entries
from statemachine.decision import Decision, InvoiceWanted, Owed
from statemachine.machine import Machine
from statemachine.owner import Purpose, Reason


class SessionState(StrEnum):
    """The four states of the wire."""

    AWAITING_PAYMENT = auto()  # the deposit's invoice is open
    ACTIVE = auto()  # requests are paid from the balance
    PAUSED = auto()  # the balance is below the minimum: a top-up resumes it
    EXPIRED = auto()  # final: closed, left alone for too long, or never paid


class SessionEnd(StrEnum):
    """Why a session is expired."""

    CLOSED = auto()  # its holder closed it
    INACTIVE = auto()  # it was not used for too long
    UNPAID = auto()  # its deposit was not paid in time


class SessionEvent(StrEnum):
    """What can happen to a session."""

    DEPOSITED = auto()
    TOPPED_UP = auto()
    RESERVED = auto()
    RELEASED = auto()
    RUN_LOW = auto()
    CLOSED = auto()
    IDLED = auto()
    LAPSED = auto()


_OPEN = (SessionState.ACTIVE, SessionState.PAUSED)

SESSION = Machine(
    "session",
    SessionState,
    SessionEvent,
    [
        (SessionEvent.DEPOSITED, SessionState.AWAITING_PAYMENT, SessionState.ACTIVE),
        (SessionEvent.TOPPED_UP, SessionState.ACTIVE, SessionState.ACTIVE),
        (SessionEvent.TOPPED_UP, SessionState.PAUSED, SessionState.ACTIVE),
        (SessionEvent.RESERVED, SessionState.ACTIVE, SessionState.ACTIVE),
        (SessionEvent.RELEASED, SessionState.ACTIVE, SessionState.ACTIVE),
        (SessionEvent.RELEASED, SessionState.PAUSED, SessionState.ACTIVE),
        # Told by nobody: what a release comes to where too little is left.
        (SessionEvent.RUN_LOW, SessionState.ACTIVE, SessionState.PAUSED),
        # What a request gives back after the end of its session is owed back, like the rest.
        (SessionEvent.RELEASED, SessionState.EXPIRED, SessionState.EXPIRED),
        (SessionEvent.LAPSED, SessionState.AWAITING_PAYMENT, SessionState.EXPIRED),
        (SessionEvent.CLOSED, SessionState.AWAITING_PAYMENT, SessionState.EXPIRED),
        *((SessionEvent.CLOSED, state, SessionState.EXPIRED) for state in _OPEN),
        *((SessionEvent.IDLED, state, SessionState.EXPIRED) for state in _OPEN),
    ],
)


ENDS = {
    SessionEvent.CLOSED: SessionEnd.CLOSED,
    SessionEvent.IDLED: SessionEnd.INACTIVE,
    SessionEvent.LAPSED: SessionEnd.UNPAID,
}


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What the law needs to know of a session. Amounts are msat."""

    id: str
    state: SessionState
    balance_msat: int  # neither spent nor set aside
    minimum_msat: int  # below it, set aside included, a session pauses
    reserved_msat: int = 0  # set aside for requests that run
    topups: int = 0  # how many were asked for
    rests: int = 0  # how many payouts it has left behind
    ended: SessionEnd | None = None


@dataclass(frozen=True, slots=True)
class Deposited:
    """The deposit's invoice settled: its amount is on the balance."""

    kind = SessionEvent.DEPOSITED


@dataclass(frozen=True, slots=True)
class ToppedUp:
    """A top-up's invoice settled: its amount is on the balance."""

    kind = SessionEvent.TOPPED_UP


@dataclass(frozen=True, slots=True)
class Reserved:
    """A request begins: its ceiling is set aside."""

    amount_msat: int
    kind = SessionEvent.RESERVED


@dataclass(frozen=True, slots=True)
class Released:
    """A request is over: nothing of its ceiling is set aside any more, `back_msat` came back."""

    amount_msat: int
    back_msat: int
    kind = SessionEvent.RELEASED


@dataclass(frozen=True, slots=True)
class Closed:
    """Its holder wants it no more."""

    kind = SessionEvent.CLOSED


@dataclass(frozen=True, slots=True)
class Idled:
    """Nobody has used it for too long."""

    kind = SessionEvent.IDLED


@dataclass(frozen=True, slots=True)
class Lapsed:
    """The deposit was not paid in time."""

    kind = SessionEvent.LAPSED


Event = Deposited | ToppedUp | Reserved | Released | Closed | Idled | Lapsed


@dataclass(frozen=True, slots=True)
class Grounds:
    """What must be so, in an active session, for an event to move two sums and to change nothing
    else: whoever can see that it is so needs to know no more of the session. Amounts are msat.
    """

    balance_msat: int  # is there at least
    over_minimum_msat: int | None  # is left at least over the minimum; None: however little is
    reserved_by_msat: int  # what is set aside changes by
    balance_by_msat: int  # ... and the balance, by an entry of the request's own

    def are_met(self, facts: SessionFacts) -> bool:
        """Say whether it is so."""
        over_msat = facts.balance_msat + facts.reserved_msat - facts.minimum_msat
        return (
            facts.state is SessionState.ACTIVE
            and facts.balance_msat >= self.balance_msat
            and (self.over_minimum_msat is None or over_msat >= self.over_minimum_msat)
        )


def grounds(event: Reserved | Released) -> Grounds:
    """Return the grounds on which an event is a matter of two sums; see `decide` for the rest."""
    match event:
        case Reserved(amount_msat):
            return Grounds(amount_msat, None, amount_msat, -amount_msat)
        case Released(amount_msat, back_msat):
            return Grounds(0, amount_msat - back_msat, -amount_msat, back_msat)


class Short(Exception):
    """The balance does not cover what a request may cost."""


def deposit_invoice_id(session_id: str) -> str:
    """Return the name of a session's first invoice."""
    return f"{session_id}:deposit"


def topup_invoice_id(session_id: str, number: int) -> str:
    """Return the name of one of a session's later invoices."""
    return f"{session_id}:topup{number}"


def begin(session_id: str, deposit_msat: int, minimum_msat: int) -> Decision[SessionFacts]:
    """Return how a session comes to be: empty, with its deposit's invoice."""
    facts = SessionFacts(session_id, SessionState.AWAITING_PAYMENT, 0, minimum_msat)
    invoice = InvoiceWanted(deposit_invoice_id(session_id), Purpose.DEPOSIT, deposit_msat)
    return Decision(facts, wanted=(invoice,))


def ask_topup(facts: SessionFacts, amount_msat: int) -> Decision[SessionFacts]:
    """Return what asking for a top-up means. Nothing is on the balance until it is paid."""
    after = replace(facts, topups=facts.topups + 1)
    invoice = InvoiceWanted(topup_invoice_id(facts.id, after.topups), Purpose.TOPUP, amount_msat)
    return Decision(after, wanted=(invoice,))


def awaits(state: SessionState, purpose: Purpose) -> Deposited | ToppedUp | None:
    """Return the event that a settled invoice is to a session, None if it is unawaited."""
    event = Deposited() if purpose is Purpose.DEPOSIT else ToppedUp()
    return event if SESSION.allows(state, event.kind) else None


def lapses(purpose: Purpose) -> Lapsed | None:
    """Return the event that an unpaid invoice is to a session: none, where it was a top-up."""
    return Lapsed() if purpose is Purpose.DEPOSIT else None


def decide(facts: SessionFacts, event: Event) -> Decision[SessionFacts]:
    """Return what the event means. Raises IllegalTransition, and Short on too low a balance.

    The facts' balance is the one before the event, but for Deposited and ToppedUp, whose money
    the invoice's own entry has brought; reserving and releasing are entries of the request.
    """
    state, ended = SESSION.step(facts.state, event.kind), facts.ended or ENDS.get(event.kind)
    after = replace(facts, state=state, ended=ended)
    match event:
        case Reserved(amount_msat):
            if facts.balance_msat < amount_msat:
                raise Short
            return Decision(
                replace(
                    after,
                    balance_msat=facts.balance_msat - amount_msat,
                    reserved_msat=facts.reserved_msat + amount_msat,
                )
            )
        case Released(amount_msat, back_msat):
            after = replace(
                after,
                balance_msat=facts.balance_msat + back_msat,
                reserved_msat=facts.reserved_msat - amount_msat,
            )
            if after.state is not SessionState.EXPIRED:
                return _paused_if_low(after)
            # One payout for all that comes back after the end, and not one for each request.
            return Decision(after) if after.reserved_msat else _over(after)
        case Closed() | Idled():
            return replace(_over(after), dropped=_open_invoices(facts))
        case _:
            return Decision(after)


def _open_invoices(facts: SessionFacts) -> tuple[str, ...]:
    if facts.state is SessionState.AWAITING_PAYMENT:
        return (deposit_invoice_id(facts.id),)
    return (topup_invoice_id(facts.id, facts.topups),) if facts.topups else ()


def _paused_if_low(after: SessionFacts) -> Decision[SessionFacts]:
    if after.balance_msat + after.reserved_msat < after.minimum_msat:
        after = replace(after, state=SESSION.step(after.state, SessionEvent.RUN_LOW))
    return Decision(after)


def _over(after: SessionFacts) -> Decision[SessionFacts]:
    if not after.balance_msat:
        return Decision(after)
    after = replace(after, rests=after.rests + 1)
    back = Owed(f"{after.id}:rest{after.rests}", Reason.UNSPENT, after.balance_msat)
    entry = entries.owed_back(entries.of_session(after.id), back.amount, back.id)
    return Decision(replace(after, balance_msat=0), (entry,), owed=(back,))
