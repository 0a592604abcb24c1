"""The process ends at a place that commits or calls the outside, and nothing is lost by it.

Here the places where money passes, on the stub rail and a few on the real LNbits; `scripts/crash`
takes every place through every scenario that passes it, on both.
"""

import pytest

from tests.runs import crash_places
from tests.runs.crash_crossings import CROSSED, UNOPENED
from tests.runs.crash_run import Case, Databases, Report, cases, run_all
from tests.runs.crash_scenarios import SCENARIOS
from tests.world.lnbits_server import LnbitsServer

ON_LNBITS = (
    "rail create_invoice: after", "rail push: before", "commit invoices.book: before",
    "commit payouts.call: after", "rail pay: before", "rail pay: after",
    "rail look_up_payment: after", "commit payouts.settle: before",
    "commit wallets.open_next: before", "commit transfers.begin: after",
    "commit transfers.settle: before",
)  # fmt: skip
ON_STUB = (
    "commit orders.begin", "commit invoices.open", "commit invoices.book", "commit jobs.accept",
    "commit jobs.answer", "commit payouts.send", "commit payouts.call", "commit payouts.settle",
    "rail pay", "agent work", "keep PayInvoice",
    # Of sessions and firm prices, one side of each.
    "commit sessions.begin: after", "commit sessions.begin_reserved: after",
    "commit sessions.ask_topup: after",
    "commit sessions.close: before", "commit sessions.idle: after", "commit holds.end: before",
    "commit holds.let_go: before", "commit asks.begin: after", "commit payouts.record: after",
    "commit batches.begin: after", "commit leases.submit: after", "commit leases.lapse: before",
)  # fmt: skip
STUB = [case for case in cases("stub", thorough=False) if case.place.startswith(ON_STUB)]
LNBITS = [case for case in cases("lnbits", thorough=False) if case.place in ON_LNBITS]

PLACES = {place.partition(":")[0] for place in (*ON_LNBITS, *ON_STUB)}


@pytest.fixture(scope="module")
async def reports(
    request: pytest.FixtureRequest, postgres: str, lnbits: LnbitsServer
) -> dict[Case, Report]:
    """What came of every case that this run asks for; they run several at once."""
    specs = [getattr(item, "callspec", None) for item in request.session.items]
    wanted = [spec.params["case"] for spec in specs if spec and "case" in spec.params]
    mine = [case for case in wanted if isinstance(case, Case)]
    return await run_all(mine, Databases(postgres), lnbits)


@pytest.mark.parametrize("case", [*LNBITS, *STUB], ids=lambda case: case.id)
def test_the_process_ends_there_and_nothing_is_lost(
    case: Case, reports: dict[Case, Report]
) -> None:
    """It really ended there; started again, the job ends, and no sat is missing or paid twice."""
    report = reports[case]
    assert report.died, f"no process ever passed {case.place}: {report.wrong}"
    assert not report.wrong


def test_every_place_has_a_name() -> None:
    """Nothing commits, and nothing calls a rail, an agent or an oracle, without a name."""
    assert crash_places.nameless() == []


def test_every_name_is_passed_by_a_scenario() -> None:
    """A name that is new in the code needs a scenario, and one that is gone needs none."""
    found = set(crash_places.names())
    assert found - set(CROSSED) - UNOPENED == set(), (
        "add a crossing to tests/runs/crash_crossings.py"
    )
    assert found >= UNOPENED and not UNOPENED & set(CROSSED), "these are opened, or gone"
    assert set(CROSSED) - found == set(), "these places are not in the code any more"
    assert PLACES - set(CROSSED) == set(), "these are chosen here, and are no places"
    before = {each.first.partition(":")[0] for each in SCENARIOS.values() if each.first}
    assert before - found == set(), "no process is ended at these, as they are no places"
    assert {one.scenario for crossings in CROSSED.values() for one in crossings} <= set(SCENARIOS)


def test_what_moves_usdc_is_passed_where_a_chain_is() -> None:
    """There is one on the stub's side only: no process that works for LNbits passes there."""
    ours = ("facilitator ", "chain ", "commit usdc_", "keep SendUsdc")
    on_a_chain = {
        crossing.scenario
        for place, crossings in CROSSED.items()
        if place.startswith(ours)
        for crossing in crossings
    }
    assert [name for name in on_a_chain if SCENARIOS[name].rails != ("stub",)] == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("async def f(db): await db.run(name, work)", "can't be found"),
        ("async def f(built): await g(built.db.run)", "its name is lost"),
        ("async def f(shell): await shell.do(work)", "can't be found"),
        ("async def f(shell): await shell.do(advance.jobs.unheard_of)", "can't be found"),
        ("async def f(): return Beginning(made, work)", "can't be found"),
        ("async def f(built): await g(built.shell.do)", "its name is lost"),
        ("async def f(db):\n async with db.transaction() as tx: pass", "beside Database.run"),
        ("async def f(db):\n async with db.reads.connection() as c: pass", "of its own"),
        ("async def f(db): await db.read_one('UPDATE job SET version = 2')", "no SELECT"),
    ],
)
def test_a_place_without_a_name_is_told(source: str, said: str) -> None:
    """Whoever commits otherwise than by Database.run and a constant name, or by Shell.do or a
    Beginning and a function that is there, is found."""
    [sentence] = crash_places.nameless_in(crash_places.ROOT / "app" / "planted.py", source)
    assert said in sentence
