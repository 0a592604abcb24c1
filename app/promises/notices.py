"""Notices are sent: signed, to one receiver one at a time, and what he answers is logged.

What a notice says is written before its first try, so that each try sends the same bytes. A try
that was made and not logged, as its process died, is made again: its id lets a receiver drop it.

Many may wait for answers at once. What is done here before and after that is paced.
"""

from datetime import datetime, timedelta
from time import perf_counter
from typing import Any, Final, Protocol

import structlog

from app import advance
from app.advance import Shell
from app.keys import webhook_secrets
from app.ports import Clock, Receivers
from app.promises.pacing import Pacing
from app.telemetry.metrics import NOTICE_TRIES
from db import webhooks
from db.engine import Database, Tx
from db.promises import TryAgain
from db.webhooks import ToSend, Try
from payments.public_http import Answer, Away, Refused
from payments.seal import BadSecret, Seal
from payments.webhook_signature import headers_of, signed_body
from statemachine import notice as law

log = structlog.get_logger("boltwork.notices")

TIMEOUT_S: Final = 5.0  # for all of a try
SAID_BYTES: Final = 300  # of an answer that are kept
EARLY_S: Final = 0.2  # a promise that comes before its notice is due, by another clock
GONE: Final = 410


class Bodies(Protocol):
    """What notices say."""

    async def payload_of(self, notice: ToSend) -> dict[str, Any]:
        """Return what a notice says of what it tells of, as that stands now."""
        ...


class Notices:
    """Keeps the promise Notify."""

    def __init__(
        self,
        db: Database,
        shell: Shell,
        receivers: Receivers,
        bodies: Bodies,
        seal: Seal,
        clock: Clock,
    ) -> None:
        self._db, self._shell, self._receivers = db, shell, receivers
        self._bodies, self._seal, self._clock = bodies, seal, clock
        self._pacing = Pacing()

    async def serve(self, receiver: str) -> None:
        """Send a receiver the notice that is due first; TryAgain when none is due yet."""
        async with self._pacing.turn():
            due = await self._due(receiver)
        if due is None:
            return
        notice, body, secret = due
        at, began = self._clock(), perf_counter()
        headers = {
            "Content-Type": "application/json",
            "X-Webhook-Event": notice.event,
            "X-Webhook-Attempt": str(notice.number),
            **headers_of(body, secret, notice.id, at),
        }
        answer = await self._receivers.post(notice.url, body, headers)
        took_ms = int((perf_counter() - began) * 1_000)
        event = event_of(answer)
        NOTICE_TRIES.labels(event.kind.value).inc()
        tried = tried_as(notice.number, at, took_ms, answer)
        async with self._pacing.turn():
            await self._shell.do(advance.notices.answered, notice.id, tried, event)

    async def _due(self, receiver: str) -> tuple[ToSend, bytes, str] | None:
        """Return a receiver's first notice, what it says and the secret that signs it."""
        notice = await webhooks.due(self._db, receiver, self._clock())
        if notice is None:
            await self._wait(receiver)
            return None
        try:
            secret = webhook_secrets.opened(self._seal, notice.webhook_id, notice.sealed)
        except BadSecret as error:
            log.error("notice_not_signed", notice=notice.id, reason=str(error))
            raise TryAgain("its secret can't be opened", 60) from None
        return notice, await self._body_of(notice, secret), secret

    async def _wait(self, receiver: str) -> None:
        due_at, _ = await webhooks.next_of(self._db, receiver)
        if due_at is not None:
            early_s = (due_at - self._clock()) / timedelta(seconds=1)
            raise TryAgain("it is not due yet", max(EARLY_S, early_s))

    async def _body_of(self, notice: ToSend, secret: str) -> bytes:
        if notice.body is not None:
            return notice.body.encode()
        try:
            payload = await self._bodies.payload_of(notice)
        except (LookupError, ValueError, TypeError, AssertionError) as error:
            # What can't be told of one must not hold up what its receiver is told of others.
            log.error("notice_not_made", notice=notice.id, error=type(error).__name__)
            payload = {"event": notice.event, **notice.facts, "noticeId": notice.id}
        body = signed_body(payload, secret).decode()

        async def work(tx: Tx) -> str | None:
            return await webhooks.write_body(tx, notice.id, body)

        written = await self._db.run("write_notice", work)
        return (written or body).encode()


def event_of(answer: Answer | Refused | Away) -> law.Event:
    """Return what an answer is to a notice."""
    if not isinstance(answer, Answer):
        return law.Missed()
    if 200 <= answer.status < 300:
        return law.Accepted()
    return law.Unwelcome() if answer.status == GONE else law.Missed()


def tried_as(number: int, at: datetime, took_ms: int, answer: Answer | Refused | Away) -> Try:
    """Return a line of the log: an answer's status and first bytes, or why there is none."""
    if isinstance(answer, Answer):
        text = answer.body[:SAID_BYTES].decode("utf-8", "replace").replace("\0", "\ufffd")
        return Try(number, at, answer.status, took_ms, text)
    return Try(number, at, None, took_ms, answer.reason)
