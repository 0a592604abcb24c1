"""What a statement returns is a type, and a column is a field of it."""

from enum import StrEnum
from typing import NamedTuple

import pytest

from db.engine import Database
from db.rows import Drifted, columns


class Kind(StrEnum):
    """A word that Postgres keeps as a text."""

    FRUIT = "fruit"


class Part(NamedTuple):
    """What comes as JSON, inside a row."""

    name: str
    kind: Kind | None


class Thing(NamedTuple):
    """What a statement is asked for."""

    id: int
    kind: Kind
    other: Kind | None
    parts: list[Part]


THING = """
SELECT 7 AS id, 'fruit' AS kind, NULL AS other,
       json_build_array(json_build_object('kind', 'fruit', 'name', 'core', 'more', 1)) AS parts
"""


async def test_a_row_has_its_types(db: Database) -> None:
    """Words become members of their enums, JSON becomes rows by the names in it, NULL is None."""
    wanted = Thing(7, Kind.FRUIT, None, [Part("core", Kind.FRUIT)])
    found = await db.row(Thing, THING)
    assert found == wanted and found is not None
    assert found.kind is Kind.FRUIT and found.parts[0].kind is Kind.FRUIT
    inside = await db.run("test", lambda tx: tx.row(Thing, THING))
    assert inside == wanted
    assert await db.row(Thing, f"SELECT * FROM ({THING}) t WHERE id = 8") is None
    assert await db.rows(Thing, THING.replace("json_build_array(", "NULL AS parts --(")) == [
        wanted._replace(parts=[])
    ]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 'core' AS name",
        "SELECT 'core' AS name, NULL AS kind, 1 AS more",
        "SELECT NULL AS kind, 'core' AS name",
        "SELECT 'core' AS name, NULL AS sort",
    ],
)
async def test_columns_do_not_drift_from_their_fields(db: Database, query: str) -> None:
    """A statement with a column less, more, or in another place than its type is refused, even
    where it finds nothing."""
    for asked in (query, f"{query} WHERE false"):
        with pytest.raises(Drifted, match="Part has"):
            await db.rows(Part, asked)


def test_a_select_can_name_the_fields_of_its_type() -> None:
    """In their order."""
    assert columns(Part) == "name, kind"
