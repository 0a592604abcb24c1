"""What must hold of workers of the network, and of their pay: from workers.md, a second time.

A worker is paid its part of what was charged, for a result of its own that was taken, once. Half of
a new worker's pay is held back, until it has delivered twenty items and is a week old. Who is given
nothing is given nothing, and nobody holds more than he may.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.simulation.clock import Clock
from tests.simulation.ledger import Ledger
from tests.simulation.lots import Lots, time_of
from tests.simulation.makers import Said
from tests.simulation.people import ASSETS, author_share
from tests.simulation.purged import SKEW
from tests.simulation.rows import Lot, Row, hold
from tests.simulation.workbench import PAYS_PCT

NEW_ITEMS, NEW_FOR = 20, timedelta(days=7)
HELD_AT_ONCE = {True: 8, False: 2}  # of a worker that is trusted, and of one that is new
CHECKED_AT_ONCE = 4  # of a new one that has passed a canary
MOST_SILENT = 3
GIVEN_ITEMS = ("online",)
ARCS = {
    (None, "online"),
    *((was, now) for was in ("online", "draining", "paused") for now in ("online", "draining")),
    *((was, "paused") for was in ("online", "draining", "banned")),
    *((was, "banned") for was in ("online", "draining", "paused")),
}
Which = tuple[str, int]


@dataclass(eq=False)
class Hand:
    """One worker, as it was witnessed, with what it holds and what it was paid."""

    row: Row
    born: datetime  # by the true clock
    earnings: list[Row] = field(default_factory=list)
    holds: set[Which] = field(default_factory=set)
    forfeited: Counter[str] = field(default_factory=Counter)  # by asset

    @property
    def is_trusted(self) -> bool:
        """Say whether nothing of its pay is held back."""
        return self.row["trusted_at"] is not None

    def held_back(self, asset: str) -> int:
        """Return what must be held back of its pay."""
        if self.is_trusted:
            return 0
        held = [row["held_amount"] for row in self.earnings if row["asset"] == asset]
        return int(sum(held)) - self.forfeited[asset]


class Network:
    """Workers, and what each was paid."""

    def __init__(self, ledger: Ledger, lots: Lots, clock: Clock, said: Said) -> None:
        self._ledger, self.lots, self.people = ledger, lots, lots.people
        self.caught: Counter[str] = Counter()  # workers, by canaries that they failed
        self.asked: Counter[str] = Counter()  # by canaries of theirs that are to be judged
        self._clock, self._said = clock, said
        self.has_canaries = False  # among what workers are given
        self.hands: dict[str, Hand] = {}
        self.earnings: dict[str, Row] = {}  # by item
        self.seen: Counter[str] = Counter()
        self._wanted: dict[str, str] = {}  # who must have been paid for an item
        self._touched: set[str] = set()
        self._operated: Counter[str] = Counter()  # bans and readmissions that are written
        self._banned: set[str] = set()  # of late
        self.takers: dict[str, Callable[[Row | None, Row | None], str]] = {
            "worker": self._worker,
            "earning": self._earning,
        }

    # ------------------------------------------------------------------ what is witnessed

    def _worker(self, was: Row | None, now: Row | None) -> str:
        hold(now is not None, 7, f"the worker {was} was deleted")
        assert now is not None
        worker_id, name = str(now["id"]), f"worker {now['id']}"
        self._touched.add(worker_id)
        if was is None:
            self.hands[worker_id] = Hand(now, self._clock.true)
            hold((None, now["state"]) in ARCS, 6, f"{name} begins as {now['state']}")
            self.seen["worker registered"] += 1
            return str(now["account_id"])
        hand = self.hands[worker_id]
        kept = all(was[one] == now[one] for one in ("account_id", "sha256", "created_at"))
        hold(kept, 4, f"{name} was {was}, and is {now}")
        hold(was["delivered"] <= now["delivered"], 6, f"{name} has delivered less by now")
        if was["state"] != now["state"]:
            self._moved(worker_id, was["state"], now["state"])
        if was["trusted_at"] != now["trusted_at"]:
            hold(was["trusted_at"] is None, 6, f"{name} was trusted, and is {now}")
            self._freed(hand, now)
        hand.row = now
        return str(now["account_id"])

    def _moved(self, worker_id: str, before: str, after: str) -> None:
        name = f"worker {worker_id}: {before} → {after}"
        hold((before, after) in ARCS, 6, name)
        self.seen[f"worker {after}"] += 1
        if before == "banned":
            word = f"{worker_id} {after}"
            self._operated[word] += 1
            told = self._said.operated[word]
            hold(self._operated[word] <= told, 4, f"{name}, and its operator said so {told} times")
        if after == "banned":
            self._operated[f"{worker_id} banned"] += 1
            self._banned.add(worker_id)

    def _freed(self, hand: Hand, now: Row) -> None:
        """Take in that all of a worker's pay is free, as it is new no more."""
        name, age = f"worker {now['id']}", time_of(now["trusted_at"]) - time_of(now["created_at"])
        lived = self._clock.true - hand.born + SKEW
        enough = len(hand.earnings) >= NEW_ITEMS
        hold(enough, 2, f"{name} has all of its pay after {len(hand.earnings)} items")
        asked = self.asked[now["id"]]
        hold(not asked, 2, f"{name} has all of its pay, and {asked} canaries are to be judged")
        hold(min(age, lived) >= NEW_FOR, 2, f"{name} has all of its pay after {age}, {lived}")
        for asset in ASSETS:
            freed = hand.held_back(asset)
            self.people.patrons[now["account_id"]].shares[asset] += freed
            self.seen[f"pay freed in {asset}"] += freed
        self.seen["worker trusted"] += 1

    def _earning(self, was: Row | None, now: Row | None) -> str:
        hold(was is None and now is not None, 7, f"the earning {was} was changed: {now}")
        assert now is not None
        hand, name = self.hands[now["worker_id"]], f"the pay for {now['item_id']}"
        lot, item = self.lots.item_of(now["item_id"])
        hold(item["state"] == "completed", 4, f"{name} is paid, and it is {item['state']}")
        mine = [one for one in lot.leases_of(item["id"]) if one["worker"] == now["worker_id"]]
        taken = [one for one in mine if one["state"] == "done" and one["sha256"]]
        hold(taken, 4, f"{name} is paid to {now['worker_id']}, of whom nothing was taken")
        hold(taken[0]["id"], 4, f"{name} is paid, and the house's own has made it")
        pay = pay_for(lot, item)
        held = self._held_of(hand, pay)
        right = lot.asset, pay, held, item["lane"]
        told = now["asset"], now["amount"], now["held_amount"], now["lane"]
        hold(told == right, 2, f"{name} is {told}, and it is {right}")
        self.earnings[now["item_id"]] = now
        hand.earnings.append(now)
        self._touched.add(now["worker_id"])
        account_id = str(hand.row["account_id"])
        self.people.patrons[account_id].shares[lot.asset] += pay - held
        self.lots.income[lot.asset] -= pay
        self.seen[f"pay in {lot.asset}"] += pay
        self.seen["item paid for"] += 1
        return account_id

    def _held_of(self, hand: Hand, pay: int) -> int:
        """Return what is held back of a pay: all of it where the house could have seen what its
        worker makes, and has not."""
        if hand.is_trusted:
            return 0
        return pay if self.has_canaries and not hand.row["canaries_passed"] else pay // 2

    def lease(self, was: Row | None, now: Row | None) -> None:
        """Take in a change of a lease, of whomever it is."""
        if now is None:
            return
        _, item = self.lots.item_of(now["item_id"])
        which, name = (item["id"], now["number"]), f"lease {now['number']} of {item['id']}"
        if now["id"] is None:
            hold(not now["pay_pct"], 4, f"{name} is the house's, and is paid for")
            return
        hand = self.hands[now["worker"]]
        if was is None:
            self._given(hand, which, now, item)
        if now["state"] == "held":
            return
        hand.holds.discard(which)
        ends = was is None or was["state"] != now["state"]
        if ends and now["state"] == "done" and now["sha256"]:
            right = hand.row["state"] != "banned"
            hold(right, 4, f"{name} is taken from {now['worker']}, who is banned")
            self._wanted[item["id"]] = now["worker"]
            self.seen["late result paid"] += was is not None and was["state"] == "lapsed"

    def _given(self, hand: Hand, which: Which, lease: Row, item: Row) -> None:
        name = f"lease {lease['number']} of {item['id']}"
        state = hand.row["state"]
        hold(state in GIVEN_ITEMS, 4, f"{name} is given to {lease['worker']}, who is {state}")
        right = PAYS_PCT.get(item["lane"])
        hold(lease["pay_pct"] == right, 2, f"{name} pays {lease['pay_pct']} percent, not {right}")
        if self.lots.item_of(item["id"])[0].row["funding"] == "house":
            return  # whatever it holds beside it
        hand.holds.add(which)
        most = HELD_AT_ONCE[hand.is_trusted]
        if hand.row["canaries_passed"]:
            most = max(most, CHECKED_AT_ONCE)
        held = len(hand.holds)
        hold(held <= most, 6, f"{name} is one of {held} that {lease['worker']} holds, of {most}")
        self.seen["item lent out"] += 1

    # ------------------------------------------------------------------ what must hold

    def check(self) -> None:
        """Check who was to be paid, what is held back, and what workers were told of their pay."""
        for item_id, worker_id in self._wanted.items():
            paid = self.earnings.get(item_id)
            whose = None if paid is None else paid["worker_id"]
            hold(whose == worker_id, 2, f"{worker_id} has made {item_id}, and {whose} is paid")
        self._wanted.clear()
        for worker_id in sorted(self._banned):
            times, caught = self._operated[f"{worker_id} banned"], self.caught[worker_id]
            said = self._said.operated[f"{worker_id} banned"]
            hold(times <= said + caught, 4, f"{worker_id} is banned, and nobody said so")
        self._banned.clear()
        for worker_id in sorted(self._touched):
            self._check_hand(self.hands[worker_id])
        self._touched.clear()
        for item_id, worker_id, told in self._said.paid:
            paid = self.earnings.get(item_id)
            right = paid is not None and (paid["worker_id"], paid["amount"]) == (worker_id, told)
            hold(right, 2, f"{worker_id} was told {told} for {item_id}, and it is {paid}")
        self._said.paid.clear()

    def _check_hand(self, hand: Hand) -> None:
        row = hand.row
        name, made = f"worker {row['id']}", len(hand.earnings)
        hold(row["delivered"] == made, 6, f"{name} has delivered {row['delivered']}, not {made}")
        for asset in ASSETS:
            held, told = hand.held_back(asset), row[f"held_{asset}"]
            hold(held == told, 3, f"{name} holds {told} {asset}, and should hold {held}")
            self._ledger.holds(f"worker:{row['id']}", held, asset)
            lost, told = hand.forfeited[asset], row[f"forfeited_{asset}"]
            hold(lost == told, 3, f"{name} has lost {told} {asset}, and should have lost {lost}")
            earned = sum(each["amount"] for each in hand.earnings if each["asset"] == asset)
            told = row[f"earned_{asset}"]
            hold(earned == told, 3, f"{name} has earned {told} {asset}, and it is {earned}")
        silent = row["state"] == "online" and row["silent"] >= MOST_SILENT
        hold(not silent, 6, f"{name} was silent {row['silent']} times, and is given items")

    def recount(self) -> dict[str, list[Row]]:
        """Return what was witnessed, by table; and check that nobody is paid who is not there."""
        of_workers = {f"worker:{name}" for name in self.hands}
        kept = {name for name in self._ledger.kept if name.startswith("worker:")}
        strange = {name.partition(" in ")[0] for name in kept} - of_workers
        hold(not strange, 4, f"pay is held back for nobody: {sorted(strange)}")
        rows = [hand.row for hand in self.hands.values()]
        return {"worker": rows, "earning": list(self.earnings.values())}

    def _is_due(self, hand: Hand) -> bool:
        old = self._clock() - time_of(hand.row["created_at"]) >= NEW_FOR
        new_no_more = old and len(hand.earnings) >= NEW_ITEMS and hand.row["state"] != "banned"
        return new_no_more and not hand.is_trusted and not self.asked[hand.row["id"]]

    def is_due(self) -> bool:
        """Say whether anybody's pay is to be freed."""
        return any(map(self._is_due, self.hands.values()))

    def settle(self, sums: dict[str, int]) -> None:
        """Check, in calm weather, that nothing is held back any more that is due, and count what
        is: it is theirs."""
        for hand in self.hands.values():
            row, due = hand.row, self._is_due(hand)
            hold(not due, 7, f"the pay of worker {row['id']} is held for ever")
            hold(not hand.holds, 7, f"worker {row['id']} holds {sorted(hand.holds)} for ever")
            for asset, unit in (("msat", ""), ("microusdc", "microUSDC ")):
                held = hand.held_back(asset)
                sums[f"{unit}earned"] -= held
                sums[f"{unit}claimable"] += held


def pay_for(lot: Lot, item: Row) -> int:
    """Return what the worker is paid that has made an item: of what is not its author's."""
    charged = int(item["share_amount"]) - author_share(lot, item)
    return charged * PAYS_PCT[item["lane"]] // 100
