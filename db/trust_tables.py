"""What tells whether a worker can be trusted: how its pictures look, what it made of items whose
answer is known, and what its buyers have back of what it has forfeited.
"""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, BIT
from sqlmodel import Field, SQLModel

from db.columns import enum_column, time_column
from statemachine.amends import AmendsState
from statemachine.canary import CanaryState
from statemachine.entries import Asset

_NONE = text("0")


class Look(SQLModel, table=True):
    """How a picture looks that a worker has brought: 256 bits, and by what others like it are
    found. It goes when it is forgotten what was asked for."""

    item_id: str = Field(sa_column=Column(ForeignKey("item.id"), primary_key=True))
    bits: str = Field(sa_column=Column(BIT(256), nullable=False))
    keys: list[int] = Field(sa_column=Column(ARRAY(Integer), nullable=False))
    created_at: datetime = Field(sa_column=time_column())

    __table_args__ = (Index("ix_look_keys", "keys", postgresql_using="gin"),)


class Canary(SQLModel, table=True):
    """An item that the house ordered of a worker to see what that makes of it."""

    item_id: str = Field(sa_column=Column(ForeignKey("item.id"), primary_key=True))
    worker_id: str = Field(sa_column=Column(ForeignKey("worker.id"), nullable=False))
    state: CanaryState = Field(sa_column=enum_column(CanaryState))
    unlike_pct: int | None = Field(default=None, sa_column=Column(BigInteger))
    # What the worker has lost by it of what was held of its pay.
    forfeited_msat: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=_NONE)
    )
    forfeited_microusdc: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=_NONE)
    )
    # What the house has added to that of its own, for those who bought of the worker.
    added_msat: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=_NONE)
    )
    added_microusdc: int = Field(
        default=0, sa_column=Column(BigInteger, nullable=False, server_default=_NONE)
    )
    created_at: datetime = Field(sa_column=time_column())
    judged_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        CheckConstraint("unlike_pct BETWEEN 0 AND 100", name="unlike_in_percent"),
        CheckConstraint(
            "least(forfeited_msat, forfeited_microusdc) >= 0", name="forfeited_not_negative"
        ),
        CheckConstraint("least(added_msat, added_microusdc) >= 0", name="added_not_negative"),
        CheckConstraint("(state = 'given') = (judged_at IS NULL)", name="judged_has_time"),
        Index("ix_canary_given", "created_at", postgresql_where=text("state = 'given'")),
        Index("ix_canary_worker_id", "worker_id"),
    )


class Amends(SQLModel, table=True):
    """What a batch's buyer has back of what a worker has forfeited by a canary."""

    id: str = Field(sa_column=Column(Text, primary_key=True))
    canary_id: str = Field(sa_column=Column(ForeignKey("canary.item_id"), nullable=False))
    batch_id: str = Field(sa_column=Column(ForeignKey("batch.id"), nullable=False))
    state: AmendsState = Field(sa_column=enum_column(AmendsState))
    asset: Asset = Field(sa_column=enum_column(Asset))
    amount: int = Field(sa_column=Column(BigInteger, nullable=False))
    number: int | None = Field(default=None, sa_column=Column(BigInteger))  # of its batch's
    created_at: datetime = Field(sa_column=time_column())
    made_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("(state = 'made') = (number IS NOT NULL)", name="made_has_number"),
        Index("uq_amends_of_canary", "canary_id", "batch_id", unique=True),
        Index("uq_amends_number", "batch_id", "number", unique=True),
        Index("ix_amends_due", "created_at", postgresql_where=text("state = 'due'")),
    )
