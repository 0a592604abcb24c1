"""A server that is asked to end does so, at whatever moment of its start it is asked."""

import asyncio
from pathlib import Path

from app.main import make_parts, running, utc_now
from payments.stub import StubRail
from tests.house_fixtures import fixed_oracle, settings_for
from tests.scripted_agent import ScriptedAgent


async def test_whoever_ends_early_ends(database_url: str, tmp_path: Path) -> None:
    """Loops, listeners and workers end, even where a library swallows that they were asked to."""
    for after_ms in (0, 2, 5, 8, 11, 15, 20, 30, 50, 80, 0, 5, 10, 20):
        parts = make_parts(
            settings_for(tmp_path),
            database_url,
            rail=StubRail(tmp_path / "stub.sqlite3", utc_now),
            agent=ScriptedAgent(),
            oracle=fixed_oracle(utc_now),
        )
        async with asyncio.timeout(25):
            async with running(parts):
                await asyncio.sleep(after_ms / 1000)
