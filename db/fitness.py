"""Whether a Postgres of the operator's will do. It is looked at before anything is kept in it.

What would go wrong later, in the middle of somebody's paid job, is refused here with the mend:
another encoding than UTF-8, a pooler that lends its connections by the transaction, a standby,
rights that are missing.
"""

import secrets
from typing import Any

import psycopg

from db.migrate import newest, version_at
from db.reach import Unfit, reached

OLDEST = 15  # the first release of Postgres that will do
HEARD_S = 5.0

Connection = psycopg.Connection[Any]


def look(url: str) -> None:
    """See whether this Postgres will do. Raises Unfit with the first thing that is wrong."""
    with reached(url) as connection:
        _server(connection)
        _rights(connection)
        with reached(url) as other:
            _is_ours_alone(connection, other)


def _server(connection: Connection) -> None:
    release = connection.info.server_version // 10_000
    if release < OLDEST:
        raise Unfit(f"This is Postgres {release}", f"Boltwork needs {OLDEST} or newer")
    [encoding, standby, read_only] = _row(
        connection,
        "SELECT current_setting('server_encoding'), pg_is_in_recovery(),"
        " current_setting('transaction_read_only')",
    )
    if encoding != "UTF8":
        raise Unfit(
            f"The database's encoding is {encoding}, which does not hold every letter of every"
            " language",
            "make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
        )
    if standby:
        raise Unfit(
            "This Postgres is a standby, which can only be read",
            "name the primary in DATABASE_URL, or add ?target_session_attrs=read-write to it",
        )
    if read_only == "on":
        raise Unfit(
            "This database can only be read (default_transaction_read_only is on)",
            "turn that off for the database and the role",
        )


# ------------------------------------------------------------------ rights

_SCHEMA = """
SELECT quote_ident(current_user), quote_ident(current_schema()),
    has_schema_privilege(current_schema(), 'CREATE')
"""
# Tables of others may lie beside ours: ours are whose owner made the first of them.
_TABLES = """
SELECT quote_ident(pg_get_userbyid(t.relowner)), pg_has_role(t.relowner, 'USAGE'),
    bool_and(CASE WHEN o.relkind = 'S' THEN has_sequence_privilege(o.oid, 'USAGE') ELSE
        has_table_privilege(o.oid, 'SELECT') AND has_table_privilege(o.oid, 'INSERT') AND
        has_table_privilege(o.oid, 'UPDATE') AND has_table_privilege(o.oid, 'DELETE') END)
FROM pg_class t JOIN pg_class o USING (relnamespace, relowner)
WHERE t.oid = to_regclass('alembic_version') AND o.relkind IN ('r', 'p', 'S')
GROUP BY t.relowner
"""


def _rights(connection: Connection) -> None:
    """See that the tables can be made, or brought up to date, or worked with."""
    [role, schema, may_create] = _row(connection, _SCHEMA)
    if schema is None:
        raise Unfit(
            f"The user {role} has no schema to work in",
            f"run GRANT USAGE, CREATE ON SCHEMA public TO {role} as the owner of the database, or"
            " set the user's search_path",
        )
    tables = connection.execute(_TABLES).fetchone()
    if tables is None:
        if not may_create:
            raise Unfit(
                f"The user {role} may not make tables in the schema {schema}",
                f"run GRANT CREATE ON SCHEMA {schema} TO {role} as the owner of the database",
            )
        return
    [owner, is_owner, may_write] = tables
    if not may_write:
        raise Unfit(
            f"The user {role} may not write to Boltwork's tables, which belong to {owner}",
            f"run GRANT {owner} TO {role}, or name that user in DATABASE_URL",
        )
    at = version_at(connection)
    if not (is_owner and may_create) and at is not None and at < newest():
        raise Unfit(
            f"The tables are of version {at}, {newest()} is needed, and the user {role} may not"
            " change them",
            f"run `boltwork migrate` as their owner, {owner}",
        )


# ------------------------------------------------------------------ poolers

_POOLED = (
    "DATABASE_URL leads through a pooler that lends its connections by the transaction (PgBouncer's"
    " pool_mode=transaction): nobody would be told of what was paid",
    "set the pooler to pool_mode=session for Boltwork, or name Postgres itself",
)


def _is_ours_alone(listener: Connection, other: Connection) -> None:
    """See that a connection stays ours between two statements, as LISTEN needs it."""
    channel = f"boltwork_{secrets.token_hex(8)}"
    try:
        listener.execute(f"LISTEN {channel}".encode())
        listener.execute(_STATE, [channel], prepare=True)
        other.execute("BEGIN")  # whatever a pooler has free is taken by this one
        [theirs] = _row(other, "SELECT pg_backend_pid()")
        state = listener.execute(_STATE, [channel], prepare=True).fetchone()
        if state is None or state[0] == theirs or not state[1]:
            raise Unfit(*_POOLED)
    except psycopg.Error:  # a statement prepared before is gone, or a transaction not allowed
        raise Unfit(*_POOLED) from None
    other.execute(f"NOTIFY {channel}".encode())
    other.execute("COMMIT")
    if not any(True for _ in listener.notifies(timeout=HEARD_S, stop_after=1)):
        raise Unfit(*_POOLED)


_STATE = b"SELECT pg_backend_pid(), %s = ANY (ARRAY(SELECT pg_listening_channels()))"


def _row(connection: Connection, query: str) -> tuple[Any, ...]:
    found = connection.execute(query.encode()).fetchone()
    assert found is not None
    return tuple(found)
