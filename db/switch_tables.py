"""What an operator has switched off: read by every process, without a restart."""

from datetime import datetime

from sqlalchemy import Boolean, Column, Text
from sqlmodel import Field, SQLModel

from db.columns import time_column


class Switch(SQLModel, table=True):
    """One switch; one that has no row is on."""

    name: str = Field(sa_column=Column(Text, primary_key=True))
    is_on: bool = Field(sa_column=Column(Boolean, nullable=False))
    at: datetime = Field(sa_column=time_column())
