"""What a hostile server answers a lent machine, and what is shown of it."""

import io
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from app.buyer.exchange import Lost
from app.lender.answers import Lease, claimed_of, leases_of, pay_of, standing_of
from app.lender.display import Board, Lines, shown_on
from app.lender.patience import MOST_AWAY_S, patiently
from app.ports import Wanted

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("leases", "earnings", "payouts", "noMatch", "state", "payTo", "msat")
INPUT: dict[str, Any] = {"model": "scene-1", "prompt": "a boat", "width": 512, "height": 512}
LEASE: dict[str, Any] = {"leaseId": "a1", "input": INPUT, "pay": {"msat": 1_400}}


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON), JSON)
def test_whatever_is_answered_is_read_as_what_it_is(said: dict[str, Any], pay: Any) -> None:
    """Or as nothing: no answer of a server breaks the program, or steers a terminal."""
    standing, claimed = standing_of(said), claimed_of(said)
    lines = [standing.state, standing.pay_to, *standing.sums, *standing.stuck, pay_of(pay)]
    lines += [*claimed.why_nothing, *claimed.why_nothing.values()]
    assert all("\x1b" not in line and "\n" not in line for line in lines)
    assert leases_of([LEASE, pay, said])[0] == leases_of([LEASE])[0]


def test_a_lease_is_read_by_its_shape() -> None:
    """What it is to make, and what is paid for it, exactly; anything else is left to lapse."""
    [lease] = leases_of([LEASE])
    assert lease == Lease("a1", Wanted("scene-1", "a boat", 512, 512), "1.400 sats")
    strange: list[dict[str, Any]] = [
        {"leaseId": "../a"}, {"leaseId": 7}, {"input": None},
        {"input": INPUT | {"width": 10**9}}, {"input": INPUT | {"height": True}},
        {"input": {"model": "scene-1"}},
    ]  # fmt: skip
    assert leases_of([LEASE | other for other in strange]) == []


def test_earnings_are_shown_exactly() -> None:
    """To the msat, by where they are; other assets where there are any, and what could not be
    sent."""
    amounts = {"earned": 3_500, "held": 1_000, "free": 500, "sending": 0, "paid": 2_000}
    failed = {"state": "owed", "msat": 2_000, "to": "a@b.example", "lastOutcome": "It is\x07 away."}
    said: dict[str, Any] = {"payouts": [failed, {}]}
    said["earnings"] = {"msat": amounts, "microUsdc": {"earned": 0}}
    standing = standing_of(said)
    sums = "sats: earned 3.500, held 1.000, free 0.500, sending 0.000, paid 2.000"
    assert standing.sums == [sums]
    assert standing.stuck == ["2.000 sats to a@b.example: It is\N{REPLACEMENT CHARACTER} away."]
    assert standing.pays_next == ""
    said["next"] = {"payTo": "c@d.example", "at": "2026-12-01T00:00:00Z"}
    assert standing_of(said).pays_next == "c@d.example, from 2026-12-01T00:00:00Z on"
    said["earnings"] = {"microUsdc": {"earned": 17_500, "forfeited": 500}}
    assert standing_of(said).sums[1].endswith("paid 0.000000, forfeited 0.000500")


def test_a_terminal_has_a_line_for_each_item() -> None:
    """With how far it is, until it is made no more; below them what is earned."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100, no_color=True)
    board = Board(console)

    def drawn() -> str:
        with console.capture() as captured:
            console.print(board)
        return captured.get()

    hostile = Lease("b2", Wanted("[red]x", "a \x1b[31m tree", 512, 512), "1 sats")
    [boat] = leases_of([LEASE])
    for lease in (boat, hostile):
        board.begun(lease)
    board.went(boat, 40)
    board.stands(standing_of({"earnings": {"msat": {"earned": 1_000, "held": 1_000}}}))
    shown = drawn()
    assert "40%" in shown and "scene-1 512×512: a boat" in shown and "held 1.000" in shown
    assert "[red]x 512×512: a \N{REPLACEMENT CHARACTER}[31m tree" in shown
    board.ended(boat)
    assert "a boat" not in drawn()


def test_elsewhere_there_are_lines_alone() -> None:
    """Each whole, however wide the console is."""
    kept = io.StringIO()
    with shown_on(Console(file=kept, width=20)) as shows:
        assert type(shows) is Lines and not shows.draws
        [boat] = leases_of([LEASE])
        shows.begun(boat)
        shows.say("One that is longer than twenty.\r[b]And\nnot two.")
        shows.went(boat, 40)
        shows.ended(boat)
    assert kept.getvalue() == "One that is longer than twenty. [b]And not two.\n"


async def test_a_server_that_is_away_is_asked_later_each_time() -> None:
    """Up to a minute, and never by all at once; why it is away is told once."""
    said, pauses, left = list[str](), list[float](), [9]

    async def call() -> str:
        left[0] -= 1
        if left[0]:
            raise Lost("nothing answers there")
        return "there"

    async def rest(pause_s: float) -> bool:
        pauses.append(pause_s)
        return False

    assert await patiently(call, said.append, rest) == "there"
    assert said[0] == "The server does not answer: nothing answers there."
    assert said[1:] == ["The server answers again."]
    bounds = [min(MOST_AWAY_S, 2.0**each) for each in range(8)]
    assert all(most / 2 <= pause <= most for most, pause in zip(bounds, pauses, strict=True))
