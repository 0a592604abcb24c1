"""The rows of root keys."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, Text, text
from sqlmodel import Field, SQLModel

from db.columns import time_column


class RootKey(SQLModel, table=True):
    """A key that macaroons are made with, closed with the operator's secret.

    Retired ones stay: what they made goes on.
    """

    __tablename__ = "root_key"

    number: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    sealed: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_column=time_column())
    retired_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        # Of the rows that are not retired there is at most one.
        Index(
            "uq_root_key_one_active",
            text("(retired_at IS NULL)"),
            unique=True,
            postgresql_where=text("retired_at IS NULL"),
        ),
    )
