"""Each call of the real LNbits meets each fault, and a job or a payout comes to what is documented.

The stories run several at once, on one LNbits; `docs/faults-lnbits.md` is the table of all cells.
"""

import asyncio
import itertools
import tempfile
from pathlib import Path

import pytest

from tests.runs.crash_run import Databases
from tests.world.lnbits_matrix import stage_for, story
from tests.world.lnbits_server import LnbitsServer
from tests.world.lnbits_table import CALLS, ENDLESS, FAULTS, PAGE, expected, page

AT_ONCE = 4


@pytest.fixture(scope="module")
async def told(
    request: pytest.FixtureRequest, postgres: str, lnbits: LnbitsServer
) -> dict[str, dict[str, str] | Exception]:
    """What every cell of the faults that this run asks for came to."""
    specs = [getattr(item, "callspec", None) for item in request.session.items]
    wanted = {spec.params["fault"] for spec in specs if spec and "call_of_matrix" in spec.params}
    databases, gate = Databases(postgres), asyncio.Semaphore(AT_ONCE)
    cells: dict[str, dict[str, str] | Exception] = {}

    async def tell(fault: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                gate,
                databases.one() as url,
                stage_for(fault, lnbits, url, Path(folder)) as stage,
            ):
                try:
                    cells[fault] = await story(stage)
                except Exception as error:
                    cells[fault] = error

    # Those that wait for an end begin first: all others work meanwhile.
    mine = sorted((fault for fault in FAULTS if fault in wanted), key=lambda f: f not in ENDLESS)
    await asyncio.gather(*(tell(fault) for fault in mine))
    return cells


@pytest.mark.parametrize(("fault", "call_of_matrix"), list(itertools.product(FAULTS, CALLS)))
def test_a_cell_ends_in_its_documented_state(
    fault: str, call_of_matrix: str, told: dict[str, dict[str, str] | Exception]
) -> None:
    """The job or payout comes to what the table says, is paid once, and all ends well."""
    cells = told[fault]
    if isinstance(cells, Exception):
        raise cells
    assert cells[call_of_matrix] == expected(call_of_matrix, fault)


def test_the_page_is_what_the_matrix_says() -> None:
    """docs/faults-lnbits.md is drawn by `python -m tests.world.lnbits_table`; drift fails."""
    assert PAGE.read_text() == page()
