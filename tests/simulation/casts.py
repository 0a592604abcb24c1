"""What must hold of casts: each step is made once, from what it needs, and those alone are ordered
anew that are missing.
"""

from collections import Counter, defaultdict

from tests.simulation.rows import BATCH_FINAL, LOST, Lot, Row, hold

MADE_FROM = ("pending", "claimed", "processing", "completed")


class Casts:
    """Casts as they were witnessed, each with the batches that were ordered for it."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.lots: dict[str, list[Lot]] = defaultdict(list)
        self.seen: Counter[str] = Counter()

    def cast(self, was: Row | None, now: Row | None) -> str:
        """Take in a change of a cast's row."""
        if now is None:
            assert was is not None
            hold(was["paid_at"] is None, 7, f"the cast {was['id']} was purged, and was paid for")
            del self.rows[was["id"]]
            return ""
        self.rows[now["id"]] = now
        before = was or {**now, "paid_at": None}
        kept = before["paid_at"] is None or before["paid_at"] == now["paid_at"]
        same = before["parameters"] == now["parameters"]
        hold(kept and same, 6, f"the cast {now['id']} was {was}, and is {now}")
        return ""

    def begun(self, lot: Lot, steps: int) -> None:
        """Take in a batch of a cast of so many steps, with all its items."""
        row = lot.row
        before = [one for one in self.lots[row["cast_id"]] if one is not lot]
        self.lots[row["cast_id"]].append(lot)
        self.seen["cast resumed" if before else "cast begun"] += 1
        going = [one.row["id"] for one in before if one.row["state"] not in BATCH_FINAL]
        hold(not going, 5, f"the cast {row['cast_id']} is made twice: {going} and {row['id']}")
        made = {step for one in before for step in _made(one)}
        missing = [step for step in range(1, steps + 1) if step not in made]
        told = sorted(item["step"] for item in lot.items.values())
        hold(told == missing, 5, f"{row['id']} makes {told} of a cast, and {missing} are missing")

    def check(self, lot: Lot) -> None:
        """Check one batch of a cast: nothing is made before what it is made from."""
        for item in lot.items.values():
            needs = [lot.items[name]["state"] for name in item["needs"]]
            name = f"step {item['step']} of {lot.row['id']} is {item['state']}"
            if item["state"] in MADE_FROM:
                hold(set(needs) <= {"completed"}, 6, f"{name}, and is made from {needs}")
            if item["state"] == "waiting":
                gone = set(needs) & {*LOST, "cancelled"}
                hold(needs and not gone, 6, f"{name}, and what it needs is {needs}")
                hold(set(needs) != {"completed"}, 6, f"{name}, and all that it needs is made")


def lost_with(lot: Lot, item: Row) -> bool:
    """Say whether something was lost, or cancelled, that an item was to be made from."""
    needs = [lot.items[name]["state"] for name in item["needs"]]
    return bool(set(needs) & {*LOST, "cancelled"})


def _made(lot: Lot) -> list[int]:
    return [item["step"] for item in lot.items.values() if item["state"] == "completed"]
