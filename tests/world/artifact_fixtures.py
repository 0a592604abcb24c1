"""Desks of artifacts for tests: over whatever store a test has, or over one in memory."""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from obstore.store import MemoryStore

from app.artifacts.keeping import Artifacts
from app.artifacts.object_store import ObjectStore
from app.artifacts.recoding import Pressing
from app.ports import Store
from db.engine import Database


def desk_of(db: Database, store: Store, clock: Callable[[], datetime]) -> Artifacts:
    """Return the desk over a store; its process starts with the first file."""
    new_id = partial(secrets.token_hex, 16)
    return Artifacts(db, store, Pressing(), clock, new_id, timedelta(days=1))


def nothing_made(db: Database, clock: Callable[[], datetime]) -> Artifacts:
    """Return a desk for a world in which nobody makes a file."""
    return desk_of(db, ObjectStore(MemoryStore(), None, 1, 1), clock)
