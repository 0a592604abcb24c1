"""What happened to jobs, as rows: a table for each month, and one beside them for what is older and
not to be dropped yet. The view `job_line` tells of all.
"""

from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, Text
from sqlmodel import Field, SQLModel

from db.columns import enum_column, time_column
from statemachine.job import JobState


class JobHistory(SQLModel, table=True):
    """What happened to a job, in order; what a stream replays. Appended, never changed.

    It refers to no job: to drop a table that does would lock all jobs. One statement writes both.
    """

    __tablename__ = "job_history"

    job_id: str = Field(sa_column=Column(Text, primary_key=True))
    version: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    event: str = Field(sa_column=Column(Text, nullable=False))
    state: JobState = Field(sa_column=enum_column(JobState))
    at: datetime = Field(sa_column=time_column(primary_key=True))

    __table_args__ = ({"postgresql_partition_by": "RANGE (at)"},)


class JobHistoryEarlier(SQLModel, table=True):
    """What was written before there were months; and, of months that were dropped, what happened to
    jobs that were not over, or were owed something, at that time.
    """

    __tablename__ = "job_history_earlier"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, primary_key=True))
    job_id: str = Field(sa_column=Column(Text, nullable=False))
    version: int = Field(sa_column=Column(BigInteger, nullable=False))
    event: str = Field(sa_column=Column(Text, nullable=False))
    state: JobState = Field(sa_column=enum_column(JobState))
    at: datetime = Field(sa_column=time_column())

    __table_args__ = (Index("uq_job_history_earlier_version", "job_id", "version", unique=True),)


class DroppedMonth(SQLModel, table=True):
    """A month of history that is no more, and how many of its lines were kept."""

    __tablename__ = "dropped_month"

    name: str = Field(sa_column=Column(Text, primary_key=True))  # of its table
    until: datetime = Field(sa_column=time_column())
    lines_kept: int = Field(sa_column=Column(BigInteger, nullable=False))
    dropped_at: datetime = Field(sa_column=time_column())
