"""Counts that a trigger keeps: an operator sees how much happens without reading all that did."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, Text
from sqlmodel import Field, SQLModel

from db.columns import time_column


class JobTally(SQLModel, table=True):
    """How many jobs began, or ended in one way, in an hour, as one connection has counted."""

    __tablename__ = "job_tally"

    hour: datetime = Field(sa_column=time_column(primary_key=True))
    what: str = Field(sa_column=Column(Text, primary_key=True))  # begun, complete, …, unpaid
    counter: int = Field(sa_column=Column(BigInteger, primary_key=True))
    n: int = Field(sa_column=Column(BigInteger, nullable=False))
