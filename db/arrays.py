"""Arrays as Postgres writes them."""

from collections.abc import Sequence


def texts(values: Sequence[str]) -> str:
    """Return an array as Postgres writes one: to write five lists takes psycopg a quarter of all
    the time that a call with them takes here.
    """
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return '{"' + '","'.join(escaped) + '"}' if values else "{}"


def integers(values: Sequence[int]) -> str:
    """Return an array as Postgres writes one."""
    return "{" + ",".join(map(str, values)) + "}"
