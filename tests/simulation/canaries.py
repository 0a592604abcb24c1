"""What must hold of canaries: from workers.md, a second time.

The house orders an item whose answer it knows, and pays for it like any buyer. A worker that brings
something else is banned, and loses what is held back of its pay, never what is free: those whom it
has worked for of late have that back, with what the house has had of it, and nobody has more back
than he was charged.
"""

from collections import Counter
from collections.abc import Callable, Mapping

from tests.simulation.ledger import Ledger
from tests.simulation.makers import Said, sha
from tests.simulation.network import Network
from tests.simulation.people import ASSETS, spent_on
from tests.simulation.rows import BATCH_FINAL, Lot, Purse, Row, hold
from tests.simulation.shelf import anew, look_of
from tests.simulation.workbench import words

ARCS = {(None, "given"), *(("given", end) for end in ("passed", "failed", "void"))}
SAT = {"msat": 1_000, "microusdc": 1}  # the least that is sent back


class Canaries:
    """Canaries as they were witnessed, with what was forfeited by them and who has that."""

    def __init__(
        self, ledger: Ledger, network: Network, said: Said, purses: Mapping[str, Purse]
    ) -> None:
        self._ledger, self._network, self._said = ledger, network, said
        self._lots, self._purses = network.lots, purses
        self.rows: dict[str, Row] = {}
        self.amends: dict[str, Row] = {}
        self._failed: list[tuple[str, str, int, int]] = []  # of late: what was lost, and added
        self.seen: Counter[str] = Counter()
        self._house: list[Lot] = []  # that has not ended,
        self._spent_msat = 0  # and what those have cost that have
        self._pots: Counter[tuple[str, str]] = Counter()  # by canary and asset
        self._rest: Counter[str] = Counter()  # of all that was forfeited, by asset
        self.takers: dict[str, Callable[[Row | None, Row | None], str]] = {
            "canary": self._canary,
            "amends": self._amends,
        }

    def _canary(self, was: Row | None, now: Row | None) -> str:
        hold(now is not None, 7, f"the canary {was} was deleted")
        assert now is not None
        self.rows[now["item_id"]] = now
        lot, item = self._lots.item_of(now["item_id"])
        before, name = was["state"] if was else None, f"canary {now['item_id']}: {now['state']}"
        hold(lot.row["funding"] == "house", 4, f"{name}, and somebody has bought it")
        if before == now["state"]:
            return str(lot.row["id"])
        hold((before, now["state"]) in ARCS, 6, f"{name} after {before}")
        self.seen[f"canary {now['state']}"] += 1
        self._network.asked[now["worker_id"]] += 1 if was is None else -1
        if was is None:
            self._house.append(lot)
        else:
            right = self._right(item)
            hold(now["state"] in (right, "void"), 6, f"{name}, and it should be {right}")
        if now["state"] == "failed":
            self._forfeit(now)
        return str(lot.row["id"])

    def _right(self, item: Row) -> str:
        """Return what a canary should be judged, by what was truly brought for it."""
        if item["state"] != "completed":
            return "void"
        paid, kept = self._network.earnings[item["id"]], self._lots.files[item["artifact"]]
        brought = self._said.brought[(item["id"], 1), paid["worker_id"]].values()
        [shown] = {anew(data) for data in brought if sha(anew(data)) == kept["sha256"]}
        asked = anew(words(item["asked"]).encode())
        return "passed" if look_of(shown) == look_of(asked) else "failed"

    def _forfeit(self, canary: Row) -> None:
        hand = self._network.hands[canary["worker_id"]]
        self._network.caught[canary["worker_id"]] += 1
        for asset in ASSETS:
            lost, told = hand.held_back(asset), canary[f"forfeited_{asset}"]
            hold(lost == told, 2, f"{canary['worker_id']} loses {told} {asset}, and held {lost}")
            hand.forfeited[asset] += lost
            added = canary[f"added_{asset}"]
            self._lots.income[asset] -= added
            self._pots[canary["item_id"], asset] += lost + added
            self._rest[asset] += lost + added
            self._failed.append((canary["item_id"], asset, lost, added))
            self.seen[f"forfeited in {asset}"] += lost

    def _amends(self, was: Row | None, now: Row | None) -> str:
        hold(now is not None, 7, f"the amends {was} were deleted")
        assert now is not None
        self.amends[now["id"]] = now
        lot, asset, amount = self._lots.lots[now["batch_id"]], now["asset"], now["amount"]
        name = f"{amount} {asset} of amends for {now['batch_id']}"
        hold(asset == lot.asset, 2, f"{name}, which was paid for in {lot.asset}")
        if was is None:
            self._pots[now["canary_id"], asset] -= amount
            hold(self._pots[now["canary_id"], asset] >= 0, 2, f"{name} are more than was forfeited")
            worker = self.rows[now["canary_id"]]["worker_id"]
            charged = sum(
                int(item["share_amount"])
                for item in lot.items.values()
                if (paid := self._network.earnings.get(item["id"])) and paid["worker_id"] == worker
            )
            hold(amount < charged + SAT[asset], 2, f"{name}, and {charged} were charged")
        elif was["state"] != now["state"]:
            hold((was["state"], now["state"]) == ("due", "made"), 6, f"{name} were {was['state']}")
            self._made(lot, asset, amount)
        return str(now["batch_id"])

    def _made(self, lot: Lot, asset: str, amount: int) -> None:
        """Take in that a buyer has amends: where the payment came from."""
        self._rest[asset] -= amount
        self.seen[f"amends in {asset}"] += amount
        row, patrons = lot.row, self._network.people.patrons
        if row["session_id"]:
            self._purses[row["session_id"]].amends_msat += amount
        elif row["funding"] == "account" or self._is_little(row, amount):
            patrons[row["account_id"]].shares[asset] += amount
        else:
            lot.sent_back += amount

    @staticmethod
    def _is_little(batch: Row, amount: int) -> bool:
        """Say whether so much in USDC is kept on its payer's balance."""
        return bool(batch["funding"] == "x402" and batch["account_id"] and amount < 10_000)

    # ------------------------------------------------------------------ what must hold

    def check(self) -> None:
        """Check what canaries have cost, and what is left of what was forfeited."""
        over = [lot for lot in self._house if lot.row["state"] in BATCH_FINAL]
        self._house = [lot for lot in self._house if lot not in over]
        self._spent_msat += sum(map(spent_on, over))
        self._ledger.holds("expense:canaries", self._spent_msat + sum(map(spent_on, self._house)))
        for asset in ASSETS:
            self._ledger.holds("revenue:forfeits", self._rest[asset], asset)
        for canary_id, asset, lost, added in self._failed:
            mine = [
                int(row["amount"])
                for row in self.amends.values()
                if (row["canary_id"], row["asset"]) == (canary_id, asset)
            ]
            right, name = max(0, sum(mine) - lost), f"to {lost} {asset} of {canary_id}"
            hold(added == right, 2, f"{name} the house adds {added}, and {right} are needed")
        self._failed.clear()

    def is_under_way(self) -> bool:
        """Say whether anything is to be judged or to be made good."""
        given = any(row["state"] == "given" for row in self.rows.values())
        return given or any(row["state"] == "due" for row in self.amends.values())

    def settle(self) -> None:
        """Check, in calm weather, that whoever is to have amends has them."""
        due = [name for name, row in self.amends.items() if row["state"] != "made"]
        hold(not due, 7, f"the amends {due} are due for ever")
        given = [name for name, row in self.rows.items() if row["state"] == "given"]
        hold(not given, 7, f"the canaries {given} are judged never")
