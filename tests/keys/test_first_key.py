"""The first root key: however many make it at the same moment, one is kept and no maker fails."""

import asyncio

from app.main import utc_now
from db import root_keys
from db.engine import Database


async def test_however_close_the_first_keys_come_none_of_those_who_made_one_fails(
    db: Database,
) -> None:
    """Eight at once, a hundred times over: two indexes are asked, and either may be first to say
    that somebody was there before.
    """
    now = utc_now()
    for _ in range(100):
        await db.run("forget", lambda tx: tx.execute("DELETE FROM root_key"))
        await asyncio.gather(
            *(db.run("offer", lambda tx: root_keys.offer_first(tx, "", now)) for _ in range(8))
        )
        assert len(await root_keys.every(db)) == 1
