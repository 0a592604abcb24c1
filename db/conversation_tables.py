"""Conversations and their messages. They end with their conversation, and with nothing else."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Identity, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from db.columns import time_column


class Conversation(SQLModel, table=True):
    """What one owner talks about with a model. `owner` is `session:<id>` or `visitor:<id>`."""

    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    owner: str = Field(sa_column=Column(Text, nullable=False))
    title: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_column=time_column())

    __table_args__ = (
        Index("ix_conversation_owner", "owner", "id"),
        Index(
            "ix_conversation_visitors",
            "created_at",
            postgresql_where=text("owner LIKE 'visitor:%'"),
        ),
    )


class Message(SQLModel, table=True):
    """What one side said. `answers` is the message that an assistant's one is the answer to."""

    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    conversation_id: int = Field(
        sa_column=Column(ForeignKey("conversation.id", ondelete="CASCADE"), nullable=False)
    )
    role: str = Field(sa_column=Column(Text, nullable=False))
    content: str = Field(sa_column=Column(Text, nullable=False))
    answers: int | None = Field(default=None, sa_column=Column(BigInteger, unique=True))
    usage: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    created_at: datetime = Field(sa_column=time_column())

    __table_args__ = (
        CheckConstraint("role IN ('user', 'assistant')", name="role_known"),
        CheckConstraint("(role = 'assistant') = (answers IS NOT NULL)", name="answers_one"),
        Index("ix_message_conversation_id", "conversation_id", "id"),
    )
