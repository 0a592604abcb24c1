"""What must hold of batches, their items and the leases on them: from market.md, a second time.

Nothing is charged that was not delivered, nothing is delivered twice, nobody is given the same item
again; and what a maker was answered is what is written.
"""

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil

from tests.simulation.casts import Casts, lost_with
from tests.simulation.clock import Clock
from tests.simulation.ledger import Ledger
from tests.simulation.makers import Said, sha
from tests.simulation.minds import SimulatedOracle
from tests.simulation.people import People, author_share
from tests.simulation.purged import SKEW, Purged
from tests.simulation.rows import (
    BATCH_ARCS,
    BATCH_FINAL,
    ITEM_ARCS,
    ITEM_FINAL,
    LEASE_ARCS,
    LOST,
    Lot,
    Row,
    hold,
)
from tests.simulation.shelf import Shelf, anew
from tests.simulation.wishes import Order, Wishes
from tests.simulation.workbench import words

MOST_TRIES = 3
HELD = ("claimed", "processing")
LEASES_KEPT = timedelta(days=2) - SKEW  # after their batch has ended


class Lots:
    """Batches, items, leases and files as they were witnessed."""

    def __init__(
        self,
        ledger: Ledger,
        purged: Purged,
        wishes: Wishes,
        oracle: SimulatedOracle,
        clock: Clock,
        said: Said,
        shelf: Shelf,
        people: People,
    ) -> None:
        self.people, self.casts = people, Casts()
        self._ledger, self._purged, self._wishes = ledger, purged, wishes
        self._oracle, self._clock, self._said, self._shelf = oracle, clock, said, shelf
        self.lots: dict[str, Lot] = {}
        self.files: dict[str, Row] = {}
        self.seen: Counter[str] = Counter()  # what has become of items and leases, for a report
        self.income: Counter[str] = Counter()  # by asset
        self.orders: dict[str, dict[str, Row]] = defaultdict(dict)  # by batch, which comes later
        self._by_tag: dict[str, str] = {}
        self._lot_of: dict[str, str] = {}  # items' batches
        self._begun: list[Lot] = []

    # ------------------------------------------------------------------ what is witnessed

    def batch(self, was: Row | None, now: Row | None) -> str:
        """Take in a change of a batch; return its id."""
        if now is None:
            assert was is not None
            lot = self.lots.pop(was["id"])
            self.people.left(lot)
            hold(not lot.items, 7, f"batch {was['id']} was purged, and its items were not")
            self._purged.purge(lot)
            return str(was["id"])
        batch_id, before = str(now["id"]), was["state"] if was else None
        if was is None:
            self._purged.begin(now)
            self.lots[batch_id] = Lot(now, orders=self.orders[batch_id])
        lot = self.lots[batch_id]
        lot.row = now
        name = f"batch {batch_id}: {before} → {now['state']}"
        if was is not None and before in BATCH_FINAL and not self._purged.is_restored(batch_id):
            changed = {field for field in now if now[field] != was[field]}
            rest = changed - {"version", "updated_at", "purged_at"}
            hold(not rest, 6, f"{name}, and changed {sorted(rest)}")
        more = now["charged_amount"] - (was["charged_amount"] if was else 0)
        self.income[now["asset"]] += more
        if before == now["state"]:
            return batch_id
        is_back = was is None and self._purged.is_restored(batch_id)
        is_known = (before, now["funding"], now["state"]) == (None, "house", "processing")
        hold((before, now["state"]) in BATCH_ARCS or is_back or is_known, 6, name)
        told = was is None or now["version"] > was["version"]
        hold(told, 6, f"{name}, and nobody was told")
        self.seen[f"batch {now['state']}"] += 1
        lot.was_begun |= now["state"] == "queued"
        if was is None and not is_back and now["funding"] != "house":
            self._begun.append(lot)
            self.people.begun(lot)
        return batch_id

    def item(self, was: Row | None, now: Row | None) -> str:
        """Take in a change of an item; return the id of its batch."""
        row = now or was
        assert row is not None
        item_id, batch_id = str(row["id"]), str(row["batch_id"])
        lot = self.lots[batch_id]
        if now is None:
            unpaid = lot.row["state"] == "cancelled" and not lot.received_msat
            hold(unpaid, 7, f"item {item_id} was purged, and its batch was paid for")
            del lot.items[item_id]
            return batch_id
        lot.items[item_id], self._lot_of[item_id] = now, batch_id
        before = was["state"] if was else None
        name = f"item {item_id}: {before} → {now['state']}"
        if was is not None and before in ITEM_FINAL:
            changed = sorted(field for field in now if now[field] != was[field])
            hold(not changed, 6, f"{name}, and it had ended: changed {changed}")
        if before == now["state"]:
            return batch_id
        is_known = lot.row["funding"] == "house" and (before, now["state"]) == (None, "claimed")
        hold(is_known or (before, now["state"]) in ITEM_ARCS, 6, name)
        if now["state"] in HELD:
            hold(lot.is_under_way, 4, f"{name}, and its batch is {lot.row['state']}")
        if now["state"] == "completed":
            self.income[lot.asset] -= author_share(lot, now)
            self.people.delivered(lot, now)
        if now["state"] in ITEM_FINAL:
            self.seen[f"item {now['state']}"] += 1
        return batch_id

    def lease(self, was: Row | None, now: Row | None) -> str:
        """Take in a change of a lease; return the id of its batch."""
        row = now or was
        assert row is not None
        batch_id = self._lot_of[row["item_id"]]
        if now is None:
            ended = self.lots[batch_id].row["completed_at"]
            is_old = ended is not None and self._clock() - time_of(ended) >= LEASES_KEPT
            hold(is_old, 7, f"the lease {was} was deleted, and its batch ended at {ended}")
            del self.lots[batch_id].leases[row["item_id"], row["number"]]
            return batch_id
        self.lots[batch_id].leases[now["item_id"], now["number"]] = now
        before = was["state"] if was else None
        name = f"lease {now['number']} of {now['item_id']}: {before} → {now['state']}"
        if before == now["state"]:
            hold(now["state"] == "held", 6, f"{name}, and it had ended")
            return batch_id
        hold((before, now["state"]) in LEASE_ARCS, 6, name)
        self.seen[f"lease {now['state']}"] += 1
        if now["state"] == "lapsed":
            due = self._clock() >= time_of(now["until"])
            hold(due, 6, f"{name}, and its holder had time until {now['until']}")
        if now["state"] == "done":
            self._check_done(now, name)
        return batch_id

    def item_of(self, item_id: str) -> tuple[Lot, Row]:
        """Return an item, and its batch."""
        lot = self.lots[self._lot_of[item_id]]
        return lot, lot.items[item_id]

    def _check_done(self, lease: Row, name: str) -> None:
        which, worker = (lease["item_id"], lease["number"]), lease["worker"]
        if lease["sha256"] is None:
            hold((which, worker) in self._said.declined, 6, f"{name}, and {worker} said nothing")
            return
        brought = self._said.brought[which, worker]
        hold(lease["sha256"] in brought, 6, f"{name}, and {worker} brought {sorted(brought)}")

    def artifact(self, was: Row | None, now: Row | None) -> None:
        """Take in a file: its bytes were there before."""
        hold(was is None and now is not None, 7, f"the file {was} was changed")
        assert now is not None
        self.files[now["id"]] = now
        self._check_kept(now)

    def _check_kept(self, file: Row) -> None:
        kept = self._shelf.files.get(file["id"])
        hold(kept is not None, 7, f"the file {file['id']} has a row, and no bytes")
        assert kept is not None
        hold(sha(kept.data) == file["sha256"], 7, f"the file {file['id']} is another")

    # ------------------------------------------------------------------ what must hold

    def check(self) -> None:
        """Check the income, what was begun, and what makers were answered."""
        for asset, income in self.income.items():
            self._ledger.holds("revenue:media", income, asset)
        for lot in self._begun:
            self._check_begun(lot)
        self._begun.clear()
        for which, sha256 in self._said.taken:
            lease = self.lots[self._lot_of[which[0]]].leases[which]
            right = (lease["state"], lease["sha256"]) == ("done", sha256)
            hold(right, 6, f"{which} was told that it is taken, and is {lease}")
        self._said.taken.clear()
        for which in self._said.refused:
            lease = self.lots[self._lot_of[which[0]]].leases[which]
            hold(lease["sha256"] is None, 6, f"{which} was told that it is lost, and is {lease}")
        self._said.refused.clear()

    def _check_begun(self, lot: Lot) -> None:
        """Check that a batch is what its buyer ordered, at the price of the day."""
        batch_id, items = lot.row["id"], sorted(lot.items.values(), key=_place)
        hold(items, 4, f"batch {batch_id} has no items")
        lot.tag = words(items[0]["asked"]).partition(" ")[0]
        order = self._wishes.orders.get(lot.tag)
        hold(order is not None, 4, f"nobody ordered the batch {batch_id}")
        assert order is not None
        if order.spell is not None:
            self.casts.begun(lot, len(order.prices_microusd))
        if not order.in_usdc:
            self._once(lot)
        in_usdc = lot.asset == "microusdc"
        right = in_usdc == order.in_usdc or order.account_id is not None
        hold(right, 4, f"{batch_id} is in {lot.asset}")
        paid_by = lot.row["account_id"] if lot.row["funding"] == "account" else None
        hold(paid_by == order.account_id, 4, f"{batch_id} is paid by the account {paid_by}")
        hold(lot.row["session_id"] == order.session_id, 4, f"{batch_id} is paid by another")
        self._check_price(lot, items, order)
        links = set(lot.row["budgets"] or ())
        hold(links == set(order.links), 2, f"batch {batch_id} spends {links}")

    def _once(self, lot: Lot) -> None:
        """Check that nothing else was begun for the same wish; a cast may be resumed."""
        batch_id = lot.row["cast_id"] or lot.row["id"]
        before = self._by_tag.setdefault(lot.tag, batch_id)
        hold(before == batch_id, 5, f"{lot.tag} was wanted once, and is {before} and {batch_id}")

    def _check_price(self, lot: Lot, items: list[Row], order: Order) -> None:
        weights = list(order.prices_microusd)
        if order.spell is not None:
            weights = [weights[item["step"] - 1] for item in items]
        if lot.asset == "microusdc":
            said = [item["share_amount"] for item in items]
            hold(said == weights, 6, f"{lot.tag} has the shares {said}")
            hold(lot.row["price_amount"] == sum(said), 6, f"{lot.tag} costs not {sum(said)}")
            return
        quote, price, name = lot.row["quote"], lot.row["price_amount"], f"batch {lot.row['id']}"
        said = [f"{lot.tag} {item['step'] or item['place']}" for item in items]
        hold([words(item["asked"]) for item in items] == said, 6, f"{name} has other items")
        bitcoin = quote["microusd_per_btc"]
        honest = self._oracle.lowest <= bitcoin <= self._oracle.highest
        hold(honest, 6, f"{name} has a bitcoin price that no honest source named")
        right = max(1, ceil(Fraction(sum(weights), bitcoin) * 10**8)) * 1_000
        hold(price == right, 6, f"{name} costs {price} msat, not {right}")
        most = order.most_msat
        hold(most is None or price <= most, 6, f"{name} costs {price}, over {most}")
        shares = [price * weight // sum(weights) for weight in weights]
        shares[0] += price - sum(shares)
        said_shares = [item["share_amount"] for item in items]
        hold(said_shares == shares, 6, f"{name} shares {said_shares}, not {shares}")

    def check_lot(self, lot: Lot) -> None:
        """Check one batch: its money, and that it counts its items right."""
        row, rests = lot.row, lot.rests_msat
        name = f"batch {row['id']} ({row['state']})"
        self._ledger.holds(f"batch:{row['id']}", rests, lot.asset)
        if row["funding"] == "x402" and lot.is_under_way:
            self._once(lot)  # of several orders for one wish, one is settled in time
        states = Counter(item["state"] for item in lot.items.values())
        counted = (row["items"], row["delivered"], row["failed"], row["cancelled"])
        lost = sum(states[state] for state in LOST)
        there = (len(lot.items), states["completed"], lost, states["cancelled"])
        hold(counted == there, 6, f"{name} counts {counted}, and there are {there}")
        charged = lot.earned_msat
        hold(row["charged_amount"] == charged, 6, f"{name} charges {row['charged_amount']}")
        ended = sum(there[1:]) == there[0]
        hold(ended or row["state"] not in BATCH_FINAL, 6, f"{name}, and items of it are open")
        hold(not ended or not lot.is_under_way, 6, f"{name}, and all of its items have ended")
        self._check_end(lot, name, there)
        if row["cast_id"] is not None:
            self.casts.check(lot)
        if row["purged_at"] is None:
            for item in lot.items.values():
                self._check_item(lot, item)
        else:  # what was made was looked at before who has made it was forgotten
            hold(
                not lot.leases, 7, f"{name} was purged, and {len(lot.leases)} leases of it were not"
            )
        if row["funding"] in ("session", "account", "house"):
            hold(not lot.invoices and not lot.payouts, 7, f"{name} has its own money")
            return
        right = lot.received_msat == rests + charged + lot.owed_msat + lot.kept
        hold(right, 6, f"{name} received {lot.received_msat}, {rests} rest, {charged} are charged")
        paid = [
            one
            for one in (*lot.invoices.values(), *lot.orders.values())
            if one["state"] == "settled"
        ]
        begun = row["state"] in ("queued", "processing", "completed", "failed")
        hold(paid or not begun, 4, f"{name}, and it was never paid for")
        hold(
            not (paid and row["state"] == "awaiting_payment"), 4, f"{name} waits for what was paid"
        )

    def _check_end(self, lot: Lot, name: str, there: tuple[int, int, int, int]) -> None:
        _, delivered, _, cancelled = there
        if lot.row["cast_id"] is not None and not lot.row["called_off"]:
            cancelled = 0  # with what they were to be made from
        match lot.row["state"]:
            case "completed":
                hold(delivered and not cancelled, 6, f"{name}, and it has {there}")
            case "failed":
                hold(not delivered and not cancelled, 6, f"{name}, and it has {there}")
            case "queued" | "awaiting_payment":
                hold(not any(there[1:]), 6, f"{name}, and it has {there}")

    def _check_item(self, lot: Lot, item: Row) -> None:
        leases, state = lot.leases_of(item["id"]), item["state"]
        name = f"item {item['id']} ({state})"
        numbers = [lease["number"] for lease in leases]
        hold(numbers == list(range(1, item["number"] + 1)), 6, f"{name} has the leases {numbers}")
        workers = [lease["worker"] for lease in leases]
        hold(len(set(workers)) == len(workers), 6, f"{name} was given twice to one of {workers}")
        held = [lease for lease in leases if lease["state"] == "held"]
        hold(len(held) == (state in HELD), 6, f"{name} is held by {len(held)}")
        brought = [lease for lease in leases if lease["sha256"]]
        hold(len(brought) == (state == "completed"), 6, f"{name} was brought {len(brought)} times")
        silent = [lease for lease in leases if lease["state"] == "lapsed"]
        hold(
            len(silent) <= item["tries"] <= MOST_TRIES, 6, f"{name} was tried {item['tries']} times"
        )
        hold((state == "dead_letter") <= (item["tries"] == MOST_TRIES), 6, f"{name} too early")
        declined = [one for one in leases if one["state"] == "done" and one["sha256"] is None]
        hold(bool(declined) == (state == "failed"), 6, f"{name}, and {len(declined)} declined it")
        if state == "cancelled":
            never_begun = all(one["state"] == "cancelled" for one in lot.items.values())
            lost = lost_with(lot, item)
            hold(
                lot.row["called_off"] or never_begun or lost, 6, f"{name}, and its buyer wanted it"
            )
        if brought:
            self._check_file(item, brought[0], name)

    def _check_file(self, item: Row, lease: Row, name: str) -> None:
        file = self.files.get(item["artifact"])
        hold(file is not None and file["sha256"] == item["sha256"], 7, f"{name} has {file}")
        data = self._said.brought[(item["id"], lease["number"]), lease["worker"]]
        made = sha(anew(data[lease["sha256"]]))
        hold(item["sha256"] == made, 6, f"{name} is {item['sha256']}, and {made} was brought")

    def recount(self) -> None:
        """Check that the bytes are there of all that is kept."""
        for file in self.files.values():
            if time_of(file["expires_at"]) > self._clock.true + 2 * SKEW:
                self._check_kept(file)


def time_of(text: str) -> datetime:
    """Return a moment as a witnessed row has it."""
    return datetime.fromisoformat(text)


def _place(item: Row) -> int:
    return int(item["place"])
