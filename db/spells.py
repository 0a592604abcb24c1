"""Spells: published in versions that never change, found by words, hidden by an operator."""

from datetime import datetime
from typing import Any, NamedTuple

from db.engine import Database, Tx
from db.rows import Reads, columns


class SpellRow(NamedTuple):
    """A spell whose row is locked until the transaction ends."""

    id: str
    slug: str
    author_id: str | None
    latest: int


async def lock(tx: Tx, slug: str) -> SpellRow | None:
    """Return the spell of this name, locked; None: there is none."""
    query = f"SELECT {columns(SpellRow)} FROM spell WHERE slug = %(slug)s FOR UPDATE"
    return await tx.row(SpellRow, query, slug=slug)


# What is searched: its name before its tags, and those before the rest.
_SEARCHED = """
setweight(to_tsvector('simple', %(name)s), 'A')
 || setweight(to_tsvector('simple', replace(%(slug)s, '-', ' ')), 'B')
 || setweight(to_tsvector('simple', %(words)s), 'B')
 || setweight(to_tsvector('simple', %(description)s), 'C')
"""
_INSERT = f"""
INSERT INTO spell (id, slug, author_id, latest, name, description, tags, searched, created_at,
                   updated_at)
VALUES (%(id)s, %(slug)s, %(author_id)s, 1, %(name)s, %(description)s, %(tags)s, {_SEARCHED},
        %(now)s, %(now)s)
ON CONFLICT (slug) DO NOTHING
"""
_ANEW = f"""
UPDATE spell SET latest = latest + 1, name = %(name)s, description = %(description)s,
       tags = %(tags)s, searched = {_SEARCHED}, updated_at = %(now)s
 WHERE id = %(id)s
"""
_VERSION = """
INSERT INTO spell_version (id, spell_id, number, document, pins, created_at)
VALUES (%(version_id)s, %(id)s, %(number)s, %(document)s, %(pins)s, %(now)s)
"""


async def insert(
    tx: Tx,
    spell_id: str,
    author_id: str | None,
    version_id: str,
    document: dict[str, Any],
    pins: dict[str, Any],
    now: datetime,
) -> bool:
    """Write a new spell and its first version; False: another has this name."""
    values = _values(spell_id, document, now)
    if not await tx.count(_INSERT, author_id=author_id, **values):
        return False
    await _write(tx, version_id, 1, pins, values, document)
    return True


async def publish(
    tx: Tx,
    row: SpellRow,
    version_id: str,
    document: dict[str, Any],
    pins: dict[str, Any],
    now: datetime,
) -> None:
    """Write the next version of a locked spell."""
    values = _values(row.id, document, now)
    await tx.execute(_ANEW, **values)
    await _write(tx, version_id, row.latest + 1, pins, values, document)


def _values(spell_id: str, document: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "id": spell_id,
        "slug": document["slug"],
        "name": document["name"],
        "description": document["description"],
        "tags": list(document["tags"]),
        "words": " ".join(document["tags"]),
        "now": now,
    }


async def _write(
    tx: Tx,
    version_id: str,
    number: int,
    pins: dict[str, Any],
    values: dict[str, Any],
    document: dict[str, Any],
) -> None:
    await tx.execute(
        _VERSION,
        version_id=version_id,
        id=values["id"],
        number=number,
        document=document,
        pins=pins,
        now=values["now"],
    )


class _Document(NamedTuple):
    slug: str
    document: dict[str, Any]


_LATEST = """
SELECT s.slug, v.document FROM spell s JOIN spell_version v
    ON v.spell_id = s.id AND v.number = s.latest
"""


async def is_latest(tx: Tx, row: SpellRow, document: dict[str, Any]) -> bool:
    """Say whether a locked spell's latest version is this document."""
    found = await tx.row(_Document, f"{_LATEST} WHERE s.id = %(id)s", id=row.id)
    return found is not None and found.document == document


async def of_house(db: Database) -> dict[str, dict[str, Any]]:
    """Return the documents of the spells that came with the server, by their slugs."""
    rows = await db.rows(_Document, f"{_LATEST} WHERE s.author_id IS NULL")
    return {row.slug: row.document for row in rows}


