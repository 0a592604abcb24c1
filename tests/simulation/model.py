"""What the books and the rows must say: written a second time, from money.md, not from the law.

It hears of every row that changed, in order, and knows what truly happened at the node and in the
agents' heads. Whatever does not fit raises Violation.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from tests.simulation.canaries import Canaries
from tests.simulation.chain import SimulatedChain
from tests.simulation.clock import Clock
from tests.simulation.deals import Deals
from tests.simulation.ledger import Ledger
from tests.simulation.lots import Lots
from tests.simulation.makers import Said
from tests.simulation.minds import SimulatedAgent, SimulatedOracle
from tests.simulation.network import Network
from tests.simulation.node import Node
from tests.simulation.owed import check_attempts, check_routing
from tests.simulation.people import Patron, People
from tests.simulation.prepaid import Prepaid
from tests.simulation.prices import Prices
from tests.simulation.promised import is_for, promised, waits
from tests.simulation.purged import Purged, is_unpaid
from tests.simulation.receivers import SimulatedReceivers
from tests.simulation.rows import (
    FIRST_STATES,
    INVOICE_ARCS,
    PAYOUT_ARCS,
    Deal,
    Lot,
    Owner,
    Purse,
    Row,
    Violation,
    hold,
    owner_id_of,
)
from tests.simulation.shelf import Shelf
from tests.simulation.told import Told
from tests.simulation.usdc import Usdc
from tests.simulation.wishes import Wishes

__all__ = ["Model", "Violation", "hold"]


class Model:
    """Every row as it was witnessed, and the sums that follow from them."""

    def __init__(
        self,
        node: Node,
        agent: SimulatedAgent,
        oracle: SimulatedOracle,
        wishes: Wishes,
        clock: Clock,
        said: Said,
        shelf: Shelf,
        chain: SimulatedChain,
        house: str,
        receivers: SimulatedReceivers,
    ) -> None:
        self._node = node
        self.ledger, self.purged = Ledger(), Purged(node, clock)
        self.prepaid = Prepaid(self.ledger, wishes, clock)
        self.people = People(self.ledger, wishes, chain)
        parts = (oracle, clock, said, shelf, self.people)
        self.market = Lots(self.ledger, self.purged, wishes, *parts)
        self._artifact = self.market.artifact
        self.usdc = Usdc(self.ledger, chain, clock, house, self.people)
        self.network = Network(self.ledger, self.market, clock, said)
        self._takers = self.people.takers | {"spell_cast": self.market.casts.cast}
        self.canaries = Canaries(self.ledger, self.network, said, self.prepaid.purses)
        self._takers |= self.network.takers | self.canaries.takers
        given = self.ledger, Prices(agent, oracle), self.purged, self.prepaid
        self.jobs = Deals(*given, self.people, self.market.orders)
        self.deals = self.jobs.rows
        self.staged: Counter[str] = Counter()  # promises that wait or are being kept, by name
        self.waiting: Counter[str] = Counter()  # of them, those that nobody has taken yet
        self.lost: set[str] = set()  # promises that the world took away
        self.ever_lost: set[str] = set()
        self.told = Told(receivers, self.owner, self.staged, self.lost)
        self._takers |= self.told.takers
        self.touched: set[str] = set()
        self.received_msat = self.sent_msat = self.fees_msat = 0
        self.withheld_msat = 0  # what payees bore of the fees

    def owners(self) -> Iterator[Owner]:
        """Yield every job, session, batch and account."""
        first, others = self.deals.values(), self.prepaid.purses.values()
        return chain(first, others, self.market.lots.values(), self.people.patrons.values())

    def seen(self) -> Counter[str]:
        """Return what has become of what was bought, for a report."""
        others = (self.usdc, self.people, self.told, self.jobs, self.network, self.canaries)
        market = self.market
        return sum((other.seen for other in others), market.seen + market.casts.seen)

    def is_unpaid(self) -> bool:
        """Say whether there is anything that nobody paid for, and that is not purged yet."""
        if any(row["state"] == "failed" for row in self.usdc.rows.values()):
            return True
        return any(is_unpaid(i) for owner in self.owners() for i in owner.invoices.values())

    def owner(self, owner_id: str) -> Owner | None:
        """Return a job, a session, a batch or an account."""
        kinds = (self.deals, self.prepaid.purses, self.market.lots, self.people.patrons)
        return next((kind[owner_id] for kind in kinds if owner_id in kind), None)

    # ------------------------------------------------------------------ what is witnessed

    def witness(self, name: str, was: Row | None, is_now: Row | None) -> None:
        """Take in one change of one row."""
        taker = self._takers.get(name)
        if taker is not None:
            self.touched.add(taker(was, is_now))
        else:
            getattr(self, f"_{name}")(was, is_now)

    def _job(self, was: Row | None, now: Row | None) -> None:
        self.touched |= self.jobs.job(was, now)

    def _session(self, was: Row | None, now: Row | None) -> None:
        if now is None:
            assert was is not None
            self.purged.purge(self.prepaid.purses.pop(was["id"]))
            return
        if was is None:
            self.purged.begin(now)
        self.touched.add(self.prepaid.session(was, now))

    def _hold(self, was: Row | None, now: Row | None) -> None:
        if session_id := self.prepaid.hold(was, now):
            self.touched.add(session_id)

    def _allowance(self, was: Row | None, now: Row | None) -> None:
        self.touched.add(self.prepaid.allowance(now))

    def _free_day(self, was: Row | None, now: Row | None) -> None:
        self.prepaid.free_day(now)

    def _owner_of(self, row: Row) -> Owner:
        self.touched.add(owner_id := owner_id_of(row))
        owner = self.owner(owner_id)
        hold(owner, 7, f"{row['id']} is nobody's")
        assert owner is not None
        return owner

    def _invoice(self, was: Row | None, now: Row | None) -> None:
        if now is None:
            assert was is not None
            self.purged.purge_invoice(was)
            del self._owner_of(was).invoices[was["id"]]
            return
        self._owner_of(now).invoices[now["id"]] = now
        before = was["state"] if was else None
        if before == now["state"]:
            return
        name = f"invoice {now['id']}: {before} → {now['state']}"
        is_first = now["state"] == FIRST_STATES[now["purpose"]] or self.purged.comes_back(now)
        begins = before is None and is_first
        hold(begins or (before, now["state"]) in INVOICE_ARCS, 6, name)
        if now["state"] == "settled":
            truth = self._node.invoices.get(now["payment_hash"])
            hold(truth, 4, f"{name}, and the node knows no such invoice")
            assert truth is not None
            hold(is_for(truth.key, now), 4, f"{name}, and the node made it for {truth.key}")
            hold(
                truth.received_msat == now["received_msat"],
                5,
                f"{name} for {now['received_msat']}, and the node received {truth.received_msat}",
            )
            self.received_msat += now["received_msat"]

    def _lapsed_invoice(self, was: Row | None, now: Row | None) -> None:
        self.purged.slim_row(was, now)

    def _payout(self, was: Row | None, now: Row | None) -> None:
        hold(now is not None, 7, "a payout was deleted")
        assert now is not None
        self._owner_of(now).payouts[now["id"]] = now
        before = was["state"] if was else None
        if was is not None:
            hold(was["amount"] == now["amount"], 7, f"payout {now['id']} changed amount")
        if before != now["state"]:
            name = f"payout {now['id']}: {before} → {now['state']}"
            hold((before, now["state"]) in PAYOUT_ARCS, 6, name)

    def _payout_attempt(self, was: Row | None, now: Row | None) -> None:
        hold(now is not None, 7, "an attempt was deleted")
        assert now is not None
        payment_hash, owner_id = now["payment_hash"], now["payout_id"].partition(":")[0]
        self.touched.add(owner_id)
        owner = self.owner(owner_id)
        assert owner is not None
        owner.attempts[now["payout_id"], now["number"]] = now
        if was is None:
            to = self._node.wallets.by_hash.get(payment_hash)
            hold(to, 5, f"an attempt of {now['payout_id']} goes to no wallet that there is")
            hold(payment_hash not in self._node.invoices, 5, "a refund goes to ourselves")
            return
        if was["outcome"] == now["outcome"]:
            return
        hold(was["outcome"] == "live", 6, f"the attempt {payment_hash} ended twice")
        sent = self._node.sent.get(payment_hash)
        if now["outcome"] == "settled":
            hold(sent and sent.settled, 5, f"{now['payout_id']} counts as paid, and was not")
            assert sent is not None
            hold(sent.fee_msat == now["fee_msat"], 3, f"the fee of {now['payout_id']} is another")
            self.sent_msat += sent.to.amount_msat
            self.fees_msat += sent.fee_msat
            self.withheld_msat += owner.routing_msat(now)
        else:
            hold(
                not (sent and sent.will_settle),
                5,
                f"{now['payout_id']} is owed again, and its attempt {now['number']} was paid or"
                " will be",
            )

    def _usdc_authorization(self, was: Row | None, now: Row | None) -> None:
        row = now or was
        assert row is not None
        self.touched.add(owner_id := self.usdc.order(was, now))
        orders = self.market.orders[owner_id]
        if now is None:
            del orders[row["id"]]
        else:
            orders[row["id"]] = now

    def _usdc_attempt(self, was: Row | None, now: Row | None) -> None:
        owner_id = str((now or was or {})["payout_id"]).partition(":")[0]
        self.touched.add(owner_id)
        owner = self.owner(owner_id)
        assert isinstance(owner, Deal | Lot | Patron)
        self.usdc.attempt(owner, was, now)

    def _batch(self, was: Row | None, now: Row | None) -> None:
        self.touched.add(batch_id := self.market.batch(was, now))
        if now is not None and now["session_id"]:
            self.touched.add(now["session_id"])
            self.prepaid.purses[now["session_id"]].lots[batch_id] = self.market.lots[batch_id]

    def _item(self, was: Row | None, now: Row | None) -> None:
        self.touched.add(self.market.item(was, now))

    def _lease(self, was: Row | None, now: Row | None) -> None:
        self.touched.add(self.market.lease(was, now))
        self.network.lease(was, now)

    def _account(self, was: Row | None, now: Row | None) -> None:
        self.ledger.account(was, now)

    def _account_part(self, was: Row | None, now: Row | None) -> None:
        self.ledger.account(was, now)

    def _entry(self, was: Row | None, now: Row | None) -> None:
        self.ledger.entry(was, now)

    def _posting(self, was: Row | None, now: Row | None) -> None:
        self.touched.add(self.ledger.posting(was, now))

    def _procrastinate_jobs(self, was: Row | None, now: Row | None) -> None:
        # Of two names where one was passed on: it is another promise then, in the same hands.
        for row, change in ((was, -1), (now, 1)):
            if row is not None:
                self.touched.add(row["lock"].partition(":")[0])
                self.staged[row["lock"]] += change
                self.waiting[row["lock"]] += change * waits(row)
        if now is not None:
            name = now["lock"]
            if was is None or was["lock"] != name:
                self.lost.discard(name)
            hold(now["status"] in ("todo", "doing"), 8, f"the promise {name} is {now['status']}")

    # ------------------------------------------------------------------ what must hold

    def check(self) -> None:
        """Check all that may have changed since the last time."""
        self.ledger.check()
        for owner_id in sorted(self.touched):
            owner = self.owner(owner_id)
            if owner is not None:
                self.told.check_owner(owner)
            if isinstance(owner, Deal):
                self.ledger.holds(f"job:{owner_id}", owner.rests_msat, owner.asset)
                self._check_owner(owner)
                self.jobs.check_deal(owner)
            elif isinstance(owner, Purse):
                self._check_owner(owner)
                self.prepaid.check_purse(owner)
            elif isinstance(owner, Lot):
                self._check_owner(owner)
                self.market.check_lot(owner)
            elif isinstance(owner, Patron):
                self._check_owner(owner)
                self.people.check_patron(owner)
        self.touched.clear()
        self.prepaid.check()
        self.market.check()
        self.usdc.check()
        self.people.check()
        self.network.check()
        self.canaries.check()
        self.told.check()
        self.purged.check(self.ledger.credited)
        self.jobs.check()
        is_ = self.ledger.holds
        is_("expense:routing", self.fees_msat - self.withheld_msat)
        is_("rail:lightning", self.received_msat - self.sent_msat - self.fees_msat)

    def _check_owner(self, owner: Owner) -> None:
        is_ = self.ledger.holds
        for invoice in owner.invoices.values():
            if invoice["state"] == "settled":
                count = self.ledger.credited[invoice["payment_hash"]]
                hold(count == 1, 5, f"{invoice['id']} was credited {count} times")
        for payout in owner.payouts.values():
            amount_msat, state = payout["amount"], payout["state"]
            asset = payout["asset"]
            is_(f"refund:{payout['id']}", amount_msat if state == "owed" else 0, asset)
            is_(f"sending:{payout['id']}", amount_msat if state == "in_flight" else 0, asset)
            if isinstance(owner, Deal | Lot | Patron) and asset != "msat":
                self.usdc.check_payout(owner, payout)
            else:
                check_attempts(self._node, owner, payout)
        self._check_promises(owner)
        check_routing(owner)

    def _check_promises(self, owner: Owner) -> None:
        wanted = promised(owner)
        for name in sorted(wanted - self.lost):
            hold(self.staged[name] > 0, 8, f"the promise {name} is neither kept nor staged")
            times = self.waiting[name]
            hold(times < 2, 8, f"the promise {name} is staged {times} times")
