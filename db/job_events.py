"""What a stream replays of a job, and the words that are sent while its agent writes.

Stored lines are numbered by the job's version, without a gap. Words of progress are stored nowhere:
they are told by NOTIFY to whoever listens just then, in whichever process.
"""

from datetime import datetime
from typing import NamedTuple

from db.engine import Database
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


async def between(db: Database, job_id: str, after: int, until: int) -> list[Line]:
    """Return what happened to a job after one version, until another, in order."""
    return await db.rows(
        Line,
        f"SELECT {columns(Line)} FROM job_history WHERE job_id = %(id)s"
        " AND version > %(after)s AND version <= %(until)s ORDER BY version",
        id=job_id,
        after=after,
        until=until,
    )


async def tell_progress(db: Database, words: str) -> None:
    """Send every process what an agent has written. Nothing is stored, so nothing is lost."""
    await db.read_all("SELECT pg_notify(%(channel)s, %(words)s)", channel=PROGRESS, words=words)
