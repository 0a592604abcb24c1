"""Conversations and what was said in them. Whoever asks for another owner's finds nothing."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from db.conversation_tables import Conversation, Message
from db.engine import Database, Row, Tx, execute

MOST_OF_AN_OWNER = 200
MOST_MESSAGES = 1_000  # of one conversation

VISITORS_LIFE = timedelta(days=30)
_DELETE = text("DELETE FROM conversation WHERE id = :id AND owner = :owner RETURNING id")
_LOCK = text("SELECT id FROM conversation WHERE id = :id FOR KEY SHARE")
_OWNED = text("SELECT count(*) FROM conversation WHERE owner = :owner")
_SAID = text("SELECT count(*) FROM message WHERE conversation_id = :id")


class Full(Exception):
    """There are as many already as may be."""


async def create(tx: Tx, owner: str, title: str, now: datetime) -> int:
    """Begin a conversation and return its id. Raises Full."""
    if (await execute(tx, _OWNED, {"owner": owner})).scalar_one() >= MOST_OF_AN_OWNER:
        raise Full
    made = Conversation(owner=owner, title=title, created_at=now)
    tx.add(made)
    await tx.flush()
    assert made.id is not None
    return made.id


async def delete(tx: Tx, conversation_id: int, owner: str) -> bool:
    """Delete a conversation of this owner with its messages; False when there is none."""
    values = {"id": conversation_id, "owner": owner}
    return (await execute(tx, _DELETE, values)).one_or_none() is not None


async def ask(tx: Tx, conversation_id: int, content: str, now: datetime) -> int | None:
    """Add what its owner says, and return its id; None when the conversation is gone.

    Raises Full.
    """
    if (await execute(tx, _SAID, {"id": conversation_id})).scalar_one() >= MOST_MESSAGES:
        raise Full
    said = Message(conversation_id=conversation_id, role="user", content=content, created_at=now)
    return await _add(tx, said)


async def answer(
    tx: Tx,
    conversation_id: int,
    answers: int,
    content: str,
    usage: dict[str, Any],
    now: datetime,
) -> int | None:
    """Add what the model said, and return its id; None when the conversation is gone."""
    said = Message(
        conversation_id=conversation_id,
        role="assistant",
        content=content,
        answers=answers,
        usage=usage,
        created_at=now,
    )
    return await _add(tx, said)


async def _add(tx: Tx, said: Message) -> int | None:
    # Deleted in the meantime: then nobody will ever read it.
    if (await execute(tx, _LOCK, {"id": said.conversation_id})).one_or_none() is None:
        return None
    tx.add(said)
    await tx.flush()
    return said.id


async def of_owner(db: Database, owner: str) -> list[Row]:
    """Return an owner's conversations, the newest first."""
    return await db.read_all(
        "SELECT id, title, created_at FROM conversation WHERE owner = %(owner)s ORDER BY id DESC",
        owner=owner,
    )


async def get(db: Database, conversation_id: int, owner: str) -> Row | None:
    """Return a conversation of this owner; None when there is none."""
    return await db.read_one(
        "SELECT id, title, created_at FROM conversation WHERE id = %(id)s AND owner = %(owner)s",
        id=conversation_id,
        owner=owner,
    )


async def messages(db: Database, conversation_id: int) -> list[Row]:
    """Return what was said in a conversation, in order."""
    return await db.read_all(
        "SELECT id, conversation_id, role, content, created_at FROM message"
        " WHERE conversation_id = %(id)s ORDER BY id",
        id=conversation_id,
    )


async def newest(db: Database, conversation_id: int, count: int) -> list[Row]:
    """Return the last messages of a conversation, the newest first."""
    return await db.read_all(
        "SELECT role, content FROM message WHERE conversation_id = %(id)s"
        " ORDER BY id DESC LIMIT %(count)s",
        id=conversation_id,
        count=count,
    )


async def answer_to(db: Database, message_id: int) -> Row | None:
    """Return the answer to a message; None when there is none (yet)."""
    return await db.read_one(
        "SELECT id, content, usage FROM message WHERE answers = %(id)s", id=message_id
    )


async def named(db: Database, caller: str, key: str) -> Row | None:
    """Return what an Idempotency-Key of this caller was used for; None when it is new."""
    return await db.read_one(
        "SELECT body_sha256, made FROM idempotency_key WHERE caller = %(caller)s AND key = %(key)s",
        caller=caller,
        key=key,
    )


_PURGE = text(
    "DELETE FROM conversation WHERE id IN (SELECT id FROM conversation"
    " WHERE owner LIKE 'visitor:%' AND created_at < :before ORDER BY created_at LIMIT 1000)"
)


async def purge(tx: Tx, now: datetime) -> None:
    """Forget what visitors have begun a month ago: nobody can be asked whether they still care."""
    await execute(tx, _PURGE, {"before": now - VISITORS_LIFE})
