"""Who watches a job as it goes on: one listener for all of a process, and nothing that polls.

A watcher costs no coroutine beside its own request's. What happened is read from the database once
for all who watch a job, and told by its number: nobody is told a thing twice, and nobody misses
one. Whoever does not read what was sent is dropped, and comes back with the number it saw last.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from itertools import islice
from typing import Any

import structlog

from app.promises.progress import Words
from app.refusal import Refusal, Why, unavailable
from app.strict_json import dumped
from app.telemetry.metrics import STREAM_ENDS, STREAM_EVENTS, STREAMS_OPEN
from db import job_events, jobs
from db.engine import Database, DatabaseAway
from db.job_events import Line
from db.jobs import JobView
from db.signals import Signals
from statemachine.job import JobState
from statemachine.payout import PayoutState

MOST_WAITING_BYTES = 256 * 1024  # sent to a watcher that has not taken what came before
MOST_STUCK_BEATS = 2
TURNS = 60  # watchers hear the heart in turn, so that it never beats for all of them at once
RETRY_MS = 1_000  # a watcher that was cut comes back after this, or up to twice as long
FULL_S = 10
AGAIN_S = 1.0  # when the database is asked again that was away
READS = 4  # jobs that are read at once
MOST_DRAFTS, MOST_DRAFT = 256, 64 * 1024

BEAT = b": still here\n\n"
# A job, a line of its history, and where its watcher reaches us, as an event shows them.
Shape = Callable[[JobView, Line, str | None], dict[str, Any]]
Message = MutableMapping[str, Any]  # of ASGI
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
log = structlog.get_logger("boltwork.streams")


class Draft:
    """What an agent has written of its work so far, as far as this process has heard."""

    __slots__ = ("cost_sats", "output_tokens", "start", "text")

    def __init__(self, words: Words) -> None:
        self.start, self.text = words.start, ""
        self.add(words)

    @property
    def end(self) -> int:
        """Return how much was written, in characters."""
        return self.start + len(self.text)

    def add(self, words: Words) -> None:
        """Take in the next words; of a very long text only the end is kept."""
        text = self.text + words.text
        self.text = text[-MOST_DRAFT:]
        self.start += len(text) - len(self.text)
        self.output_tokens, self.cost_sats = words.output_tokens, words.cost_sats

    def event(self, read: int) -> tuple[int, bytes]:
        """Return what follows after so many characters: where it begins, and as an event."""
        start = max(read, self.start)
        said = {
            "start": start,
            "text": self.text[start - self.start :],
            "outputTokens": self.output_tokens,
            "costSats": self.cost_sats,
        }
        return start, b"event: progress\ndata: %b\n\n" % dumped(said)


class Watcher:
    """One open stream: what was sent on it, and what is waiting to be."""

    __slots__ = (
        "_bytes", "_leaving", "_send", "_sending", "_stuck", "_waiting",
        "base", "caller", "draft", "ending", "job_id", "read", "told", "turn",
    )  # fmt: skip

    def __init__(self, job_id: str, told: int, caller: str, base: str | None) -> None:
        self.job_id, self.told, self.caller, self.base = job_id, told, caller, base
        self.draft: Draft | None = None
        self.read = 0  # of the draft
        self.turn = 0
        self._waiting: list[bytes] = []
        self._bytes = self._stuck = 0
        self._sending: asyncio.Task[None] | None = None
        self.ending = False  # it is told no more after what is on its way
        self._leaving: asyncio.Timeout | None = None
        self._send: Send | None = None

    async def stay(self, receive: Receive, send: Send) -> bool:
        """Return when the watcher has gone or everything was sent; False when it was dropped."""
        self._send = send
        self._go_on()
        try:
            async with asyncio.timeout(None) as self._leaving:
                while (await receive())["type"] != "http.disconnect":
                    pass
            self._send = None
            if self._sending is not None:  # the server may be closing the connection in it
                await asyncio.wait({self._sending}, timeout=1.0)
        except TimeoutError:
            return False
        finally:
            self._send = self._leaving = None
            if self._sending is not None:
                self._sending.cancel()
        return True

    def give(self, chunk: bytes) -> None:
        """Send this after what is on its way. It is in memory once, for all who are given it."""
        if self._bytes > MOST_WAITING_BYTES:
            self.drop()
            return
        self._waiting.append(chunk)
        self._bytes += len(chunk)
        self._go_on()

    def end(self) -> None:
        """Close the stream, after what is on its way."""
        self.ending = True
        self._go_on()

    def beat(self) -> None:
        """Send a comment, so that nobody takes the connection for dead."""
        if self._sending is None:
            self._stuck = 0
            self.give(BEAT)
            return
        self._stuck += 1
        if self._stuck >= MOST_STUCK_BEATS:
            self.drop()

    def drop(self) -> None:
        """Let go of a watcher that does not read."""
        self._waiting, self._bytes = [], 0
        if self._leaving is not None:
            self._leaving.reschedule(asyncio.get_running_loop().time())

    def _go_on(self) -> None:
        if self._sending is None and self._send is not None and (self._waiting or self.ending):
            self._sending = asyncio.create_task(self._send_all(self._send))

    async def _send_all(self, send: Send) -> None:
        try:
            while self._waiting:
                body, self._waiting, self._bytes = b"".join(self._waiting), [], 0
                await send({"type": "http.response.body", "body": body, "more_body": True})
            if self.ending:
                self._send = None  # there is no more to say
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except Exception as error:  # servers differ in what they say of a client that has gone
            log.debug("stream_cut", error=type(error).__name__)
            self.drop()
        finally:
            self._sending = None


class Streams:
    """Everybody who watches in this process. Hears of changes as a listener of the signals."""

    def __init__(
        self,
        db: Database,
        signals: Signals,
        beat_s: float = 15,
        most: int = 5_000,
        most_each: int = 500,
    ) -> None:
        self._db, self._signals, self._beat_s = db, signals, beat_s
        self._most, self._most_each = most, most_each
        self._watchers: dict[str, dict[Watcher, None]] = {}
        self._turns: list[set[Watcher]] = [set() for _ in range(TURNS)]
        self._callers: Counter[str] = Counter()
        self._count = self._turn = 0
        self._changed: dict[str, None] = {}  # in the order in which it was heard
        self._reading: set[str] = set()
        self._woken = asyncio.Event()
        self._drafts: dict[str, Draft] = {}
        signals.attach(self)

    def admit(self, caller: str) -> None:
        """Refuse one watcher too many: 429 for this caller, 503 for all."""
        if self._signals.released:
            raise unavailable(Why.RESTARTING, "This server is being restarted.", 1)
        if self._count >= self._most:
            STREAM_ENDS.labels("refused").inc()
            raise unavailable(Why.BUSY, "Too many streams are open just now.", FULL_S)
        if self._most_each and self._callers[caller] >= self._most_each:
            STREAM_ENDS.labels("refused").inc()
            raise Refusal(
                Why.TOO_MANY,
                f"Your address has {self._most_each} streams open already.",
                "Close one first, or poll the job.",
                {"Retry-After": str(FULL_S)},
            )

    async def serve(self, watcher: Watcher, receive: Receive, send: Send) -> None:
        """Send a watcher its job's events until it goes away, or the job has ended."""
        self._add(watcher)
        how = "left"
        try:
            watcher.give(b"retry: %d\n\n" % (RETRY_MS + RETRY_MS * watcher.turn // TURNS))
            self.changed(watcher.job_id)  # it may have, or there is something to replay
            if self._signals.released:
                watcher.end()
            stayed = await watcher.stay(receive, send)
            how = "dropped" if not stayed else "ended" if watcher.ending else "left"
        finally:
            self._remove(watcher)
            STREAM_ENDS.labels(how).inc()

    def _add(self, watcher: Watcher) -> None:
        self._watchers.setdefault(watcher.job_id, {})[watcher] = None
        self._turn = watcher.turn = (self._turn + 1) % TURNS
        self._turns[watcher.turn].add(watcher)
        self._sit_down(watcher.caller)

    def _remove(self, watcher: Watcher) -> None:
        others = self._watchers[watcher.job_id]
        del others[watcher]
        if not others:
            del self._watchers[watcher.job_id]
        self._turns[watcher.turn].discard(watcher)
        self._stand_up(watcher.caller)

    @contextlib.contextmanager
    def seat(self, caller: str) -> Iterator[None]:
        """Count a stream that is served elsewhere for as long as the block lasts; admit it before.

        What it watches has no line of history: it looks by itself.
        """
        self._sit_down(caller)
        try:
            yield
        finally:
            self._stand_up(caller)

    def _sit_down(self, caller: str) -> None:
        self._callers[caller] += 1
        self._count += 1
        STREAMS_OPEN.set(self._count)

    def _stand_up(self, caller: str) -> None:
        self._callers[caller] -= 1
        if not self._callers[caller]:
            del self._callers[caller]
        self._count -= 1
        STREAMS_OPEN.set(self._count)

    # ------------------------------------------------------------------ what the signals tell

    def changed(self, job_id: str) -> None:
        """See Listener."""
        if job_id in self._watchers:
            self._changed[job_id] = None
            self._woken.set()
        else:
            self._drafts.pop(job_id, None)

    def missed(self) -> None:
        """See Listener."""
        self._changed |= dict.fromkeys(self._watchers)
        self._woken.set()

    def released(self) -> None:
        """See Listener. Each watcher comes back to whoever serves next, and has lost nothing."""
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.end()

    def progressed(self, words: str) -> None:
        """See Listener."""
        heard = Words.unpacked(words)
        if heard is None:
            return
        draft = self._drafts.get(heard.job_id)
        if draft is not None and draft.end == heard.start:
            draft.add(heard)
        else:  # the agent has begun, or we were away when it did
            self._drafts.pop(heard.job_id, None)
            draft = self._drafts[heard.job_id] = Draft(heard)
            if len(self._drafts) > MOST_DRAFTS:
                del self._drafts[next(iter(self._drafts))]
        # Who waits for the news of a change is told of the draft after it.
        if heard.job_id not in self._changed and heard.job_id not in self._reading:
            _show(draft, self._watchers.get(heard.job_id, ()))

    # --------------------------------------------------------------------- what is told of it

    async def run(self, shape: Shape) -> None:
        """Send watchers what happens, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            while True:
                await self._woken.wait()
                while self._changed:
                    batch = list(islice(self._changed, READS))
                    await asyncio.gather(*(self._tell(job_id, shape) for job_id in batch))
                self._woken.clear()

    async def _beat(self) -> None:
        while True:
            for turn in self._turns:
                await asyncio.sleep(self._beat_s / TURNS)
                for watcher in list(turn):
                    watcher.beat()

    async def _tell(self, job_id: str, shape: Shape) -> None:
        del self._changed[job_id]
        self._reading.add(job_id)
        try:
            await self._tell_news(job_id, shape)
        except DatabaseAway:
            log.warning("stream_waits_for_database")
            await asyncio.sleep(AGAIN_S)
            self.changed(job_id)
        except Exception as error:
            log.error("stream_broke", error=type(error).__name__)
            for watcher in list(self._watchers.get(job_id, ())):
                watcher.drop()
        finally:
            self._reading.discard(job_id)

    async def _tell_news(self, job_id: str, shape: Shape) -> None:
        """Send each watcher of a job the events that it does not have yet."""
        watchers = list(self._watchers.get(job_id, ()))
        if not watchers:
            return
        after = min(watcher.told for watcher in watchers)
        row = await jobs.view(self._db, job_id)
        if row is None:
            return
        told = await job_events.between(self._db, job_id, after, row.version)
        lines = job_events.to_the_end(told, row.version, row.state, row.completed_at)
        news = _News(row, lines, shape)
        for watcher in watchers:
            if watcher.told < row.version:
                watcher.give(news.since(watcher.told, watcher.base))
                watcher.told = row.version
            if news.final:
                watcher.end()
        if row.state is JobState.EXECUTING:
            if job_id in self._drafts:
                _show(self._drafts[job_id], watchers)
        elif job_id not in self._changed:  # else it may be executing by now
            self._drafts.pop(job_id, None)


class _News:
    """What happened to a job, each line made once for all its watchers."""

    def __init__(self, row: JobView, lines: list[Line], shape: Shape) -> None:
        self._row, self._lines, self._shape = row, lines, shape
        self._owes = any(one.state is PayoutState.OWED for one in row.payouts)
        self._made: dict[tuple[int, str | None], bytes] = {}
        self.final = row.is_final

    def since(self, told: int, base: str | None) -> bytes:
        """Return the events after a version, for a watcher that reaches us at `base`."""
        base = base if self._owes else None  # only links to fetch money by are its caller's own
        if (told, base) not in self._made:
            events = [self._event(line, base) for line in self._lines if line.version > told]
            STREAM_EVENTS.inc(len(events))
            self._made[told, base] = b"".join(events)
        return self._made[told, base]

    def _event(self, line: Line, base: str | None) -> bytes:
        ends = self.final and line.version == self._row.version
        said = dumped(self._shape(self._row, line, base))
        told = (line.version, b"end" if ends else b"state", said)
        return b"id: %d\nevent: %b\ndata: %b\n\n" % told


def _show(draft: Draft, watchers: Iterable[Watcher]) -> None:
    """Send watchers the part of a draft that each does not have yet."""
    made: dict[int, bytes] = {}
    for watcher in watchers:
        if watcher.draft is not draft:
            watcher.draft, watcher.read = draft, 0
        if watcher.read < draft.end:
            if watcher.read not in made:
                _, made[watcher.read] = draft.event(watcher.read)
            watcher.give(made[watcher.read])
            watcher.read = draft.end
