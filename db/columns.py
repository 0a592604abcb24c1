"""How columns are written: the names of constraints, enums of the law, and times in UTC."""

from enum import StrEnum
from typing import Any

from sqlalchemy import Column, DateTime, Enum
from sqlmodel import SQLModel

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
SQLModel.metadata.naming_convention = NAMING


def enum_column(states: type[StrEnum], **options: Any) -> Any:
    """Return a text column that Postgres holds to the members of an enum of the law."""
    kind = Enum(
        states,
        name=states.__name__.lower(),
        native_enum=False,
        create_constraint=True,
        length=32,
        values_callable=lambda members: [member.value for member in members],
    )
    return Column(kind, nullable=False, **options)


def time_column(nullable: bool = False, *, primary_key: bool = False) -> Any:
    """Return a column of times with their zone."""
    return Column(DateTime(timezone=True), nullable=nullable, primary_key=primary_key)
