"""Webhooks, the notices that are owed to them, and the log of their tries."""

from datetime import datetime
from typing import Any, NamedTuple

from db.engine import Database, Tx
from db.owners import COLUMNS, columns_of
from db.rows import Reads, columns
from statemachine.notice import NoticeFacts, NoticeState, Topic
from statemachine.owner import Owner, OwnerKind


class NewWebhook(NamedTuple):
    """A webhook that somebody asks for, with its secret sealed."""

    id: str
    topic: Topic
    url: str
    receiver: str  # scheme, host and port of the URL
    sealed: str
    is_made: bool  # the secret, by us
    base: str | None  # how whoever asked reaches this server
    account_id: str | None  # whose it is, where it is anybody's
    facts: dict[str, Any]  # what its notices say beside what happened, in this order


_INSERT = """
INSERT INTO webhook (id, job_id, session_id, batch_id, account_id, topic, url, receiver, sealed,
                     is_made, base, facts, created_at)
VALUES (%(id)s, %(job_id)s, %(session_id)s, %(batch_id)s, %(account_id)s, %(topic)s, %(url)s,
        %(receiver)s, %(sealed)s, %(is_made)s, %(base)s, %(facts)s, %(now)s)
"""


async def insert(tx: Tx, owner: Owner, webhook: NewWebhook, now: datetime) -> None:
    """Write the webhook of a job, a session or a batch."""
    whose: dict[str, Any] = dict(columns_of(owner))
    await tx.execute(_INSERT, **{**whose, **webhook._asdict()}, now=now)


class Shown(NamedTuple):
    """A webhook as it is shown to whoever asked for it, and whether it was before."""

    id: str
    url: str
    sealed: str
    is_made: bool
    shown_at: datetime | None


_SHOW = """
WITH before AS (
  SELECT id, url, sealed, is_made, shown_at FROM webhook WHERE {column} = %(id)s FOR UPDATE),
shown AS (
  UPDATE webhook SET shown_at = coalesce(webhook.shown_at, %(now)s)
    FROM before WHERE webhook.id = before.id)
SELECT id, url, sealed, is_made, shown_at FROM before
"""


async def show(tx: Tx, owner: Owner, now: datetime) -> Shown | None:
    """Write that a webhook was shown; return it as it was before."""
    return await tx.row(Shown, _SHOW.format(column=COLUMNS[owner.kind]), id=owner.id, now=now)


class Sealed(NamedTuple):
    """The closed secret of a webhook."""

    id: str
    sealed: str


_SEALED = "SELECT id, sealed FROM webhook ORDER BY id"


async def sealed_secrets(reads: Reads) -> list[Sealed]:
    """Return the closed secrets of all webhooks."""
    return await reads.rows(Sealed, _SEALED)


async def take_sealed(tx: Tx) -> list[Sealed]:
    """Return the same. Until this transaction ends nobody adds one."""
    await tx.execute("LOCK TABLE webhook IN SHARE ROW EXCLUSIVE MODE")
    return await sealed_secrets(tx)


async def reseal(tx: Tx, webhook_id: str, sealed: str) -> None:
    """Write a secret as it was closed anew."""
    await tx.execute(
        "UPDATE webhook SET sealed = %(sealed)s WHERE id = %(id)s", id=webhook_id, sealed=sealed
    )


class Told(NamedTuple):
    """A webhook as the transaction of an event needs it."""

    id: str
    topic: Topic
    receiver: str


async def of_owner(tx: Tx, owner: Owner) -> Told | None:
    """Return the webhook of a job, a session or a batch, if it has one."""
    if owner.kind is OwnerKind.ACCOUNT:
        return None
    column = COLUMNS[owner.kind]
    return await tx.row(
        Told, f"SELECT {columns(Told)} FROM webhook WHERE {column} = %(id)s", id=owner.id
    )


_INSERT_NOTICE = """
INSERT INTO notice (id, webhook_id, account_id, receiver, event, state, created_at, due_at)
VALUES (%(id)s, %(webhook_id)s, (SELECT account_id FROM webhook WHERE id = %(webhook_id)s),
        %(receiver)s, %(event)s, %(state)s, %(now)s, %(now)s)
"""


async def insert_notice(
    tx: Tx, facts: NoticeFacts, webhook_id: str, event: str, now: datetime
) -> None:
    """Write a notice as it comes to be, due at once."""
    await tx.execute(
        _INSERT_NOTICE,
        id=facts.id,
        webhook_id=webhook_id,
        receiver=facts.receiver,
        event=event,
        state=facts.state,
        now=now,
    )


class LockedNotice(NamedTuple):
    """A notice whose row is locked until the transaction ends."""

    id: str
    receiver: str
    state: NoticeState
    tries: int
    misses: int

    @property
    def facts(self) -> NoticeFacts:
        """The law's view of it."""
        return NoticeFacts(*self)


_LOCK = f"SELECT {columns(LockedNotice)} FROM notice WHERE id = %(id)s FOR UPDATE"


async def lock_notice(tx: Tx, notice_id: str) -> LockedNotice | None:
    """Return a notice's row, locked; None when there is none."""
    return await tx.row(LockedNotice, _LOCK, id=notice_id)


_MOVE = """
UPDATE notice SET state = %(state)s, tries = %(tries)s, misses = %(misses)s, due_at = %(due_at)s,
       ended_at = %(ended_at)s
 WHERE id = %(id)s
"""


