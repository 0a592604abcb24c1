"""The rows of artifacts: what there is to say of bytes that lie in the store."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, Text
from sqlmodel import Field, SQLModel

from db.columns import time_column


class ArtifactRow(SQLModel, table=True):
    """A file that an item made. Its bytes lie under its id until it expires; the row stays."""

    __tablename__ = "artifact"

    id: str = Field(sa_column=Column(Text, primary_key=True))  # nobody guesses it
    media_type: str = Field(sa_column=Column(Text, nullable=False))
    sha256: str = Field(sa_column=Column(Text, nullable=False))  # of the bytes, hex
    size: int = Field(sa_column=Column(BigInteger, nullable=False))  # bytes
    width: int = Field(sa_column=Column(Integer, nullable=False))
    height: int = Field(sa_column=Column(Integer, nullable=False))
    duration_ms: int | None = Field(default=None, sa_column=Column(Integer))  # of a film
    created_at: datetime = Field(sa_column=time_column())
    expires_at: datetime = Field(sa_column=time_column())
    batch_id: str | None = Field(default=None, sa_column=Column(Text))  # it was made in, or for
    look: str | None = Field(default=None, sa_column=Column(Text))  # 256 bits, hex

    __table_args__ = (
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256_whole"),
        CheckConstraint("look ~ '^[0-9a-f]{64}$'", name="look_whole"),
        CheckConstraint("size > 0 AND width > 0 AND height > 0", name="something"),
        CheckConstraint("expires_at > created_at", name="kept"),
    )
