"""The books as rows: accounts with their kept balances, entries and their postings."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Text, text
from sqlmodel import Field, SQLModel

from db.columns import enum_column, time_column
from statemachine.entries import Asset, Kind


class Account(SQLModel, table=True):
    """Where value rests, with the balance that its postings add up to, in its natural sign."""

    name: str = Field(sa_column=Column(Text, primary_key=True))
    asset: Asset = Field(sa_column=enum_column(Asset, primary_key=True))
    kind: Kind = Field(sa_column=enum_column(Kind))
    balance: int = Field(sa_column=Column(BigInteger, nullable=False))

    __table_args__ = (
        CheckConstraint("kind <> 'liability' OR balance >= 0", name="no_negative_liability"),
        Index("ix_account_user", "name", postgresql_where=text("starts_with(name, 'user:')")),
    )


class AccountPart(SQLModel, table=True):
    """A part of what one of the house's own accounts has, beside its row: whoever posts adds to one
    of his own, and waits for nobody. The view `kept_balance` tells what every account has.
    """

    __tablename__ = "account_part"

    name: str = Field(sa_column=Column(Text, primary_key=True))
    asset: Asset = Field(sa_column=enum_column(Asset, primary_key=True))
    part: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    balance: int = Field(sa_column=Column(BigInteger, nullable=False))


class LedgerEntry(SQLModel, table=True):
    """One balanced event of the books, under its business key."""

    __tablename__ = "entry"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, primary_key=True))
    key: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    asset: Asset = Field(sa_column=enum_column(Asset))
    at: datetime = Field(sa_column=time_column())

    __table_args__ = (
        # What came in lately, and the newest one, of an asset that may be rare among the others.
        Index("ix_entry_microusdc_at", "at", postgresql_where=text("asset = 'microusdc'")),
        Index("ix_entry_microusdc_id", "id", postgresql_where=text("asset = 'microusdc'")),
    )


class LedgerPosting(SQLModel, table=True):
    """One leg of an entry. Debits are positive. Appended, never changed."""

    __tablename__ = "posting"

    entry_id: int = Field(sa_column=Column(ForeignKey("entry.id"), primary_key=True))
    account: str = Field(sa_column=Column(Text, primary_key=True))
    amount: int = Field(sa_column=Column(BigInteger, nullable=False))

    __table_args__ = (
        CheckConstraint("amount <> 0", name="amount_not_zero"),
        Index("ix_posting_account", "account"),
    )


class RailBaseline(SQLModel, table=True):
    """What a rail held beyond the books when it was first seen, or when a person said why."""

    __tablename__ = "rail_baseline"

    identity: str = Field(sa_column=Column(Text, primary_key=True))  # of the rail
    number: int = Field(sa_column=Column(BigInteger, primary_key=True))
    beyond: int = Field(sa_column=Column(BigInteger, nullable=False))  # negative: less
    reason: str = Field(sa_column=Column(Text, nullable=False))
    at: datetime = Field(sa_column=time_column())
