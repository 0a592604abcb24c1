"""By what key a worker comes that speaks another network's dialect."""

from datetime import datetime

from sqlalchemy import Column, ForeignKey, Text
from sqlmodel import Field, SQLModel

from db.columns import time_column


class StockKey(SQLModel, table=True):
    """The one key of a worker for that dialect, known by its hash alone."""

    __tablename__ = "stock_key"

    worker_id: str = Field(sa_column=Column(ForeignKey("worker.id"), primary_key=True))
    sha256: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    created_at: datetime = Field(sa_column=time_column())