async def move_notice(tx: Tx, after: NoticeFacts, due_at: datetime, now: datetime) -> None:
    """Write the facts after an event; `due_at` is its next try's, while it is wanted."""
    await tx.execute(
        _MOVE,
        id=after.id,
        state=after.state,
        tries=after.tries,
        misses=after.misses,
        due_at=due_at,
        ended_at=None if after.state is NoticeState.WANTED else now,
    )


class Try(NamedTuple):
    """One try: what the receiver answered, or why there was no answer."""

    number: int
    at: datetime
    status: int | None
    took_ms: int
    said: str


async def insert_try(tx: Tx, notice_id: str, tried: Try) -> None:
    """Write a line of a notice's log."""
    await tx.execute(
        "INSERT INTO notice_try (notice_id, number, at, status, took_ms, said)"
        " VALUES (%(notice_id)s, %(number)s, %(at)s, %(status)s, %(took_ms)s, %(said)s)",
        notice_id=notice_id,
        **tried._asdict(),
    )


class Next(NamedTuple):
    """When a receiver is next due, and whether it has missed what waits for it."""

    due_at: datetime | None
    has_missed: bool | None


_NEXT = """
SELECT min(due_at) AS due_at, bool_or(misses > 0) AS has_missed FROM notice
 WHERE receiver = %(receiver)s AND state = 'wanted'
"""


async def next_of(reads: Reads, receiver: str) -> Next:
    """Return when a receiver is next to be sent something."""
    found = await reads.row(Next, _NEXT, receiver=receiver)
    assert found is not None
    return found


class ToSend(NamedTuple):
    """A notice, and what is needed to send it."""

    id: str
    event: str
    number: int  # of the next try
    body: str | None  # None: it was not tried before
    created_at: datetime
    webhook_id: str
    job_id: str | None
    session_id: str | None
    batch_id: str | None
    topic: Topic
    url: str
    sealed: str
    base: str | None
    facts: dict[str, Any]

    @property
    def owner(self) -> Owner:
        """What it tells of."""
        for kind in (OwnerKind.JOB, OwnerKind.SESSION, OwnerKind.BATCH):
            if (owner_id := getattr(self, COLUMNS[kind])) is not None:
                return Owner(kind, owner_id)
        raise ValueError(f"the webhook {self.webhook_id} is nobody's")


_DUE = """
SELECT n.id, n.event, n.tries + 1 AS number, n.body, n.created_at, w.id AS webhook_id, w.job_id,
       w.session_id, w.batch_id, w.topic, w.url, w.sealed, w.base, w.facts
  FROM notice n JOIN webhook w ON w.id = n.webhook_id
 WHERE n.receiver = %(receiver)s AND n.state = 'wanted' AND n.due_at <= %(now)s
 ORDER BY n.due_at, n.id LIMIT 1
"""


async def due(db: Database, receiver: str, now: datetime) -> ToSend | None:
    """Return the notice that a receiver is to be sent first; None: none is due."""
    return await db.row(ToSend, _DUE, receiver=receiver, now=now)


class _Body(NamedTuple):
    body: str


async def write_body(tx: Tx, notice_id: str, body: str) -> str | None:
    """Write what a notice says, once; return what it says."""
    found = await tx.row(
        _Body,
        "UPDATE notice SET body = coalesce(body, %(body)s) WHERE id = %(id)s RETURNING body",
        id=notice_id,
        body=body,
    )
    return None if found is None else found.body


class _Receiver(NamedTuple):
    receiver: str


_FORGOTTEN = """
SELECT DISTINCT receiver FROM notice n WHERE state = 'wanted' AND due_at < %(before)s
   AND NOT EXISTS (SELECT FROM procrastinate_jobs j WHERE j.lock = n.receiver || ':notify'
                      AND j.status IN ('todo', 'doing') OFFSET 0)
 LIMIT %(most)s
"""


async def forgotten(db: Database, before: datetime, most: int) -> list[str]:
    """Return receivers whose promise was lost with its keeper."""
    rows = await db.rows(_Receiver, _FORGOTTEN, before=before, most=most)
    return [row.receiver for row in rows]


_PURGE = """
DELETE FROM webhook WHERE id = ANY(ARRAY(
  SELECT w.id FROM webhook w WHERE w.created_at < %(before)s
     AND NOT EXISTS (SELECT FROM notice n WHERE n.webhook_id = w.id
                        AND (n.state = 'wanted' OR n.ended_at >= %(before)s) OFFSET 0)
     AND NOT EXISTS (SELECT FROM session s WHERE s.id = w.session_id AND s.state <> 'expired'
                        OFFSET 0)
     AND NOT EXISTS (SELECT FROM batch b WHERE b.id = w.batch_id
                        AND b.state IN ('awaiting_payment', 'queued', 'processing') OFFSET 0)
     AND NOT EXISTS (SELECT FROM job j WHERE j.id = w.job_id
                        AND j.state NOT IN ('complete', 'rejected', 'failed') OFFSET 0)
   ORDER BY w.created_at LIMIT %(most)s))
"""  # with an OFFSET each is looked up: else Postgres may read all jobs and sessions


async def purge(tx: Tx, before: datetime, most: int) -> int:
    """Delete webhooks that have told all that they had to tell before then, with their logs."""
    return await tx.count(_PURGE, before=before, most=most)
