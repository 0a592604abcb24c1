"""A short run of `scripts/cells`: two cells behind a router, one of which is lost and is back."""

from pathlib import Path

import pytest

from tests.runs.cells import sell


async def test_a_cell_is_lost_and_is_back(
    open_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One purchase of each kind; every address is found, and the books of each cell agree."""
    assert await sell(7, "stub", open_folder) == 0, capsys.readouterr().out
