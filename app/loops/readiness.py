"""What this process has seen lately of its parts, and whether its loops still turn.

A loop asks each part every few seconds, one question at a time: nobody is asked because somebody
looks. A part that was not seen for long, or a loop that finishes no turn, is not well, whatever
was last said of it.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Protocol

from app.agents.agent import Agent
from app.agents.chat import Chat
from app.ports import Clock, Executor, Prices, UsdcRail
from app.refusal import LEAST_RETRY_S, patience_s
from db import heartbeats
from db.engine import Database, DatabaseAway, Unwritten
from db.promises import Outbox, Pulse
from db.signals import Signals
from payments.rail import Rail
from payments.usdc.outcome import Unknown

ANSWER_S = 12.0  # longest wait for one answer; the rail and the agents have deadlines of their own
LATE_S = 15.0  # how much older than its pace what was seen may be: an answer may take its time
FIRST_LOOK_S = 15.0  # how long whoever asks waits for the first look of a process
TURN_S = 60.0  # how long a turn of a loop may take before its beat is missed
LISTENS_S = 45.0  # how long the listener may be without a word from Postgres
WORKS_S = 30.0  # how long a worker may be without one, beyond when others call it dead

NOBODY_KEEPS = "No worker keeps promises: run `boltwork worker`, or serve without --no-worker"


class _Trouble(Protocol):
    @property
    def reason(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at a part found: its trouble in words, or None; and when (time.monotonic)."""

    trouble: str | None
    at_s: float
    since_s: float | None = None  # when the trouble was first seen


@dataclass(slots=True)
class Beat:
    """When a loop last finished a turn, how old that may be, and what its last turn broke with."""

    limit_s: float
    last_s: float
    trouble: str = ""

    @property
    def age_s(self) -> float:
        """Return how long ago that was."""
        return monotonic() - self.last_s

    def came(self) -> None:
        """A turn was finished."""
        self.last_s, self.trouble = monotonic(), ""


@dataclass(frozen=True, slots=True)
class Outside:
    """Who is asked whether all is well with them."""

    rail: Rail
    oracle: Prices
    agent: Agent
    chat: Chat
    usdc: UsdcRail | None
    makers: Sequence[Executor]
    deposits: Callable[[], Awaitable[str | None]] | None = None  # who reads the chain


def maker(name: str) -> str:
    """Return the part that an executor is."""
    return f"maker {name}"


