"""Spells, their versions, which never change, and the casts of them."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR
from sqlmodel import Field, SQLModel

from db.columns import time_column


class Spell(SQLModel, table=True):
    """A workflow of several tools, under a name that is one author's for ever.

    What is searched is of its latest version.
    """

    id: str = Field(sa_column=Column(Text, primary_key=True))
    slug: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    # None: it came with the server. An account that has spells is not forgotten.
    author_id: str | None = Field(default=None, sa_column=Column(ForeignKey("user_account.id")))
    latest: int = Field(sa_column=Column(BigInteger, nullable=False))  # the number of its version
    name: str = Field(sa_column=Column(Text, nullable=False))
    description: str = Field(sa_column=Column(Text, nullable=False))
    tags: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    searched: str = Field(sa_column=Column(TSVECTOR, nullable=False))
    hidden_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    hidden_why: str | None = Field(default=None, sa_column=Column(Text))
    created_at: datetime = Field(sa_column=time_column())
    updated_at: datetime = Field(sa_column=time_column())

    __table_args__ = (
        CheckConstraint("latest > 0", name="latest_positive"),
        CheckConstraint("(hidden_at IS NULL) = (hidden_why IS NULL)", name="hidden_with_reason"),
        Index("ix_spell_author_id", "author_id", postgresql_where=text("author_id IS NOT NULL")),
        Index("ix_spell_of_house", "slug", postgresql_where=text("author_id IS NULL")),
        Index("ix_spell_searched", "searched", postgresql_using="gin"),
        Index("ix_spell_tags", "tags", postgresql_using="gin"),
    )


class SpellUse(SQLModel, table=True):
    """How often a spell was cast and paid for: a row of its own, for it changes all the time."""

    __tablename__ = "spell_use"

    spell_id: str = Field(sa_column=Column(ForeignKey("spell.id"), primary_key=True))
    uses: int = Field(sa_column=Column(BigInteger, nullable=False))
    created_at: datetime = Field(sa_column=time_column())  # the spell's own

    __table_args__ = (
        CheckConstraint("uses >= 0", name="uses_counted"),
        Index("ix_spell_use_most", "uses", "created_at"),
    )


class SpellVersion(SQLModel, table=True):
    """One version of a spell, with the versions of the tools that it was checked with.

    Postgres refuses to change or delete one.
    """

    __tablename__ = "spell_version"

    id: str = Field(sa_column=Column(Text, primary_key=True))
    spell_id: str = Field(sa_column=Column(ForeignKey("spell.id"), nullable=False))
    number: int = Field(sa_column=Column(BigInteger, nullable=False))
    document: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    pins: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    created_at: datetime = Field(sa_column=time_column())

    __table_args__ = (Index("uq_spell_version_number", "spell_id", "number", unique=True),)


class SpellCast(SQLModel, table=True):
    """A cast of one version of a spell. Its batches name it; its id is that of the first."""

    __tablename__ = "spell_cast"

    id: str = Field(sa_column=Column(Text, primary_key=True))
    version_id: str = Field(sa_column=Column(ForeignKey("spell_version.id"), nullable=False))
    parameters: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    created_at: datetime = Field(sa_column=time_column())
    paid_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    # Since then nobody knows what it was given: there are no parameters.
    forgotten_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))

    __table_args__ = (
        Index(
            "ix_spell_cast_paid",
            "version_id",
            "paid_at",
            postgresql_where=text("paid_at IS NOT NULL"),
        ),
    )