async def hide(tx: Tx, slug: str, why: str | None, now: datetime) -> bool:
    """Hide a spell with a reason, or show it again (None); False: there is none of this name."""
    query = "UPDATE spell SET hidden_at = %(at)s, hidden_why = %(why)s WHERE slug = %(slug)s"
    return bool(await tx.count(query, slug=slug, why=why, at=now if why is not None else None))


class SpellView(NamedTuple):
    """A spell as others see it, by its latest version or by one that is named."""

    id: str
    slug: str
    author_id: str | None
    hidden_why: str | None
    created_at: datetime
    uses: int  # casts that were paid for, of all versions
    version_id: str
    number: int
    document: dict[str, Any]
    pins: dict[str, Any]
    published_at: datetime


_USES = """
(SELECT count(*) FROM spell_version w JOIN spell_cast c ON c.version_id = w.id
  WHERE w.spell_id = s.id AND c.paid_at IS NOT NULL)
"""
_VIEW = f"""
SELECT s.id, s.slug, s.author_id, s.hidden_why, s.created_at, {_USES} AS uses,
       v.id AS version_id, v.number, v.document, v.pins, v.created_at AS published_at
  FROM spell s JOIN spell_version v ON v.spell_id = s.id
"""


async def by_slug(reads: Reads, slug: str) -> SpellView | None:
    """Return the latest version of a spell, hidden or not."""
    query = f"{_VIEW} AND v.number = s.latest WHERE s.slug = %(slug)s"
    return await reads.row(SpellView, query, slug=slug)


async def by_version(reads: Reads, version_id: str) -> SpellView | None:
    """Return one version of a spell, hidden or not."""
    return await reads.row(SpellView, f"{_VIEW} WHERE v.id = %(id)s", id=version_id)


async def every(db: Database) -> list[SpellView]:
    """Return the latest version of all spells, hidden or not, by their names."""
    query = f"{_VIEW} AND v.number = s.latest ORDER BY s.slug"
    return await db.rows(SpellView, query)


_LISTED = f"{_VIEW} AND v.number = s.latest WHERE s.hidden_at IS NULL"
_TAGGED = "AND (CAST(%(tag)s AS text) IS NULL OR s.tags @> ARRAY[CAST(%(tag)s AS text)])"
_ALL = f"{_LISTED} {_TAGGED} ORDER BY uses DESC, s.created_at DESC LIMIT %(most)s"
_BY_WORDS = f"""
{_LISTED} {_TAGGED} AND s.searched @@ websearch_to_tsquery('simple', %(search)s)
 ORDER BY ts_rank(s.searched, websearch_to_tsquery('simple', %(search)s)) DESC, uses DESC
 LIMIT %(most)s
"""
_TEXT = (
    "concat_ws(' ', s.name, replace(s.slug, '-', ' '), array_to_string(s.tags, ' '), s.description)"
)
_BY_LIKENESS = f"""
{_LISTED} {_TAGGED} AND word_similarity(%(search)s, {_TEXT}) > 0.4
 ORDER BY word_similarity(%(search)s, {_TEXT}) DESC, uses DESC LIMIT %(most)s
"""
_BY_PART = f"""
{_LISTED} {_TAGGED} AND position(lower(%(search)s) IN lower({_TEXT})) > 0
 ORDER BY uses DESC LIMIT %(most)s
"""


class _There(NamedTuple):
    is_there: bool


_HAS_LIKENESS = "SELECT to_regprocedure('word_similarity(text,text)') IS NOT NULL AS is_there"


async def listed(db: Database, tag: str | None, search: str | None, most: int) -> list[SpellView]:
    """Return spells that nobody has hidden: by whole words first, else by what is like them."""
    if search is None:
        return await db.rows(SpellView, _ALL, tag=tag, most=most)
    found = await db.rows(SpellView, _BY_WORDS, tag=tag, search=search, most=most)
    if found:
        return found
    there = await db.row(_There, _HAS_LIKENESS)
    query = _BY_LIKENESS if there is not None and there.is_there else _BY_PART
    return await db.rows(SpellView, query, tag=tag, search=search, most=most)
