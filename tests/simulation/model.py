"""What the books and the rows must say: written a second time, from money.md, not from the law.

It hears of every row that changed, in order, and knows what truly happened at the node and in the
agents' heads. Whatever does not fit raises Violation.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from tests.simulation.chain import SimulatedChain
from tests.simulation.clock import Clock
from tests.simulation.ledger import Ledger
from tests.simulation.lots import Lots
from tests.simulation.makers import Said
from tests.simulation.minds import SimulatedAgent, SimulatedOracle
from tests.simulation.node import Node
from tests.simulation.prepaid import Prepaid
from tests.simulation.prices import MARGIN, Prices
from tests.simulation.promised import is_for, promised, waits
from tests.simulation.purged import Purged, is_unpaid
from tests.simulation.rows import (
    ARCS,
    FINAL,
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
)
from tests.simulation.shelf import Shelf
from tests.simulation.usdc import Usdc
from tests.simulation.wishes import Wishes

__all__ = ["Model", "Violation", "hold"]

EARNED = ("rejected", "awaiting_work_payment")  # entered from evaluating, these keep the fee
FIRM_EARNED = ("rejected", "complete")  # of a job at a firm price
PASSING = ("overpaid", "unawaited", "unspent", "change")
ROUTING_MSAT = 20_000  # that the house gives for one payer


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
    ) -> None:
        self._node, self._prices = node, Prices(agent, oracle)
        self.ledger, self.purged = Ledger(), Purged(node, clock)
        self.prepaid = Prepaid(self.ledger, wishes, clock)
        self.market = Lots(self.ledger, self.purged, wishes, oracle, clock, said, shelf)
        self._artifact = self.market.artifact
        self.usdc = Usdc(self.ledger, chain, clock, house)
        self.deals: dict[str, Deal] = {}
        self.staged: Counter[str] = Counter()  # promises that wait or are being kept, by name
        self.waiting: Counter[str] = Counter()  # of them, those that nobody has taken yet
        self.lost: set[str] = set()  # promises that the world took away
        self.ever_lost: set[str] = set()
        self.touched: set[str] = set()
        self.received_msat = self.sent_msat = self.fees_msat = 0
        self.withheld_msat = 0  # what payees bore of the fees
        self.fee_income_msat = self.work_income_msat = 0

    def owners(self) -> Iterator[Owner]:
        """Yield every job, session and batch."""
        return chain(self.deals.values(), self.prepaid.purses.values(), self.market.lots.values())

    def is_unpaid(self) -> bool:
        """Say whether there is anything that nobody paid for, and that is not purged yet."""
        if any(row["state"] == "failed" for row in self.usdc.rows.values()):
            return True
        return any(is_unpaid(i) for owner in self.owners() for i in owner.invoices.values())

    def owner(self, owner_id: str) -> Owner | None:
        """Return a job, a session or a batch."""
        deals, purses, lots = self.deals, self.prepaid.purses, self.market.lots
        return deals.get(owner_id) or purses.get(owner_id) or lots.get(owner_id)

    # ------------------------------------------------------------------ what is witnessed

    def witness(self, name: str, was: Row | None, is_now: Row | None) -> None:
        """Take in one change of one row."""
        getattr(self, f"_{name}")(was, is_now)

    def _job(self, was: Row | None, now: Row | None) -> None:
        if now is None:
            assert was is not None
            self.purged.purge(self.deals.pop(was["id"]))
            return
        job_id = now["id"]
        self.touched.add(job_id)
        before = was["state"] if was else None
        if was is None:
            self.purged.begin(now)
            self.deals[job_id] = Deal(now)
        deal = self.deals[job_id]
        deal.row = now
        if now["session_id"]:
            self.touched.add(self.prepaid.request(deal, was))
        if was is not None and before in FINAL:
            changed = {field for field in now if now[field] != was[field]}
            hold(
                changed <= {"version", "updated_at"},
                6,
                f"job {job_id} is {before}, and changed {sorted(changed)}",
            )
            return
        if before == now["state"]:
            return
        arcs = ARCS[now["funding"]]
        hold((before, now["state"]) in arcs, 6, f"job {job_id}: {before} → {now['state']}")
        told = was is None or now["version"] > was["version"]
        hold(told, 6, f"job {job_id} went to {now['state']}, and nobody was told")
        if now["state"] == "failed":
            self.prepaid.failed_msat += now["spent_msat"]
        earned = now["state"] in (FIRM_EARNED if deal.is_firm else EARNED)
        if earned and before is not None and not deal.fee_earned:
            deal.fee_earned = True
            self.fee_income_msat += now["eval_msat"]
        if now["state"] == "awaiting_work_payment" or (was is None and deal.is_firm):
            # What it asked for is kept no longer than the job: nobody can measure that again.
            is_firm = deal.is_firm and not self.purged.is_restored(job_id)
            self._prices.check_quote(now, is_firm=is_firm)
        if now["state"] == "complete":
            self._prices.check_charge(now)
            self.work_income_msat += now["charge"]["total_msat"]

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
        owner_id = row["job_id"] or row["session_id"] or row["batch_id"]
        self.touched.add(owner_id)
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
        self.touched.add(batch_id := self.usdc.order(was, now))
        orders = self.market.orders[batch_id]
        if now is None:
            del orders[row["id"]]
        else:
            orders[row["id"]] = now

    def _usdc_attempt(self, was: Row | None, now: Row | None) -> None:
        batch_id = str((now or was or {})["payout_id"]).partition(":")[0]
        self.touched.add(batch_id)
        self.usdc.attempt(self.market.lots[batch_id], was, now)

    def _batch(self, was: Row | None, now: Row | None) -> None:
        self.touched.add(batch_id := self.market.batch(was, now))
        if now is not None and now["session_id"]:
            self.touched.add(now["session_id"])
            self.prepaid.purses[now["session_id"]].lots[batch_id] = self.market.lots[batch_id]

    def _item(self, was: Row | None, now: Row | None) -> None:
        self.touched.add(self.market.item(was, now))

    def _lease(self, was: Row | None, now: Row | None) -> None:
        self.touched.add(self.market.lease(was, now))

    def _account(self, was: Row | None, now: Row | None) -> None:
        self.ledger.account(now)

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
            if isinstance(owner, Deal):
                self._check_deal(owner)
            elif isinstance(owner, Purse):
                self._check_owner(owner)
                self.prepaid.check_purse(owner)
            elif isinstance(owner, Lot):
                self._check_owner(owner)
                self.market.check_lot(owner)
        self.touched.clear()
        self.prepaid.check()
        self.market.check()
        self.usdc.check()
        self.purged.check(self.ledger.credited)
        work_income_msat = self.work_income_msat + self.prepaid.income_msat
        is_ = self.ledger.holds
        is_("revenue:eval", self.fee_income_msat)
        is_("revenue:work", work_income_msat)
        is_("expense:failed", self.prepaid.failed_msat)
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
            if isinstance(owner, Lot) and owner.asset != "msat":
                self.usdc.check_payout(owner, payout)
            else:
                self._check_attempts(owner, payout)
        self._check_promises(owner)
        self._check_routing(owner)

    def _check_routing(self, owner: Owner) -> None:
        """What only passed through costs the house its margin, and a little more, at most."""
        passing = {name for name, row in owner.payouts.items() if row["reason"] in PASSING}
        borne_msat = sum(
            attempt["borne_msat"]
            if attempt["outcome"] == "live"
            else min(attempt["borne_msat"], attempt["fee_msat"])
            for (name, _), attempt in owner.attempts.items()
            if name in passing and attempt["outcome"] != "returned"
        )
        most_msat = owner.earned_msat * MARGIN / (1 + MARGIN) + ROUTING_MSAT
        who = f"{owner.what} {owner.row['id']}"
        hold(borne_msat <= most_msat, 2, f"routing for {who} costs the house {borne_msat}")

    def _check_deal(self, deal: Deal) -> None:
        job, job_id, rests = deal.row, deal.row["id"], deal.rests_msat
        self.ledger.holds(f"job:{job_id}", rests)
        self._check_owner(deal)
        if job["session_id"]:
            hold(not deal.invoices and not deal.payouts, 7, f"the request {job_id} has its own")
            return
        hold(
            deal.received_msat == rests + deal.earned_msat + deal.owed_msat,
            6,
            f"job {job_id} ({job['state']}) received {deal.received_msat}, and {rests} rest for"
            f" it, {deal.earned_msat} are earned and {deal.owed_msat} owed or paid back",
        )
        paid = [name for name, row in deal.invoices.items() if row["state"] == "settled"]
        first, second = "eval", "work"
        if deal.is_firm:
            first = second = "ask"
            asked_msat = deal.invoices[f"{job_id}:ask"]["amount_msat"]
            hold(asked_msat == deal.prepaid_msat, 6, f"job {job_id} asks for {asked_msat}")
        if job["state"] in ("evaluating", "rejected", "awaiting_work_payment"):
            hold(f"{job_id}:{first}" in paid, 4, f"job {job_id} is {job['state']}, its fee unpaid")
        if job["state"] in ("executing", "complete"):
            hold(f"{job_id}:{second}" in paid, 4, f"job {job_id} is {job['state']}, unpaid")
        if job["state"].startswith("awaiting"):
            purpose = first if job["state"] == "awaiting_eval_payment" else second
            hold(f"{job_id}:{purpose}" not in paid, 4, f"job {job_id} waits for what was paid")

    def _check_attempts(self, owner: Owner, payout: Row) -> None:
        tries = [a for (name, _), a in owner.attempts.items() if name == payout["id"]]
        alive = [a for a in tries if a["outcome"] != "returned"]
        wanted = {"owed": 0, "in_flight": 1, "paid": 1}[payout["state"]]
        hold(
            len(alive) == wanted, 5, f"{payout['id']} is {payout['state']} with {len(alive)} tries"
        )
        sent = [self._node.sent.get(a["payment_hash"]) for a in tries]
        given = sum(s.to.amount_msat for s in sent if s is not None and s.will_settle)
        hold(given <= payout["amount"], 5, f"{payout['id']} was paid out twice")
        for attempt in tries:
            payment_hash = attempt["payment_hash"]
            calls = self._node.calls.get(payment_hash, 0)
            unsent = self._node.unsent.get(payment_hash, 0)
            hold(calls <= 1 + unsent, 5, f"{payout['id']} was handed to the rail {calls} times")

    def _check_promises(self, owner: Owner) -> None:
        wanted = promised(owner)
        for name in sorted(wanted - self.lost):
            hold(self.staged[name] > 0, 8, f"the promise {name} is neither kept nor staged")
            times = self.waiting[name]
            hold(times < 2, 8, f"the promise {name} is staged {times} times")
