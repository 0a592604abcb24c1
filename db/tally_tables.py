"""Counts that a trigger keeps: an operator sees how much happens without reading all that did."""

from datetime import date, datetime

from sqlalchemy import BigInteger, Column, Date, Text
from sqlmodel import Field, SQLModel

from db.columns import time_column


class JobTally(SQLModel, table=True):
    """How many jobs began, or ended in one way, in an hour, as one connection has counted."""

    __tablename__ = "job_tally"

    hour: datetime = Field(sa_column=time_column(primary_key=True))
    what: str = Field(sa_column=Column(Text, primary_key=True))  # begun, complete, …, unpaid
    counter: int = Field(sa_column=Column(BigInteger, primary_key=True))
    n: int = Field(sa_column=Column(BigInteger, nullable=False))


class FailureDay(SQLModel, table=True):
    """How many jobs of one payer failed on a day, after the house had paid a model for them."""

    __tablename__ = "failure_day"

    payer: str = Field(sa_column=Column(Text, primary_key=True))
    day: date = Field(sa_column=Column(Date, primary_key=True, index=True))
    n: int = Field(sa_column=Column(BigInteger, nullable=False))
