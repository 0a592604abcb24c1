"""Conversations and what was said in them. Whoever asks for another owner's finds nothing."""

from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from db.engine import Database, Tx
from db.rows import columns

MOST_OF_AN_OWNER = 200
MOST_MESSAGES = 1_000  # of one conversation

EMPTY_LIFE = timedelta(days=1)
VISITORS_LIFE = timedelta(days=30)
_OWNED = "SELECT count(*) AS n FROM conversation WHERE owner = %(owner)s"
_SAID = "SELECT count(*) AS n FROM message WHERE conversation_id = %(id)s"
_CREATE = """
INSERT INTO conversation (owner, title, created_at) VALUES (%(owner)s, %(title)s, %(now)s)
RETURNING id
"""
# Nothing is added to a conversation that was deleted meanwhile: nobody will ever read it.
_ADD = """
WITH kept AS (SELECT id FROM conversation WHERE id = %(id)s FOR KEY SHARE)
INSERT INTO message (conversation_id, role, content, answers, usage, created_at)
SELECT id, %(role)s, %(content)s, CAST(%(answers)s AS bigint), CAST(%(usage)s AS jsonb),
       CAST(%(now)s AS timestamptz) FROM kept
RETURNING id
"""


class Full(Exception):
    """There are as many already as may be."""


async def create(tx: Tx, owner: str, title: str, now: datetime) -> int:
    """Begin a conversation and return its id. Raises Full."""
    owned = await tx.one(_OWNED, owner=owner)
    if owned is not None and owned["n"] >= MOST_OF_AN_OWNER:
        raise Full
    [made] = await tx.all(_CREATE, owner=owner, title=title, now=now)
    return int(made["id"])


async def delete(tx: Tx, conversation_id: int, owner: str) -> bool:
    """Delete a conversation of this owner with its messages; False when there is none."""
    gone = await tx.count(
        "DELETE FROM conversation WHERE id = %(id)s AND owner = %(owner)s",
        id=conversation_id,
        owner=owner,
    )
    return bool(gone)


async def ask(tx: Tx, conversation_id: int, content: str, now: datetime) -> int | None:
    """Add what its owner says, and return its id; None when the conversation is gone.

    Raises Full.
    """
    said = await tx.one(_SAID, id=conversation_id)
    if said is not None and said["n"] >= MOST_MESSAGES:
        raise Full
    values = {"id": conversation_id, "content": content, "now": now}
    row = await tx.one(_ADD, role="user", answers=None, usage=None, **values)
    return int(row["id"]) if row else None


async def answer(
    tx: Tx,
    conversation_id: int,
    answers: int,
    content: str,
    usage: dict[str, Any],
    now: datetime,
) -> int | None:
    """Add what the model said, and return its id; None when the conversation is gone."""
    values = {"id": conversation_id, "content": content, "now": now}
    row = await tx.one(_ADD, role="assistant", answers=answers, usage=usage, **values)
    return int(row["id"]) if row else None


class Conversation(NamedTuple):
    """A conversation, without what was said in it."""

    id: int
    title: str
    created_at: datetime


class Message(NamedTuple):
    """What was said in a conversation."""

    id: int
    conversation_id: int
    role: str
    content: str
    created_at: datetime


class Said(NamedTuple):
    """Who said what."""

    role: Literal["user", "assistant"]
    content: str


class Answered(NamedTuple):
    """The answer to a message, and what it took."""

    id: int
    content: str
    usage: dict[str, Any]


_OF = f"SELECT {columns(Conversation)} FROM conversation WHERE owner = %(owner)s"


async def of_owner(db: Database, owner: str) -> list[Conversation]:
    """Return an owner's conversations, the newest first."""
    return await db.rows(Conversation, f"{_OF} ORDER BY id DESC", owner=owner)


async def get(db: Database, conversation_id: int, owner: str) -> Conversation | None:
    """Return a conversation of this owner; None when there is none."""
    return await db.row(Conversation, f"{_OF} AND id = %(id)s", id=conversation_id, owner=owner)


async def messages(db: Database, conversation_id: int) -> list[Message]:
    """Return what was said in a conversation, in order."""
    return await db.rows(
        Message,
        f"SELECT {columns(Message)} FROM message WHERE conversation_id = %(id)s ORDER BY id",
        id=conversation_id,
    )


async def newest(db: Database, conversation_id: int, count: int) -> list[Said]:
    """Return the last messages of a conversation, the newest first."""
    return await db.rows(
        Said,
        f"SELECT {columns(Said)} FROM message WHERE conversation_id = %(id)s"
        " ORDER BY id DESC LIMIT %(count)s",
        id=conversation_id,
        count=count,
    )


async def answer_to(db: Database, message_id: int) -> Answered | None:
    """Return the answer to a message; None when there is none (yet)."""
    query = f"SELECT {columns(Answered)} FROM message WHERE answers = %(id)s"
    return await db.row(Answered, query, id=message_id)


_PURGE = """
DELETE FROM conversation WHERE id IN (SELECT id FROM conversation
 WHERE owner LIKE 'visitor:%%' AND created_at < %(before)s ORDER BY created_at LIMIT 1000)
"""


# Only those of the last days: older ones that are left hold something.
_PURGE_EMPTY = """
DELETE FROM conversation WHERE id IN (SELECT id FROM conversation c
 WHERE owner LIKE 'visitor:%%' AND created_at BETWEEN %(since)s AND %(before)s
   AND NOT EXISTS (SELECT FROM message m WHERE m.conversation_id = c.id)
 ORDER BY created_at LIMIT 1000)
"""


async def purge(tx: Tx, now: datetime) -> None:
    """Forget what visitors have begun a month ago: nobody can be asked whether they still care.

    What holds no message after a day was never used.
    """
    await tx.execute(_PURGE, before=now - VISITORS_LIFE)
    await tx.execute(_PURGE_EMPTY, since=now - 7 * EMPTY_LIFE, before=now - EMPTY_LIFE)
