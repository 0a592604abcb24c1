"""What a buyer may pay: the budget of a day, the limit of a purchase, and each thing once."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.buyer.spending import (
    Again,
    Before,
    Beyond,
    Counted,
    Over,
    Payments,
    Purpose,
    Spending,
    Unkept,
    Wanted,
    default_path,
)


def of(purchase: str, purpose: Purpose = Purpose.WORK, limit_sats: int = 1_000) -> Wanted:
    """Return what is wanted as part of a purchase."""
    return Wanted(purchase, purpose, limit_sats)


def test_a_day_has_one_budget_for_all_runs(tmp_path: Path) -> None:
    """It is counted in a file; a payment counts once; the next day (UTC) begins anew."""
    at = [datetime(2026, 11, 22, 23, 59, tzinfo=UTC)]
    path = tmp_path / "deep" / "spending.json"
    one, two = (Spending(path, 100, lambda: at[0]) for _ in range(2))
    assert one.begin("a", 60, of("a")) == Counted()
    assert two.begin("a", 60, of("a")) == Before()
    assert two.begin("b", 50, of("b")) == Over(60, 100)
    assert "40" in two.would_be_over(41).sentence  # type: ignore[union-attr]  # None fails it too
    one.correct("a", 55)
    assert two.begin("c", 45, of("c")) == Counted() and two.spent_sats() == 100
    two.forget("c")
    assert one.spent_sats() == 55
    at[0] += timedelta(minutes=2)
    assert one.begin("b", 100, of("b")) == Counted() and one.spent_sats() == 100
    assert two.begin("a", 60, of("a")) == Before()  # of yesterday: its payment may be under way
    at[0] += timedelta(days=5)
    assert one.begin("d", 1, of("d")) == Counted() and set(
        json.loads(path.read_text())["payments"]
    ) == {"d"}


async def test_a_hundred_runs_at_once_share_a_budget(tmp_path: Path) -> None:
    """The lock holds between them: exactly what there is money for goes through."""
    path = tmp_path / "spending.json"
    tries = [
        asyncio.to_thread(Spending(path, 100).begin, f"payment {number}", 10, of(f"{number}"))
        for number in range(30)
    ]
    begun = await asyncio.gather(*tries)
    assert sum(each == Counted() for each in begun) == 10
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kept", ["{", "[]", '{"payments": {"a": ["2026-11-22", -5]}}'])
def test_a_file_that_cannot_be_read_closes_the_purse(tmp_path: Path, kept: str) -> None:
    """Nobody knows then what was spent, so nothing is."""
    path = tmp_path / "spending.json"
    path.write_text(kept)
    with pytest.raises(Unkept, match="move it away"):
        Spending(path, 100).begin("a", 1, of("a"))
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(Unkept, match="XDG_STATE_HOME"):
        Spending(blocked / "spending.json", 100).begin("a", 1, of("a"))


def test_the_file_is_where_the_state_of_programs_is() -> None:
    """XDG says where."""
    assert default_path().parts[-2:] == ("boltwork", "spending.json")


@pytest.mark.parametrize("in_a_file", [False, True])
def test_a_purchase_has_one_limit_and_pays_each_thing_once(tmp_path: Path, in_a_file: bool) -> None:
    """What was paid and what is asked for now stay within it; a second invoice is refused."""

    def kept() -> Payments:
        return Spending(tmp_path / "spending.json") if in_a_file else memory

    memory = Payments()
    evaluation, work = of("j", Purpose.EVALUATION, 100), of("j", Purpose.WORK, 100)
    assert kept().begin("a", 60, evaluation) == Counted()
    assert kept().begin("b", 41, work) == Beyond(60, 41, 100)
    assert kept().begin("b", 40, evaluation) == Again(Purpose.EVALUATION, 60)
    assert kept().begin("b", 40, of("j", Purpose.BOTH, 100)) == Again(Purpose.BOTH, 60)
    assert kept().begin("b", 40, work) == Counted()
    kept().correct("b", 43)  # a fee on the way is no part of the price
    assert kept().of("j") == {"evaluation": 60, "work": 40}
    assert kept().begin("b", 40, work) == Before()
    assert kept().begin("b", 40, of("j", Purpose.WORK, 99)) == Before(Beyond(60, 40, 99))
    # The same hash is not the same payment when it is for more, or for something else.
    for amount_sats, wanted in ((41, work), (40, of("k")), (1_000, of("j", Purpose.WORK, 9_999))):
        assert kept().begin("b", amount_sats, wanted) == Again(Purpose.WORK, 40)
    assert kept().begin("c", 100, of("k", Purpose.WORK, 100)) == Counted()


def test_what_an_earlier_version_wrote_is_read(tmp_path: Path) -> None:
    """Its payments count for the day, and are looked up."""
    path = tmp_path / "spending.json"
    day = datetime.now(UTC).date().isoformat()
    path.write_text(json.dumps({"payments": {"a": [day, 70]}}))
    spending = Spending(path, 100)
    assert spending.begin("b", 40, of("j")) == Over(70, 100)
    assert spending.begin("a", 70, of("j")) == Before()
    assert isinstance(spending.begin("a", 71, of("j")), Again)
