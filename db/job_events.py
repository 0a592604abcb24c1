"""What a stream replays of a job, and the words that are sent while its agent writes.

Stored lines are numbered by the job's version, without a gap. Words of progress are stored nowhere:
they are told by NOTIFY to whoever listens just then, in whichever process.
"""

from datetime import datetime
from typing import NamedTuple

from db.engine import Database, Tx
from db.rows import columns
from statemachine.job import JobState

PROGRESS = "boltwork_progress"  # NOTIFY carries a few words of an agent that writes
MOST_BYTES = 7_900  # Postgres takes less than 8,000 in one notice


class Stands(NamedTuple):
    """Where a job stands."""

    version: int
    state: JobState


class Line(NamedTuple):
    """A line of a job's history."""

    version: int
    event: str
    state: JobState
    at: datetime


async def standing(db: Database, job_id: str) -> Stands | None:
    """Return where a job stands; None when there is no such job."""
    return await db.row(Stands, "SELECT version, state FROM job WHERE id = %(id)s", id=job_id)


# Of the months between its beginning and its last change, and of no others; and clocks of two hosts
# are never a day apart. What is just being kept of a month that is dropped is there twice.
_OF_JOB = """
job_id = %(id)s
   AND at >= (SELECT created_at - interval '1 day' FROM job WHERE id = %(id)s)
   AND at <= (SELECT updated_at + interval '1 day' FROM job WHERE id = %(id)s)
"""
_BETWEEN = f"""
SELECT DISTINCT {columns(Line)} FROM job_line
 WHERE {_OF_JOB} AND version > %(after)s AND version <= %(until)s ORDER BY version
"""


async def between(db: Database, job_id: str, after: int, until: int) -> list[Line]:
    """Return what happened to a job after one version, until another, in order.

    Of one that ended long ago that may be less, or nothing: see db/months.py.
    """
    return await db.rows(Line, _BETWEEN, id=job_id, after=after, until=until)


def to_the_end(
    lines: list[Line], version: int, state: JobState, ended_at: datetime | None
) -> list[Line]:
    """Return these lines, and a last one where that of a job which has ended is no more: it was
    dropped with its month.
    """
    if ended_at is None or (lines and lines[-1].version == version):
        return lines
    return [*lines, Line(version, "ended", state, ended_at)]


class _There(NamedTuple):
    one: int


_HAPPENED = f"SELECT 1 AS one FROM job_line WHERE {_OF_JOB} AND event = %(event)s LIMIT 1"


async def happened(db: Database, job_id: str, event: str) -> bool:
    """Say whether this event is in a job's history."""
    return await db.row(_There, _HAPPENED, id=job_id, event=event) is not None


_FORGET = """
DELETE FROM job_history WHERE job_id = ANY(%(ids)s)
   AND at >= (SELECT min(created_at) - interval '1 day' FROM job WHERE id = ANY(%(ids)s))
"""


async def forget(tx: Tx, job_ids: list[str]) -> None:
    """Delete what happened to jobs that are purged after it."""
    await tx.execute(_FORGET, ids=job_ids)
    await tx.execute("DELETE FROM job_history_earlier WHERE job_id = ANY(%(ids)s)", ids=job_ids)


async def tell_progress(db: Database, words: str) -> None:
    """Send every process what an agent has written. Nothing is stored, so nothing is lost."""
    await db.read_all("SELECT pg_notify(%(channel)s, %(words)s)", channel=PROGRESS, words=words)
