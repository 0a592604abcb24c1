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
_UNUSED = """
INSERT INTO spell_use (spell_id, uses, created_at) VALUES (%(id)s, 0, %(now)s)
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
    await tx.execute(_UNUSED, id=spell_id, now=now)
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


# Each is looked up for what is shown: joined, all versions could be read.
_LATEST_OF = """
CROSS JOIN LATERAL (SELECT * FROM spell_version
                     WHERE spell_id = s.id AND number = s.latest LIMIT 1) v
"""
_LATEST = f"SELECT s.slug, v.document FROM spell s {_LATEST_OF}"


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


_VIEW = """
SELECT s.id, s.slug, s.author_id, s.hidden_why, s.created_at, u.uses,
       v.id AS version_id, v.number, v.document, v.pins, v.created_at AS published_at
"""
_USES_OF = "CROSS JOIN LATERAL (SELECT * FROM spell_use WHERE spell_id = s.id LIMIT 1) u"
_OF_SPELL = f"{_VIEW} FROM spell s {_USES_OF} {_LATEST_OF}"


async def by_slug(reads: Reads, slug: str) -> SpellView | None:
    """Return the latest version of a spell, hidden or not."""
    return await reads.row(SpellView, f"{_OF_SPELL} WHERE s.slug = %(slug)s", slug=slug)


_OF_VERSION = f"""
{_VIEW} FROM spell_version v
 CROSS JOIN LATERAL (SELECT * FROM spell WHERE id = v.spell_id LIMIT 1) s {_USES_OF}
 WHERE v.id = %(id)s
"""


async def by_version(reads: Reads, version_id: str) -> SpellView | None:
    """Return one version of a spell, hidden or not."""
    return await reads.row(SpellView, _OF_VERSION, id=version_id)


async def every(db: Database) -> list[SpellView]:
    """Return the latest version of all spells, hidden or not, by their names."""
    return await db.rows(SpellView, f"{_OF_SPELL} ORDER BY s.slug")


_TAGGED = "AND s.tags @> ARRAY[CAST(%(tag)s AS text)]"
_MOST_USED = f"""
{_VIEW} FROM (SELECT * FROM spell_use ORDER BY uses DESC, created_at DESC {{among}}) u
 CROSS JOIN LATERAL (SELECT * FROM spell WHERE id = u.spell_id LIMIT 1) s {_LATEST_OF}
 WHERE s.hidden_at IS NULL
"""
_ALL = f"{_MOST_USED.format(among='')} ORDER BY u.uses DESC, u.created_at DESC LIMIT %(most)s"
_OF_TAG = f"""
{_OF_SPELL} WHERE s.hidden_at IS NULL {_TAGGED}
 ORDER BY u.uses DESC, u.created_at DESC LIMIT %(most)s
"""
_BY_WORDS = f"""
{_OF_SPELL} WHERE s.hidden_at IS NULL {{tagged}}
   AND s.searched @@ websearch_to_tsquery('simple', %(search)s)
 ORDER BY ts_rank(s.searched, websearch_to_tsquery('simple', %(search)s)) DESC, uses DESC
 LIMIT %(most)s
"""
_TEXT = (
    "concat_ws(' ', s.name, replace(s.slug, '-', ' '), array_to_string(s.tags, ' '), s.description)"
)
_AMONG = _MOST_USED.format(among="LIMIT 500")  # what no index finds is looked for among these
_BY_LIKENESS = f"""
{_AMONG} {{tagged}} AND word_similarity(%(search)s, {_TEXT}) > 0.4
 ORDER BY word_similarity(%(search)s, {_TEXT}) DESC, uses DESC LIMIT %(most)s
"""
_BY_PART = f"""
{_AMONG} {{tagged}} AND position(lower(%(search)s) IN lower({_TEXT})) > 0
 ORDER BY uses DESC LIMIT %(most)s
"""


class _There(NamedTuple):
    is_there: bool


_HAS_LIKENESS = "SELECT to_regprocedure('word_similarity(text,text)') IS NOT NULL AS is_there"


async def listed(db: Database, tag: str | None, search: str | None, most: int) -> list[SpellView]:
    """Return spells that nobody has hidden: by whole words first, else by what is like them."""
    tagged = "" if tag is None else _TAGGED
    values: dict[str, Any] = {"most": most} if tag is None else {"most": most, "tag": tag}
    if search is None:
        return await db.rows(SpellView, _ALL if tag is None else _OF_TAG, **values)
    values["search"] = search
    found = await db.rows(SpellView, _BY_WORDS.format(tagged=tagged), **values)
    if found:
        return found
    there = await db.row(_There, _HAS_LIKENESS)
    query = _BY_LIKENESS if there is not None and there.is_there else _BY_PART
    return await db.rows(SpellView, query.format(tagged=tagged), **values)
