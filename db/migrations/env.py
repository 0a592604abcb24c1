"""Alembic's entry: runs the steps in the connection and transaction that `db.migrate` opened."""

from typing import Any

from alembic import context

from db.tables import Job


def ours(thing: Any, name: str | None, kind: str, *_: Any) -> bool:
    """Say whether a table belongs to us: procrastinate brings its own."""
    return not (kind == "table" and (name or "").startswith("procrastinate_"))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Job.metadata,
    include_object=ours,
)
context.run_migrations()
