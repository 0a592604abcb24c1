"""What webhooks were told, and how each try went, as their owners see it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from db.engine import Database
from db.rows import columns
from statemachine.notice import NoticeState, Topic


class Webhook(NamedTuple):
    """A webhook that is there."""

    id: str
    topic: Topic
    url: str
    sealed: str
    account_id: str | None
    job_id: str | None
    session_id: str | None
    batch_id: str | None
    created_at: datetime


async def find(db: Database, webhook_id: str) -> Webhook | None:
    """Return a webhook; None when there is none."""
    return await db.row(
        Webhook, f"SELECT {columns(Webhook)} FROM webhook WHERE id = %(id)s", id=webhook_id
    )


class Tried(NamedTuple):
    """One try, as its log tells it."""

    notice_id: str
    number: int
    at: datetime
    status: int | None
    took_ms: int
    said: str


class _Notice(NamedTuple):
    id: str
    event: str
    state: NoticeState
    created_at: datetime
    due_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Logged:
    """A notice with the log of its tries."""

    id: str
    event: str
    state: NoticeState
    created_at: datetime
    due_at: datetime  # its next try, while it is wanted
    ended_at: datetime | None
    tried: list[Tried] = field(default_factory=list)


_NOTICES = f"""
SELECT {columns(_Notice)} FROM notice WHERE webhook_id = %(id)s
 ORDER BY created_at DESC, id LIMIT %(most)s
"""
_TRIES = f"""
SELECT {columns(Tried)} FROM notice_try WHERE notice_id = ANY(%(ids)s) ORDER BY notice_id, number
"""


async def of_webhook(db: Database, webhook_id: str, most: int) -> list[Logged]:
    """Return the notices of a webhook with their tries, the newest first."""
    found = await db.rows(_Notice, _NOTICES, id=webhook_id, most=most)
    logged = {row.id: Logged(*row) for row in found}
    for tried in await db.rows(Tried, _TRIES, ids=list(logged)):
        logged[tried.notice_id].tried.append(tried)
    return list(logged.values())


class Log(NamedTuple):
    """A notice as a list of many shows it: with its last try."""

    id: str
    webhook_id: str
    event: str
    url: str
    state: NoticeState
    tries: int
    created_at: datetime
    due_at: datetime
    status: int | None
    took_ms: int | None
    said: str | None


_OF_ACCOUNT = """
SELECT n.id, n.webhook_id, n.event, w.url, n.state, n.tries, n.created_at, n.due_at, t.status,
       t.took_ms, t.said
  FROM notice n JOIN webhook w ON w.id = n.webhook_id
  LEFT JOIN notice_try t ON t.notice_id = n.id AND t.number = n.tries
 WHERE n.account_id = %(account_id)s ORDER BY n.created_at DESC, n.id LIMIT %(most)s
"""


async def of_account(db: Database, account_id: str, most: int) -> list[Log]:
    """Return what the webhooks of an account were told last."""
    return await db.rows(Log, _OF_ACCOUNT, account_id=account_id, most=most)


class _Named(NamedTuple):
    id: str


_NAMED = """
SELECT id FROM notice WHERE webhook_id = %(webhook_id)s
   AND (%(id)s::text IS NULL OR id = %(id)s) ORDER BY created_at DESC, id LIMIT 1
"""


async def notice_of(db: Database, webhook_id: str, notice_id: str | None) -> str | None:
    """Return a notice of a webhook, the newest where none is named; None when there is none."""
    found = await db.row(_Named, _NAMED, webhook_id=webhook_id, id=notice_id)
    return None if found is None else found.id


class Standing(NamedTuple):
    """How notices stand, over all receivers."""

    wanted: int
    late: int  # due for more than a minute
    given_up: int  # in the last day
    receivers: int  # that have something coming


_STANDING = """
SELECT count(*) FILTER (WHERE state = 'wanted') AS wanted,
       count(*) FILTER (WHERE state = 'wanted' AND due_at < %(late)s) AS late,
       count(*) FILTER (WHERE state = 'given_up') AS given_up,
       count(DISTINCT receiver) FILTER (WHERE state = 'wanted') AS receivers
  FROM notice WHERE state = 'wanted' OR ended_at > %(since)s
"""


async def standing(db: Database, late: datetime, since: datetime) -> Standing:
    """Return how many notices wait, and were given up since then."""
    found = await db.row(Standing, _STANDING, late=late, since=since)
    assert found is not None
    return found
