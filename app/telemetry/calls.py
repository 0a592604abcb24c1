"""Each call to the outside and each promise that is kept: counted, timed, traced, and named in the
log by what it is about."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from time import perf_counter
from typing import Any

from structlog.contextvars import bound_contextvars

from app.telemetry import tracing
from app.telemetry.metrics import (
    CALL_SECONDS,
    CALLS,
    PROMISE_SECONDS,
    PROMISE_WAIT_SECONDS,
    PROMISES,
)
from db.promises import Keep, Outbox, TryAgain
from statemachine.owner import named
from statemachine.promises import Notify, Promise
from statemachine.public_id import shown


class Call:
    """A call that is under way. Whoever made it says what came of it."""

    outcome = "raised"

    def answered(self, answer: object) -> None:
        """Take the kind of answer as the outcome; plain values are `ok`."""
        self.outcome = type(answer).__name__.lower() if is_dataclass(answer) else "ok"


@contextmanager
def counting(name: str) -> Iterator[Call]:
    """Count and time one call to the outside: "rail pay", "agent judge"."""
    part, _, what = name.partition(" ")
    call, began = Call(), perf_counter()
    try:
        yield call
    finally:
        CALLS.labels(part, what, call.outcome).inc()
        CALL_SECONDS.labels(part, what).observe(perf_counter() - began)


@contextmanager
def calling(name: str) -> Iterator[Call]:
    """Count, time and trace one call. Not around a generator's pieces: a span has one context."""
    with tracing.span(name) as span, counting(name) as call:
        try:
            yield call
        finally:
            if span is not None:
                span.set_attribute("boltwork.outcome", call.outcome)


@contextmanager
def _about(promise: Promise, tries: int) -> Iterator[Any]:
    """Name in log and trace what a promise is about, for as long as the block lasts.

    Receivers of notices are strangers' servers, and not named: the lines of a notice name it.
    """
    kind = type(promise).__name__
    if isinstance(promise, Notify):
        with bound_contextvars(promise=kind), tracing.span(f"promise {kind}") as span:
            yield span
        return
    owner = named(promise.key).owner
    told: dict[str, str | int] = {owner.kind.value: shown(owner.id), "tries": tries}
    with (
        bound_contextvars(**{owner.kind.value: owner.id, "promise": kind}),
        tracing.span_of(owner.id, f"promise {kind}", **told) as span,
    ):
        yield span


def keeping(keep: Keep, outbox: Outbox) -> Keep:
    """Return a keeper of promises that is observed."""

    async def kept(promise: Promise, tries: int) -> None:
        kind = type(promise).__name__
        outcome, began = "broke", perf_counter()
        with _about(promise, tries) as span:
            try:
                await keep(promise, tries)
                outcome = "kept"
            except TryAgain:
                outcome = "again"
                raise
            finally:
                PROMISES.labels(kind, outcome).inc()
                PROMISE_SECONDS.labels(kind).observe(perf_counter() - began)
                if span is not None:
                    span.set_attribute("boltwork.outcome", outcome)
            waited_s = outbox.waited_s(promise.key)
            if waited_s is not None:
                PROMISE_WAIT_SECONDS.labels(kind).observe(waited_s)

    return kept
