"""What is purged, in the tests: what each table holds, and the loops that look at what lapsed."""

from app.plant import loops_of
from tests.world.house_fixtures import Instance
from tests.world.patience import patiently

# What is counted by the hour or is of the process, and grows with nothing that a caller sends.
BOUNDED = {
    "job_tally",
    "rate_limit",
    "root_key",
    "signing_key",
    "rail_baseline",
    "account",
    "account_part",
    "heartbeat",
    "chain_block",
}


async def rows_of(instance: Instance) -> dict[str, int]:
    """Return how many rows each table has."""
    tables = await instance.built.db.read_all(
        "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
    )
    async for _ in patiently("a promise is kept for ever"):  # what is being kept is kept first
        if not await instance.built.db.read_all("SELECT id FROM procrastinate_jobs"):
            break
    counts = {}
    for name in sorted({row["name"] for row in tables} - BOUNDED):
        row = await instance.built.db.read_one(f"SELECT count(*) AS n FROM {name}")
        counts[name] = row["n"] if row else 0
    return counts


async def purge(instance: Instance) -> None:
    """Have the loops look at what lapsed, and purge what is to be purged."""
    loops = loops_of(instance.built)
    for turn in (loops.expiry.turn, loops.recovery.turn, loops.unpaid.turn):
        await turn()


async def taken_in(instance: Instance) -> None:
    """Wait until a payment of what was purged is on the books: pushed, or asked for."""
    async for _ in patiently("the late payment is not taken in"):
        row = await instance.built.db.read_one("SELECT count(*) AS n FROM lapsed_invoice")
        if row is not None and not row["n"]:
            return
        await loops_of(instance.built).sweep.turn()
