"""A notice: word of an event, owed to whoever named a URL for it, until his server has it.

It is tried at once, then after 1, 5 and 30 seconds, and then with growing pauses for a day. Whoever
answers 410 wants no more of it. Its owner may have it sent again, whatever became of it.
"""

from dataclasses import dataclass, replace
from enum import StrEnum, auto
from typing import Final

from statemachine.decision import Decision
from statemachine.machine import Machine
from statemachine.promises import Notify

# Before the first try, the second, and so on; together 24 hours.
PAUSES_S: Final = (0, 1, 5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600, 37_044)


class Topic(StrEnum):
    """What a webhook hears of, and in which surface's words."""

    JOB = auto()
    SESSION = auto()
    BATCH = auto()
    GENERATION = auto()  # a batch that is one run of a tool
    SPELL = auto()  # a batch that is a cast


_ENDS_OF_RUNS: Final = {"cancelled": "failed"}  # a run of a tool, or a cast, has two ends


def event_name(topic: Topic, state: str) -> str:
    """Return what it is called that something is in this state now: "generation.completed"."""
    is_run = topic in (Topic.GENERATION, Topic.SPELL)
    return f"{topic}.{_ENDS_OF_RUNS.get(state, state) if is_run else state}"


class NoticeState(StrEnum):
    """Where a notice stands."""

    WANTED = auto()  # it waits for its next try
    DELIVERED = auto()  # the receiver answered 2xx
    GIVEN_UP = auto()  # a day's tries were in vain, or the receiver wants no more


class NoticeEvent(StrEnum):
    """What can happen to a notice."""

    ACCEPTED = auto()
    MISSED = auto()
    RAN_OUT = auto()
    UNWELCOME = auto()
    RESENT = auto()


NOTICE = Machine(
    "notice",
    NoticeState,
    NoticeEvent,
    [
        (NoticeEvent.ACCEPTED, NoticeState.WANTED, NoticeState.DELIVERED),
        (NoticeEvent.MISSED, NoticeState.WANTED, NoticeState.WANTED),
        # Told by nobody: what the last miss comes to.
        (NoticeEvent.RAN_OUT, NoticeState.WANTED, NoticeState.GIVEN_UP),
        (NoticeEvent.UNWELCOME, NoticeState.WANTED, NoticeState.GIVEN_UP),
        *((NoticeEvent.RESENT, state, NoticeState.WANTED) for state in NoticeState),
    ],
)


@dataclass(frozen=True, slots=True)
class NoticeFacts:
    """What the law needs to know of a notice."""

    id: str
    receiver: str  # whose server gets it: one delivery at a time
    state: NoticeState
    tries: int = 0  # that were made; the number of the last one
    misses: int = 0  # since it was wanted, or wanted again

    @property
    def pause_s(self) -> int:
        """How long its next try waits after the last one, in seconds."""
        return PAUSES_S[self.misses]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The receiver answered 2xx."""

    kind = NoticeEvent.ACCEPTED


@dataclass(frozen=True, slots=True)
class Missed:
    """The receiver did not answer in time, or with something else."""

    kind = NoticeEvent.MISSED


@dataclass(frozen=True, slots=True)
class Unwelcome:
    """The receiver answered 410: he wants no more of it."""

    kind = NoticeEvent.UNWELCOME


@dataclass(frozen=True, slots=True)
class Resent:
    """Its owner wants it sent again, now."""

    kind = NoticeEvent.RESENT


Event = Accepted | Missed | Unwelcome | Resent


def begin(notice_id: str, receiver: str) -> Decision[NoticeFacts]:
    """Return how a notice comes to be: with the promise to send it."""
    facts = NoticeFacts(notice_id, receiver, NoticeState.WANTED)
    return Decision(facts, promises=(Notify(receiver),))


def decide(facts: NoticeFacts, event: Event) -> Decision[NoticeFacts]:
    """Return what the event means. Raises IllegalTransition."""
    after = replace(facts, state=NOTICE.step(facts.state, event.kind))
    match event:
        case Missed():
            return _missed(after)
        case Resent():
            return Decision(replace(after, misses=0), promises=(Notify(after.receiver),))
        case _:
            return Decision(replace(after, tries=after.tries + 1))


def _missed(after: NoticeFacts) -> Decision[NoticeFacts]:
    after = replace(after, tries=after.tries + 1, misses=after.misses + 1)
    if after.misses < len(PAUSES_S):
        return Decision(after, promises=(Notify(after.receiver),))
    return Decision(replace(after, state=NOTICE.step(after.state, NoticeEvent.RAN_OUT)))
