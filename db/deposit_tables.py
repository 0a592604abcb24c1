"""USDC that was sent to an address of ours without a signed order, and how far a chain is read."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Text, text
from sqlmodel import Field, SQLModel

from db.columns import enum_column, time_column
from statemachine.deposit import DepositState


class UsdcDeposit(SQLModel, table=True):
    """A transfer to our address. It is known by its transaction and its place in that, which stay
    when the chain takes that in anew, in another block.
    """

    __tablename__ = "usdc_deposit"

    id: str = Field(sa_column=Column(Text, primary_key=True))  # "<chain>:<transaction>:<place>"
    network: str = Field(sa_column=Column(Text, nullable=False))
    pay_to: str = Field(sa_column=Column(Text, nullable=False))
    txid: str = Field(sa_column=Column(Text, nullable=False))
    block: int = Field(sa_column=Column(BigInteger, nullable=False))
    sent_at: datetime = Field(sa_column=time_column())  # as its block says
    payer: str = Field(sa_column=Column(Text, nullable=False))
    amount_microusdc: int = Field(sa_column=Column(BigInteger, nullable=False))
    # The signed order that moved it, which nobody had handed to us: "<chain>:<payer>:<nonce>".
    authorization_id: str | None = Field(default=None, sa_column=Column(Text, unique=True))
    state: DepositState = Field(sa_column=enum_column(DepositState))
    account_id: str | None = Field(default=None, sa_column=Column(ForeignKey("user_account.id")))
    note: str | None = Field(default=None, sa_column=Column(Text))  # why it is nobody's
    created_at: datetime = Field(sa_column=time_column())
    claimed_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    # The chain was reorganised deeper than ever, and has not taken it in again.
    gone_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        CheckConstraint("amount_microusdc > 0", name="amount_positive"),
        CheckConstraint("(state = 'credited') = (account_id IS NOT NULL)", name="credited_to_one"),
        CheckConstraint("claimed_at IS NULL OR state = 'credited'", name="claimed_is_credited"),
        Index("ix_usdc_deposit_account_id", "account_id"),
        Index("ix_usdc_deposit_block", "network", "pay_to", "block"),
        Index("ix_usdc_deposit_gone", "gone_at", postgresql_where=text("gone_at IS NOT NULL")),
        Index(
            "ix_usdc_deposit_nobodys",
            "created_at",
            postgresql_where=text("state = 'unclaimed'"),
        ),
        Index(
            "ix_usdc_deposit_unclaimed",
            "payer",
            postgresql_where=text("state = 'unclaimed'"),
        ),
    )


class ChainBlock(SQLModel, table=True):
    """A block up to which transfers to an address were read; the newest is where to go on."""

    __tablename__ = "chain_block"

    network: str = Field(sa_column=Column(Text, primary_key=True))
    pay_to: str = Field(sa_column=Column(Text, primary_key=True))
    number: int = Field(sa_column=Column(BigInteger, primary_key=True))
    hash: str = Field(sa_column=Column(Text, nullable=False))
    at: datetime = Field(sa_column=time_column())