class Readiness:
    """Looks at the parts, and keeps the beats of the loops."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        signals: Signals,
        outside: Outside,
        clock: Clock,
        *,
        health_s: int,
        dead_after_s: int,
    ) -> None:
        self._db, self._outbox, self._signals, self._clock = db, outbox, signals, clock
        self._health_s, self._dead_after_s = health_s, dead_after_s
        self._process = secrets.token_hex(8)
        self._began_s = monotonic()
        self._seen: dict[str, Seen] = {}
        self._looked = asyncio.Event()  # set once every part was looked at
        self.beats: dict[str, Beat] = {}
        self.pulse: Pulse | None = None  # what the task engine was last seen to do
        self.works = False  # this process has a worker of its own
        self.is_leaving = False  # it ends soon: whoever sends buyers sends them elsewhere
        self._questions: dict[str, Callable[[], Awaitable[str | None]]] = {
            "database": self._ask_database,
            "rail": partial(_reason, outside.rail.healthy),
            "price": partial(_reason, outside.oracle.healthy),
            "agents": partial(_reason, outside.agent.healthy),
            "chat": partial(_reason, outside.chat.healthy),
        }
        if outside.usdc is not None:
            self._questions["usdc"] = partial(trouble_with_usdc, outside.usdc)
        if outside.deposits is not None:
            self._questions["deposits"] = outside.deposits
        for executor in outside.makers:
            self._questions[maker(executor.name)] = partial(_reason, executor.healthy)

    @property
    def parts(self) -> tuple[str, ...]:
        """What is looked at."""
        return tuple(self._questions)

    # ------------------------------------------------------------------ what was seen

    def last_seen(self, part: str) -> Seen | None:
        """Return what the last look at a part found; None when there was none yet."""
        return self._seen.get(part)

    def trouble(self, part: str) -> str | None:
        """Return what is wrong with a part now, in words; None while nothing is known to be."""
        seen = self._seen.get(part)
        if seen is None:
            return None
        age_s = monotonic() - seen.at_s
        if age_s > self._health_s + LATE_S:
            return f"Nothing was heard of it for {age_s:.0f} s"
        return seen.trouble

    def retry_after_s(self, *parts: str, least_s: int = LEAST_RETRY_S) -> int:
        """Return when to come back to what needs these parts."""
        seen = [self._seen.get(part) for part in parts]
        begun_s = [each.since_s for each in seen if each and each.since_s is not None]
        lasted_s = monotonic() - min(begun_s) if begun_s else 0
        return patience_s(lasted_s, least_s)

    async def first_look(self) -> None:
        """Wait until every part was looked at once, for a while."""
        try:
            async with asyncio.timeout(FIRST_LOOK_S):
                await self._looked.wait()
        except TimeoutError:
            for part in self.parts:
                self._seen.setdefault(part, Seen("It does not answer", monotonic()))

    async def look(self, part: str) -> None:
        """Look at one part. Whatever comes of it is what is seen."""
        try:
            async with asyncio.timeout(ANSWER_S):
                trouble = await self._questions[part]()
        except TimeoutError:
            trouble = f"It did not answer within {ANSWER_S:.0f} s"
        except Exception as error:  # named only: it may quote what it was told
            trouble = f"It could not be asked ({type(error).__name__})"
        before, now_s = self._seen.get(part), monotonic()
        since_s = before.since_s if before and before.since_s is not None else now_s
        self._seen[part] = Seen(trouble, now_s, since_s if trouble is not None else None)
        if len(self._seen) == len(self._questions):
            self._looked.set()

    async def _ask_database(self) -> str | None:
        now = self._clock()
        try:
            await self._db.run("beat", lambda tx: heartbeats.beat(tx, self._process, now))
            self.pulse = await self._outbox.pulse()
        except (DatabaseAway, Unwritten) as away:
            return str(away)
        return None

    # ------------------------------------------------------------------ what must not stand still

    def expects(self, name: str, limit_s: float) -> Beat:
        """Return the beat of a loop that begins now, and must finish a turn in so long."""
        self.beats[name] = Beat(limit_s, monotonic())
        return self.beats[name]

    def stopped_loops(self) -> str | None:
        """Say which loops have finished no turn for longer than they may."""
        late = [
            f"{name} has finished no turn for {beat.age_s:.0f} s"
            + (f" ({beat.trouble})" if beat.trouble else "")
            for name, beat in sorted(self.beats.items())
            if beat.age_s > beat.limit_s
        ]
        return "; ".join(late) or None

    def listener_trouble(self) -> str | None:
        """Say so when whoever waits for a change would hear of none."""
        age_s = self.listener_age_s
        return f"Postgres has sent it nothing for {age_s:.0f} s" if age_s > LISTENS_S else None

    @property
    def listener_age_s(self) -> float:
        """Return how long ago Postgres last answered on the connection that listens."""
        return monotonic() - max(self._signals.answered_s, self._began_s)

    @property
    def worker_age_s(self) -> float:
        """Return how long ago a worker of this process took a promise, or saw that none waits."""
        return monotonic() - max(self._outbox.took_s, self._began_s)

    def keeper_trouble(self) -> str | None:
        """Say so when nobody keeps promises: no worker here, and none anywhere that lives."""
        most_s = self._dead_after_s + WORKS_S
        if self.works and self.worker_age_s <= most_s:
            return None
        if self.pulse is None or (self.pulse.beat_s is not None and self.pulse.beat_s <= most_s):
            return None  # the first: the database was never reached, and it says so itself
        if self.works:
            return f"Its worker has not got through to the promises for {self.worker_age_s:.0f} s"
        return NOBODY_KEEPS


async def _reason(ask: Callable[[], Awaitable[_Trouble | None]]) -> str | None:
    trouble = await ask()
    return None if trouble is None else trouble.reason


async def trouble_with_usdc(usdc: UsdcRail) -> str | None:
    """Ask the facilitator, and the chain for what we have there: both are needed to sell."""
    away = await usdc.facilitator.healthy()
    if away is not None:
        return away.reason
    balance = await usdc.ledger.balance_microusdc(usdc.pay_to)
    return balance.reason if isinstance(balance, Unknown) else None
