"""Why a worker is given nothing: one reason at a time, the weightiest first, each with a mend."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from app.trade.catalogue import NETWORK, Catalogue
from app.trade.idle import Stands, why_idle
from db.network import LaneSeen, Waiting
from db.workers import HEARD_WITHIN
from statemachine.worker import MOST_SILENT, WorkerState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CATALOGUE = Catalogue([NETWORK], development=False)
ONLINE, PAUSED = WorkerState.ONLINE, WorkerState.PAUSED


def lane(name: str, ago_s: int = 1, vram_gb: int = 24) -> LaneSeen:
    """Return a lane that was asked for so long ago, by a large machine."""
    return LaneSeen(name, 2_048**2, vram_gb, NOW - timedelta(seconds=ago_s))


def stands(
    state: WorkerState = ONLINE,
    lanes: Sequence[LaneSeen] = (lane("chroma"),),
    silent: int = 0,
    held: int = 0,
    failed_canary: bool = False,
) -> Stands:
    """Return a worker that may hold two items."""
    return Stands(state, silent, failed_canary, held, 2, lanes)


def said(worker: Stands, **waits: int) -> str:
    """Return all that is said of a worker, where so much waits by lane."""
    waiting = {name: Waiting(name, n, NOW) for name, n in waits.items()}
    found = why_idle(worker, waiting, CATALOGUE, NOW)
    return "\n".join(f"{each.sentence} {each.mend}" for each in found)


OLD = HEARD_WITHIN.seconds + 1


@pytest.mark.parametrize(
    ("worker", "words"),
    [
        (stands(WorkerState.BANNED, silent=9), "has banned it"),
        (stands(WorkerState.BANNED, failed_canary=True), "went to the buyers of its last items"),
        (stands(PAUSED, silent=MOST_SILENT), f"lost {MOST_SILENT} items within an hour"),
        (stands(PAUSED, silent=MOST_SILENT - 1), "It is paused."),
        (stands(WorkerState.DRAINING), "It is draining"),
        (stands(lanes=()), "never asked for work"),
        (stands(lanes=[lane("chroma", OLD)]), "Nothing is heard from it"),
        (stands(held=2), "holds 2 items, as many as"),
    ],
)
def test_what_stops_a_worker_is_said_alone(worker: Stands, words: str) -> None:
    """While it is stopped, away or full it does not matter what waits."""
    told = said(worker, chroma=3)
    assert words in told and "\n" not in told


def test_a_worker_that_is_given_work_is_told_nothing() -> None:
    """It is there, it has room, and what it makes is waited for."""
    assert said(stands(held=1), chroma=1) == ""


def test_it_is_said_what_else_is_waited_for() -> None:
    """Most of all what most buyers wait for; and that nothing waits at all, where it is so."""
    told = said(stands(), **{"seedream-v4": 3, "z-image-turbo": 1_000, "chroma": 0})
    assert "what it makes: chroma." in told
    assert "Waiting now: z-image-turbo (1,000), seedream-v4 (3)." in told
    assert "No item waits" in said(stands(), chroma=0) and "No item waits" in said(stands())


def test_tiers_that_are_too_large_are_named() -> None:
    """With what each needs, and what the machine has said it has."""
    mine = [lane("z-image-turbo/basic", vram_gb=8), lane("no-such/basic")]
    told = said(stands(lanes=mine), **{"z-image-turbo/basic": 1})
    assert told.startswith("z-image-turbo: pro needs 12 GB of VRAM and 1,440 × 1,440 pixels;")
    assert "It offers 8 GB and 4,194,304 pixels." in told and "--vram-gb" in told
