"""Prepaid balances: the rows of sessions, of what a credential may spend, and of holds."""

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

from db.columns import enum_column, time_column
from statemachine.hold import HoldState
from statemachine.session import SessionEnd, SessionState


class Session(SQLModel, table=True):
    """A prepaid balance. What rests on it is the account `session:<id>` of the ledger."""

    id: str = Field(sa_column=Column(Text, primary_key=True))
    state: SessionState = Field(sa_column=enum_column(SessionState))
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
    minimum_msat: int = Field(sa_column=Column(BigInteger, nullable=False))
    reserved_msat: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    topups: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    rests: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    refund_to: str | None = Field(default=None, sa_column=Column(Text))
    # The half of its credential that only this row knows: another one revokes them all.
    nonce: str = Field(sa_column=Column(Text, nullable=False))
    claim_sha256: str | None = Field(default=None, sa_column=Column(Text))  # of who opened it
    credential_used_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    created_at: datetime = Field(sa_column=time_column())
    updated_at: datetime = Field(sa_column=time_column())
    expires_at: datetime = Field(sa_column=time_column())
    ended: SessionEnd | None = Field(default=None, sa_column=Column(Text))

    __table_args__ = (
        CheckConstraint("reserved_msat >= 0", name="reserved_not_negative"),
        CheckConstraint("ended IN ('closed', 'inactive', 'unpaid')", name="ended"),
        Index(
            "ix_session_idle",
            "expires_at",
            postgresql_where=text("state IN ('active', 'paused')"),
        ),
    )


class Allowance(SQLModel, table=True):
    """What a child of a credential may spend in all, and has spent or set aside."""

    link: str = Field(sa_column=Column(Text, primary_key=True))
    session_id: str = Field(sa_column=Column(ForeignKey("session.id"), nullable=False, index=True))
    limit_msat: int = Field(sa_column=Column(BigInteger, nullable=False))
    used_msat: int = Field(sa_column=Column(BigInteger, nullable=False))

    __table_args__ = (
        CheckConstraint("used_msat BETWEEN 0 AND limit_msat", name="used_within_limit"),
    )


class Revocation(SQLModel, table=True):
    """A credential that is not taken any more, with all its children."""

    session_id: str = Field(sa_column=Column(ForeignKey("session.id"), primary_key=True))
    link: str = Field(sa_column=Column(Text, primary_key=True))
    at: datetime = Field(sa_column=time_column())


class Hold(SQLModel, table=True):
    """Money set aside for a call that is answered while it runs."""

    id: str = Field(sa_column=Column(Text, primary_key=True))
    state: HoldState = Field(sa_column=enum_column(HoldState))
    session_id: str | None = Field(default=None, sa_column=Column(ForeignKey("session.id")))
    budgets: list[str] | None = Field(default=None, sa_column=Column(ARRAY(Text)))
    day: date | None = Field(default=None, sa_column=Column(Date))  # whose free money it is
    purpose: str = Field(sa_column=Column(Text, nullable=False))
    amount_msat: int = Field(sa_column=Column(BigInteger, nullable=False))
    charge_msat: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    spent_msat: int = Field(  # what a call that broke has cost the house
        default=0, sa_column=Column(BigInteger, nullable=False, server_default="0")
    )
    created_at: datetime = Field(sa_column=time_column())
    expires_at: datetime = Field(sa_column=time_column())
    ended_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        CheckConstraint("amount_msat > 0", name="amount_positive"),
        CheckConstraint("charge_msat BETWEEN 0 AND amount_msat", name="charge_within_amount"),
        CheckConstraint("spent_msat >= 0", name="spent_not_negative"),
        CheckConstraint("num_nonnulls(session_id, day) = 1", name="one_payer"),
        Index("ix_hold_due", "expires_at", postgresql_where=text("state = 'held'")),
        Index("ix_hold_session_id", "session_id", postgresql_where=text("session_id IS NOT NULL")),
    )


class FreeDay(SQLModel, table=True):
    """What the house has given away on one day (UTC), or set aside for it."""

    __tablename__ = "free_day"

    day: date = Field(sa_column=Column(Date, primary_key=True))
    used_msat: int = Field(sa_column=Column(BigInteger, nullable=False))
    routing_msat: int = Field(  # ... and for the routing of what only passed through
        default=0, sa_column=Column(BigInteger, nullable=False, server_default="0")
    )

    __table_args__ = (
        CheckConstraint("used_msat >= 0", name="used_not_negative"),
        CheckConstraint("routing_msat >= 0", name="routing_not_negative"),
    )
