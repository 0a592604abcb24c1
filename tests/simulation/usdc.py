"""What must hold of signed orders in USDC, of buyers and of ours: from money.md, a second time.

An order settles only where the chain has moved it, and fails only where it never will. What we owe
moves once, to whom it is owed; and what the address holds is what the books say.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from payments.usdc.network import BASE_SEPOLIA
from payments.usdc.refund import refund_nonce
from tests.simulation.chain import DEPTH, OWN_MICROUSDC, SimulatedChain, Transfer
from tests.simulation.clock import Clock
from tests.simulation.ledger import Ledger
from tests.simulation.people import Patron, People
from tests.simulation.purged import AT_LEAST_KEPT
from tests.simulation.rows import InUsdc, Lot, Owner, Row, hold, owner_id_of

USDC = "microusdc"
ORDER_ARCS = {(None, "claimed"), ("claimed", "settled"), ("claimed", "failed")}


class Usdc:
    """Orders as they were witnessed, and the chain as it truly is."""

    def __init__(
        self, ledger: Ledger, chain: SimulatedChain, clock: Clock, house: str, people: People
    ) -> None:
        self._people = people
        self._ledger, self._chain, self._clock, self._house = ledger, chain, clock, house
        self.rows: dict[str, Row] = {}  # orders of buyers
        self.received = self.sent = 0
        self.seen: Counter[str] = Counter()

    # ------------------------------------------------------------------ what is witnessed

    def order(self, was: Row | None, now: Row | None) -> str:
        """Take in a change of a buyer's order; return whose it is: a job or a batch."""
        if now is None:
            assert was is not None
            name, ended = f"the order {was['id']}", datetime.fromisoformat(was["ended_at"])
            age = self._clock.true - ended
            hold(was["state"] == "failed" and age >= AT_LEAST_KEPT, 7, f"{name} was purged")
            del self.rows[was["id"]]
            return owner_id_of(was)
        self.rows[now["id"]] = now
        before = was["state"] if was else None
        if before == now["state"]:
            return owner_id_of(now)
        name = f"order {now['id']}: {before} → {now['state']}"
        hold((before, now["state"]) in ORDER_ARCS, 6, name)
        self.seen[f"order {now['state']}"] += 1
        _, _, rest = now["id"].partition(":")
        payer, nonce = rest.split(":")[1:]
        moved = self._chain.ever_moved(payer, nonce)
        if now["state"] == "settled":
            hold(moved is not None, 4, f"{name}, and it has moved nothing")
            assert moved is not None
            right = (moved.order.payee, moved.order.amount_microusdc)
            hold(right == (self._house, now["amount_microusdc"]), 5, f"{name}, and moved {right}")
            self.received += now["amount_microusdc"]
        if now["state"] == "failed":
            over = now["valid_before_s"] <= self._chain.now_s
            stays = moved is not None and moved not in self._chain.taken_back
            hold(over and not stays, 5, f"{name}, and it has moved {moved}, or may")
        return owner_id_of(now)

    def attempt(self, owner: InUsdc | Patron, was: Row | None, now: Row | None) -> None:
        """Take in a change of an order of ours for a payout."""
        hold(now is not None, 7, "an order of ours was deleted")
        assert now is not None
        owner.usdc_attempts[now["payout_id"], now["number"]] = now
        if was is None or was["outcome"] == now["outcome"]:
            return
        name = f"the order {now['number']} for {now['payout_id']}"
        hold(was["outcome"] == "live", 6, f"{name} ended twice")
        self.seen[f"refund {now['outcome']}"] += 1
        moved = self._moved(now["payout_id"])
        if now["outcome"] == "settled":
            hold(moved is not None, 5, f"{name} counts as paid, and moved nothing")
            self.sent += now["amount_microusdc"]
            return
        over = datetime.fromisoformat(now["expires_at"]) <= self._clock.true
        hold(over and moved is None, 5, f"{name} is owed again, and has moved {moved}, or may")

    def _moved(self, payout_id: str) -> Transfer | None:
        return self._chain.used.get((self._house, refund_nonce(BASE_SEPOLIA, payout_id)))

    # ------------------------------------------------------------------ what must hold

    def check_payout(self, owner: InUsdc | Patron, payout: Row) -> None:
        """Check what is owed in USDC, and its orders."""
        name = f"payout {payout['id']} ({payout['state']})"
        tries = [row for (of, _), row in owner.usdc_attempts.items() if of == payout["id"]]
        alive = [row for row in tries if row["outcome"] != "returned"]
        wanted = {"owed": 0, "in_flight": 1, "paid": 1}[payout["state"]]
        hold(len(alive) == wanted, 5, f"{name} has {len(alive)} orders")
        moved = self._moved(payout["id"])
        hold(moved is not None or payout["state"] != "paid", 5, f"{name}, and nothing moved")
        if moved is not None:
            order = moved.order
            right = f"evm:{BASE_SEPOLIA.caip2}:{order.payee}", order.amount_microusdc
            hold(right == (payout["refund_to"], payout["amount"]), 5, f"{name} moved {right}")

    def check(self) -> None:
        """Check what the books keep of USDC."""
        self._ledger.holds("rail:x402", self._books, USDC)

    @property
    def _books(self) -> int:
        return self.received + self._people.arrived_microusdc - self.sent

    def compare(self, owners: Iterable[Owner]) -> None:
        """Hold what the address truly has to the books."""
        settled = {name for name, row in self.rows.items() if row["state"] == "settled"}
        came = {
            f"{BASE_SEPOLIA.caip2}:{payer}:{nonce}": transfer.order.amount_microusdc
            for (payer, nonce), transfer in self._chain.used.items()
            if transfer.order.payee == self._house
        }
        lost = sum(self.rows[name]["amount_microusdc"] for name in settled - came.keys())
        arriving = sum(amount for name, amount in came.items() if name not in settled)
        paid = {
            payout["id"]
            for owner in owners
            for payout in owner.payouts.values()
            if payout["state"] == "paid" and payout["asset"] == USDC
        }
        known = {refund_nonce(BASE_SEPOLIA, name) for name in paid}
        leaving = sum(
            transfer.order.amount_microusdc
            for (payer, nonce), transfer in self._chain.used.items()
            if payer == self._house and nonce not in known
        )
        sent, books = self._people.unbooked(), self._books
        held = self._chain.held[self._house]
        right = OWN_MICROUSDC + books + arriving + sent - leaving - lost
        hold(held == right, 3, f"the address holds {held}, the books say {books} beside its own")

    @property
    def lost_microusdc(self) -> int:
        """What a facilitator has said came in, and the chain took back: the house bears it."""
        gone = [each.order for each in self._chain.taken_back if each.order.payee == self._house]
        return sum(order.amount_microusdc for order in gone)

    def is_short(self, since: datetime) -> bool:
        """Say whether the chain may have shown less than the books say since then: it has lost what
        came in, or has it in new blocks that are not deep yet.
        """
        again = self._chain.forked_at
        return self.lost_microusdc > 0 or (again is not None and again + DEPTH > since)

    def moved(self, owner: Owner) -> int:
        """Return what the chain has truly moved to who is owed it."""
        moved = (self._moved(payout_id) for payout_id in owner.payouts)
        return sum(each.order.amount_microusdc for each in moved if each is not None)

    def settle(self, owner: InUsdc, sums: dict[str, int]) -> None:
        """Check, in calm weather, where the money went that paid for a job or a batch in USDC."""
        owner_id = owner.row["id"]
        open_ = [row["id"] for row in owner.payouts.values() if row["state"] != "paid"]
        hold(not open_, 7, f"{open_} are owed in USDC for ever")
        received, earned, kept = owner.received_msat, owner.earned_msat, owner.kept
        if isinstance(owner, Lot):
            earned -= owner.sent_back
        refunded = self.moved(owner)
        name = f"for {owner.what} {owner_id} {received} were paid in USDC"
        right = received == earned + refunded + kept
        hold(right, 7, f"{name}, {earned} earned, {refunded} refunded, {kept} on a balance")
        sums["microUSDC paid"] += received
        sums["microUSDC earned"] += earned
        sums["microUSDC refunded"] += refunded
