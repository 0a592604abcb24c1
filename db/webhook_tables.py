"""Webhooks, the notices that they get, and each try to send one."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import JSON
from sqlmodel import Field, SQLModel

from db.columns import enum_column, time_column
from statemachine.notice import NoticeState, Topic

_NONE = text("0")


class WebhookRow(SQLModel, table=True):
    """Where a job, a session or a batch tells of its events. The secret is sealed."""

    __tablename__ = "webhook"

    id: str = Field(sa_column=Column(Text, primary_key=True))
    # Its owner, purged before it or with it: a notice outlives what it told of.
    job_id: str | None = Field(default=None, sa_column=Column(Text))
    session_id: str | None = Field(default=None, sa_column=Column(Text))
    batch_id: str | None = Field(default=None, sa_column=Column(Text))
    account_id: str | None = Field(default=None, sa_column=Column(Text))  # who asked for it
    topic: Topic = Field(sa_column=enum_column(Topic))
    url: str = Field(sa_column=Column(Text, nullable=False))
    receiver: str = Field(sa_column=Column(Text, nullable=False))  # scheme, host and port of it
    sealed: str = Field(sa_column=Column(Text, nullable=False))
    is_made: bool = Field(sa_column=Column(Boolean, nullable=False))  # its secret, by us
    shown_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    base: str | None = Field(default=None, sa_column=Column(Text))  # how this server is reached
    # JSON, not JSONB: the order of the fields is the document's.
    facts: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(sa_column=time_column())

    __table_args__ = (
        CheckConstraint("num_nonnulls(job_id, session_id, batch_id) = 1", name="one_owner"),
        Index("uq_webhook_job_id", "job_id", unique=True),
        Index("uq_webhook_session_id", "session_id", unique=True),
        Index("uq_webhook_batch_id", "batch_id", unique=True),
        Index("ix_webhook_created_at", "created_at"),
    )


class NoticeRow(SQLModel, table=True):
    """One event that a webhook is told. Its body is written once, before its first try."""

    __tablename__ = "notice"

    id: str = Field(sa_column=Column(Text, primary_key=True))
    webhook_id: str = Field(
        sa_column=Column(ForeignKey("webhook.id", ondelete="CASCADE"), nullable=False)
    )
    receiver: str = Field(sa_column=Column(Text, nullable=False))
    account_id: str | None = Field(default=None, sa_column=Column(Text))  # as its webhook's
    event: str = Field(sa_column=Column(Text, nullable=False))  # "job.complete"
    state: NoticeState = Field(sa_column=enum_column(NoticeState))
    tries: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=_NONE)
    )
    misses: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=_NONE)
    )
    body: str | None = Field(default=None, sa_column=Column(Text))
    created_at: datetime = Field(sa_column=time_column())
    due_at: datetime = Field(sa_column=time_column())  # its next try, while it is wanted
    ended_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        CheckConstraint("misses BETWEEN 0 AND tries", name="misses_within_tries"),
        CheckConstraint("(state = 'wanted') = (ended_at IS NULL)", name="ended_at_its_end"),
        Index("ix_notice_webhook_id", "webhook_id", "created_at"),
        Index(
            "ix_notice_account_id",
            "account_id",
            "created_at",
            postgresql_where=text("account_id IS NOT NULL"),
        ),
        Index(
            "ix_notice_receiver",
            "receiver",
            "due_at",
            postgresql_where=text("state = 'wanted'"),
        ),
        Index("ix_notice_ended_at", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
    )


class NoticeTry(SQLModel, table=True):
    """One try: what the receiver answered, or why there was no answer."""

    __tablename__ = "notice_try"

    notice_id: str = Field(
        sa_column=Column(ForeignKey("notice.id", ondelete="CASCADE"), primary_key=True)
    )
    number: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    at: datetime = Field(sa_column=time_column())
    status: int | None = Field(default=None, sa_column=Column(BigInteger))
    took_ms: int = Field(sa_column=Column(BigInteger, nullable=False))
    said: str = Field(sa_column=Column(Text, nullable=False))  # first bytes, or what went wrong

    __table_args__ = (
        CheckConstraint("number > 0", name="number_positive"),
        CheckConstraint("took_ms >= 0", name="took_not_negative"),
    )
