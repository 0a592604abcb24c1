"""Signed orders in USDC: of buyers, each claimed for one purchase; and ours, for what is owed."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, ForeignKey, Index, Text, text
from sqlmodel import Field, SQLModel

from db.columns import enum_column, time_column
from statemachine.attempt import AttemptState
from statemachine.authorization import AuthorizationState

_OPEN = "answered_at IS NULL AND state <> 'failed'"


def _owner(key: str) -> Any:
    """Return a column for one kind of owner, whose row is written after this one."""
    return Column(ForeignKey(key, deferrable=True, initially="DEFERRED"))


class UsdcAuthorization(SQLModel, table=True):
    """All that is needed to hand an order over again, and what became of it."""

    __tablename__ = "usdc_authorization"

    id: str = Field(sa_column=Column(Text, primary_key=True))  # "<chain>:<payer>:<nonce>"
    job_id: str | None = Field(default=None, sa_column=_owner("job.id"))
    session_id: str | None = Field(default=None, sa_column=_owner("session.id"))
    batch_id: str | None = Field(default=None, sa_column=_owner("batch.id"))
    account_id: str | None = Field(default=None, sa_column=_owner("user_account.id"))
    state: AuthorizationState = Field(sa_column=enum_column(AuthorizationState))
    purchase: str = Field(sa_column=Column(Text, nullable=False))  # payer, route, key and body
    pay_to: str = Field(sa_column=Column(Text, nullable=False))
    amount_microusdc: int = Field(sa_column=Column(BigInteger, nullable=False))
    window_s: int = Field(sa_column=Column(BigInteger, nullable=False))
    valid_after_s: int = Field(sa_column=Column(BigInteger, nullable=False))
    valid_before_s: int = Field(sa_column=Column(BigInteger, nullable=False))
    signature: str = Field(sa_column=Column(Text, nullable=False))
    tries: int = Field(sa_column=Column(BigInteger, nullable=False))  # how often it was taken on
    # The facilitator refused it before it sent anything, and its buyer was asked for another one.
    declined: bool = Field(
        default=False, sa_column=Column(Boolean, nullable=False, server_default=text("false"))
    )
    reason: str | None = Field(default=None, sa_column=Column(Text))  # why it is not settled
    txid: str | None = Field(default=None, sa_column=Column(Text))  # on the chain
    created_at: datetime = Field(sa_column=time_column())
    answered_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    ended_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    check_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        CheckConstraint("amount_microusdc > 0", name="amount_positive"),
        CheckConstraint(
            "num_nonnulls(job_id, session_id, batch_id, account_id) = 1", name="one_owner"
        ),
        CheckConstraint("(state = 'settled') = (txid IS NOT NULL)", name="settled_is_named"),
        CheckConstraint("(state = 'claimed') = (ended_at IS NULL)", name="ended_once"),
        CheckConstraint("(state = 'claimed') = (check_at IS NOT NULL)", name="claimed_is_watched"),
        # A payer who asks again for what he has had no answer about does not pay again.
        Index("uq_usdc_authorization_open", "purchase", unique=True, postgresql_where=text(_OPEN)),
        Index("ix_usdc_authorization_purchase", "purchase"),
        Index(
            "ix_usdc_authorization_check_at",
            "check_at",
            postgresql_where=text("check_at IS NOT NULL"),
        ),
        Index(
            "ix_usdc_authorization_failed", "ended_at", postgresql_where=text("state = 'failed'")
        ),
        Index(
            "ix_usdc_authorization_account_id",
            "account_id",
            postgresql_where=text("account_id IS NOT NULL"),
        ),
        Index(
            "ix_usdc_authorization_session_id",
            "session_id",
            postgresql_where=text("session_id IS NOT NULL"),
        ),
        Index(
            "uq_usdc_authorization_job_id",
            "job_id",
            unique=True,
            postgresql_where=text("job_id IS NOT NULL"),
        ),
        Index(
            "uq_usdc_authorization_batch_id",
            "batch_id",
            unique=True,
            postgresql_where=text("batch_id IS NOT NULL"),
        ),
    )


class UsdcPresented(SQLModel, table=True):
    """An order that was shown in the place of another one, and answered with what that has bought:
    it is never claimed. It is of no use to anybody once its time is over."""

    __tablename__ = "usdc_presented"

    id: str = Field(sa_column=Column(Text, primary_key=True))  # "<chain>:<payer>:<nonce>"
    authorization_id: str = Field(
        sa_column=Column(
            ForeignKey("usdc_authorization.id", ondelete="CASCADE"), nullable=False, index=True
        )
    )
    expires_at: datetime = Field(sa_column=time_column())

    __table_args__ = (Index("ix_usdc_presented_expires_at", "expires_at"),)


class UsdcAttempt(SQLModel, table=True):
    """One order of ours for a payout in USDC. What one key signs for a payout moves money once.

    An order is made again from this row, so no signature is kept.
    """

    __tablename__ = "usdc_attempt"

    payout_id: str = Field(sa_column=Column(ForeignKey("payout.id"), primary_key=True))
    number: int = Field(sa_column=Column(BigInteger, primary_key=True))
    network: str = Field(sa_column=Column(Text, nullable=False))
    payer: str = Field(sa_column=Column(Text, nullable=False))  # an address of ours
    payee: str = Field(sa_column=Column(Text, nullable=False))
    amount_microusdc: int = Field(sa_column=Column(BigInteger, nullable=False))
    expires_at: datetime = Field(sa_column=time_column())
    outcome: AttemptState = Field(sa_column=Column(Text, nullable=False))
    # Of the chain: as a facilitator says while it is live, as the chain says once it has settled.
    txid: str | None = Field(default=None, sa_column=Column(Text))
    check_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    checks: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    # It may be in the hands of whoever hands orders to the chain, just now.
    in_hand: bool = Field(
        default=True, sa_column=Column(Boolean, nullable=False, server_default=text("true"))
    )

    __table_args__ = (
        CheckConstraint("outcome IN ('live', 'settled', 'returned')", name="outcome_known"),
        CheckConstraint("amount_microusdc > 0", name="amount_positive"),
        Index(
            "uq_usdc_attempt_one_live",
            "payout_id",
            unique=True,
            postgresql_where=text("outcome IN ('live', 'settled')"),
        ),
        # Who hands orders to a chain numbers what he sends: two at once get in each other's way.
        Index(
            "uq_usdc_attempt_one_at_once",
            "network",
            unique=True,
            postgresql_where=text("outcome = 'live' AND txid IS NULL AND in_hand"),
        ),
        Index(
            "ix_usdc_attempt_check_at", "check_at", postgresql_where=text("check_at IS NOT NULL")
        ),
    )
