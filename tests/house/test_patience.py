"""Nothing here fails because a machine is busy (patience.py): a wait of its own is found."""

import ast

import pytest

from tests.world.own_patience import of_its_own


@pytest.mark.parametrize(
    "source",
    [
        "async with asyncio.timeout(5): pass",
        "await asyncio.wait_for(ready.wait(), 20)",
        "http = Client(timeout=30)",
        "async with httpx2.AsyncClient(base_url=url) as http: pass",
        "@pytest.mark.timeout(60)\ndef test(): pass",
        "for _ in range(100):\n    await asyncio.sleep(0.1)",
    ],
)
def test_a_patience_of_its_own_is_found(source: str) -> None:
    """Whichever way it is written."""
    assert len(list(of_its_own(ast.parse(source)))) == 1
