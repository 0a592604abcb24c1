"""Where the counts of limits lie: in a table of ours, or in a Redis, for all processes."""

from collections.abc import Callable
from datetime import datetime, timedelta

from limits.aio.storage import Storage
from limits.storage import storage_from_string

from app.settings import Settings
from db import rate_limits
from db.engine import Database, DatabaseAway

NAMESPACE = "boltwork"
REDIS_PATIENCE_S = 2


class PostgresStorage(Storage):
    """Counts in a table of ours. Raises DatabaseAway while Postgres can't be reached."""

    STORAGE_SCHEME = None  # it is made of a Database, and found by no address

    def __init__(self, db: Database, clock: Callable[[], datetime]) -> None:
        super().__init__()
        self._db, self._clock = db, clock

    @property
    def base_exceptions(self) -> type[Exception]:
        """What counting can raise."""
        return DatabaseAway

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count, and return what the window holds with it."""
        now = self._clock()
        closes_at = now + timedelta(seconds=expiry)
        return await self._db.run(
            "count_hit", lambda tx: rate_limits.count(tx, key, amount, closes_at, now), alone=True
        )

    async def get(self, key: str) -> int:
        """Return what the open window holds."""
        window = await rate_limits.window(self._db, key, self._clock())
        return window[0] if window else 0

    async def get_expiry(self, key: str) -> float:
        """Return when the open window closes, in seconds of the epoch; now, when none is open."""
        now = self._clock()
        window = await rate_limits.window(self._db, key, now)
        return (window[1] if window else now).timestamp()

    async def check(self) -> bool:
        """Say whether it can be counted."""
        try:
            await rate_limits.window(self._db, "", self._clock())
        except DatabaseAway:
            return False
        return True

    async def reset(self) -> int | None:
        """Lift every limit: nobody may."""
        raise NotImplementedError("a limit ends by itself")

    async def clear(self, key: str) -> None:
        """Lift one limit: nobody may."""
        raise NotImplementedError("a limit ends by itself")


def make_storage(settings: Settings, db: Database, clock: Callable[[], datetime]) -> Storage:
    """Return where the settings say that counts lie: Postgres, or a Redis."""
    if settings.rate_limit_storage is None:
        return PostgresStorage(db, clock)
    storage = storage_from_string(
        f"async+{settings.rate_limit_storage.get_secret_value()}",
        wrap_exceptions=True,
        implementation="redispy",
        key_prefix=NAMESPACE,
        socket_timeout=REDIS_PATIENCE_S,
        socket_connect_timeout=REDIS_PATIENCE_S,
    )
    assert isinstance(storage, Storage)
    return storage
