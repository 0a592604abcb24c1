"""A row of each process, written anew every few seconds: that it can write is known by trying."""

from datetime import datetime, timedelta

from sqlalchemy import Column, Text
from sqlmodel import Field, SQLModel

from db.columns import time_column
from db.engine import Tx

FORGOTTEN_AFTER = timedelta(hours=1)


class Heartbeat(SQLModel, table=True):
    """When a process last wrote."""

    __tablename__ = "heartbeat"

    process: str = Field(sa_column=Column(Text, primary_key=True))
    at: datetime = Field(sa_column=time_column())


async def beat(tx: Tx, process: str, now: datetime) -> None:
    """Write that this process can write, and forget those that ended long ago."""
    await tx.execute(
        "INSERT INTO heartbeat (process, at) VALUES (%(process)s, %(now)s)"
        " ON CONFLICT (process) DO UPDATE SET at = excluded.at",
        process=process,
        now=now,
    )
    await tx.execute("DELETE FROM heartbeat WHERE at < %(before)s", before=now - FORGOTTEN_AFTER)
