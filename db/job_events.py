"""What a stream replays of a job, and the words that are sent while its agent writes.

Stored lines are numbered by the job's version, without a gap. Words of progress are stored nowhere:
they are told by NOTIFY to whoever listens just then, in whichever process.
"""

from psycopg.rows import DictRow

from db.engine import Database

PROGRESS = "boltwork_progress"  # NOTIFY carries a few words of an agent that writes
MOST_BYTES = 7_900  # Postgres takes less than 8,000 in one notice


async def standing(db: Database, job_id: str) -> DictRow | None:
    """Return where a job stands: its version and its state. None when there is no such job."""
    return await db.read_one("SELECT version, state FROM job WHERE id = %(id)s", id=job_id)


async def between(db: Database, job_id: str, after: int, until: int) -> list[DictRow]:
    """Return what happened to a job after one version, until another, in order."""
    return await db.read_all(
        "SELECT version, event, state, at FROM job_history WHERE job_id = %(id)s"
        " AND version > %(after)s AND version <= %(until)s ORDER BY version",
        id=job_id,
        after=after,
        until=until,
    )


async def tell_progress(db: Database, words: str) -> None:
    """Send every process what an agent has written. Nothing is stored, so nothing is lost."""
    await db.read_all("SELECT pg_notify(%(channel)s, %(words)s)", channel=PROGRESS, words=words)
