"""The rows of the rail's wallets, one after the other, and of money moved between them."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from db.columns import time_column
from statemachine.transfer import TransferState


class ReceivingWallet(SQLModel, table=True):
    """A wallet of the rail. The newest that is open receives and pays; older ones may be paid.

    The key is closed with the operator's secret; that of the first is in the settings.
    """

    __tablename__ = "receiving_wallet"

    rail: str = Field(sa_column=Column(Text, primary_key=True))  # identity of the rail
    number: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    identity: str | None = Field(default=None, sa_column=Column(Text))  # None: not opened yet
    sealed: str | None = Field(default=None, sa_column=Column(Text))
    # When somebody last set out to open it: whoever died on the way is not waited for.
    wanted_at: datetime = Field(sa_column=time_column())
    opened_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    retired_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    closed_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    left_msat: int | None = Field(default=None, sa_column=Column(BigInteger))
    deleted_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        UniqueConstraint("rail", "identity"),
        CheckConstraint(
            "num_nulls(identity, opened_at) IN (0, 2)", name="opened_with_its_identity"
        ),
        CheckConstraint("num_nulls(closed_at, left_msat) IN (0, 2)", name="closed_with_its_rest"),
        CheckConstraint("closed_at IS NULL OR retired_at IS NOT NULL", name="retired_then_closed"),
    )


class WalletTransfer(SQLModel, table=True):
    """Money on its way from a retired wallet to the one that is used. Of each at most one."""

    __tablename__ = "wallet_transfer"

    payment_hash: str = Field(sa_column=Column(Text, primary_key=True))
    bolt11: str = Field(sa_column=Column(Text, nullable=False))
    rail: str = Field(sa_column=Column(Text, nullable=False))
    from_wallet: str = Field(sa_column=Column(Text, nullable=False))  # identity
    to_wallet: str = Field(sa_column=Column(Text, nullable=False))  # identity
    amount_msat: int = Field(sa_column=Column(BigInteger, nullable=False))
    fee_msat: int | None = Field(default=None, sa_column=Column(BigInteger))
    outcome: TransferState = Field(sa_column=Column(Text, nullable=False))
    expires_at: datetime = Field(sa_column=time_column())
    began_at: datetime = Field(sa_column=time_column())
    ended_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        CheckConstraint("amount_msat > 0", name="amount_positive"),
        CheckConstraint("outcome IN ('live', 'settled', 'failed')", name="outcome_known"),
        Index(
            "uq_wallet_transfer_one_live",
            "from_wallet",
            unique=True,
            postgresql_where=text("outcome = 'live'"),
        ),
    )
