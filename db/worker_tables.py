"""Workers of the network, the lanes in which each was last heard of, and what each has earned."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, ForeignKey, Index, Text, text
from sqlmodel import Field, SQLModel

from db.columns import enum_column, time_column
from statemachine.entries import Asset
from statemachine.worker import WorkerState

_NONE = text("0")


def _count() -> Any:
    return Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default=_NONE))


class Worker(SQLModel, table=True):
    """A machine that somebody lends. Its token is known by its hash alone."""

    id: str = Field(sa_column=Column(Text, primary_key=True))
    # Whose its pay is: an account that is opened with it, and pays out to `pay_to`.
    account_id: str = Field(
        sa_column=Column(
            ForeignKey("user_account.id", deferrable=True, initially="DEFERRED"),
            nullable=False,
            unique=True,
        )
    )
    name: str = Field(sa_column=Column(Text, nullable=False))
    sha256: str = Field(sa_column=Column(Text, nullable=False, unique=True))  # of its token
    shown: str = Field(sa_column=Column(Text, nullable=False))  # its first and last characters
    pay_to: str = Field(sa_column=Column(Text, nullable=False))  # Lightning address or LNURL-pay
    usdc_to: str | None = Field(default=None, sa_column=Column(Text))  # an address and its network
    # An Ed25519 key that signs each change of these, and how many it has signed.
    payout_key: str | None = Field(default=None, sa_column=Column(Text))
    signed: int = _count()
    # Of a worker without a key a change waits until then.
    next_pay_to: str | None = Field(default=None, sa_column=Column(Text))
    next_usdc_to: str | None = Field(default=None, sa_column=Column(Text))
    next_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    state: WorkerState = Field(sa_column=enum_column(WorkerState))
    delivered: int = _count()
    # What it has ever earned: the sums of its earnings.
    earned_msat: int = _count()
    earned_microusdc: int = _count()
    # What is held back of its pay; nothing any more, once it is trusted.
    held_msat: int = _count()
    held_microusdc: int = _count()
    trusted_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    # Leases that it has lost by silence since then, and those that it has given back.
    silent: int = _count()
    silent_since: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    given_back: int = _count()
    given_back_since: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    # What it has lost by canaries of what was held; and what it is known by.
    forfeited_msat: int = _count()
    forfeited_microusdc: int = _count()
    failed: int = _count()  # items that it gave up
    lost: int = _count()  # and lost by silence, more than once in an hour
    late: int = _count()  # of those that it delivered
    canary_due: bool = Field(
        default=False, sa_column=Column(Boolean, nullable=False, server_default=text("false"))
    )
    canaries_passed: int = _count()
    canaries_failed: int = _count()
    created_at: datetime = Field(sa_column=time_column())
    seen_at: datetime = Field(sa_column=time_column())  # when it was last heard of, about

    __table_args__ = (
        CheckConstraint(
            "(next_at IS NULL) = (next_pay_to IS NULL AND next_usdc_to IS NULL)",
            name="next_has_its_time",
        ),
        CheckConstraint("payout_key IS NULL OR next_at IS NULL", name="signed_at_once"),
        CheckConstraint("held_msat >= 0 AND held_microusdc >= 0", name="held_not_negative"),
        CheckConstraint(
            "trusted_at IS NULL OR (held_msat = 0 AND held_microusdc = 0)",
            name="trusted_has_all",
        ),
        Index("ix_worker_new", "created_at", postgresql_where=text("trusted_at IS NULL")),
    )


class WorkerLane(SQLModel, table=True):
    """What a worker makes, when it was last heard of there, and how much its machine can."""

    __tablename__ = "worker_lane"

    worker_id: str = Field(sa_column=Column(ForeignKey("worker.id"), primary_key=True))
    lane: str = Field(sa_column=Column(Text, primary_key=True))
    most_pixels: int = Field(sa_column=Column(BigInteger, nullable=False))
    vram_gb: int = Field(sa_column=Column(BigInteger, nullable=False))
    last_seen: datetime = Field(sa_column=time_column())
    # How fast it is there: statemachine/speed.py.
    took_ms: int = _count()
    work: int = _count()
    items: int = _count()

    # No index on the time: it is written every few seconds, and read by few at once.
    __table_args__ = ({"postgresql_with": {"fillfactor": "50"}},)


class Earning(SQLModel, table=True):
    """What a worker is paid for an item that it has delivered, for the books."""

    item_id: str = Field(sa_column=Column(ForeignKey("item.id"), primary_key=True))
    worker_id: str = Field(sa_column=Column(ForeignKey("worker.id"), nullable=False))
    lane: str = Field(sa_column=Column(Text, nullable=False))
    asset: Asset = Field(sa_column=enum_column(Asset))
    amount: int = Field(sa_column=Column(BigInteger, nullable=False))
    held_amount: int = Field(sa_column=Column(BigInteger, nullable=False))  # of that
    took_ms: int = Field(sa_column=Column(BigInteger, nullable=False))  # from its claim on
    created_at: datetime = Field(sa_column=time_column())

    __table_args__ = (
        CheckConstraint("held_amount BETWEEN 0 AND amount", name="held_of_amount"),
        CheckConstraint("took_ms >= 0", name="took_not_negative"),
        Index("ix_earning_worker_id", "worker_id", "created_at"),
        Index("ix_earning_created_at", "created_at"),
    )
