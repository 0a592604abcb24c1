"""What must hold of jobs: where they stand, what they cost, and what of that is ours.

One that is paid for in USDC costs what it costs in dollars; all others cost msat.
"""

from collections import Counter

from tests.simulation.ledger import Ledger
from tests.simulation.people import People
from tests.simulation.prepaid import Prepaid
from tests.simulation.prices import Prices
from tests.simulation.purged import Purged
from tests.simulation.rows import ARCS, FINAL, Deal, Row, hold

EARNED = ("rejected", "awaiting_work_payment")  # entered from evaluating, these keep the fee
FIRM_EARNED = ("rejected", "complete")  # of a job at a firm price


class Deals:
    """Jobs as they were witnessed, and what they have brought in."""

    def __init__(
        self,
        ledger: Ledger,
        prices: Prices,
        purged: Purged,
        prepaid: Prepaid,
        people: People,
        orders: dict[str, dict[str, Row]],
    ) -> None:
        self._ledger, self._prices, self._purged = ledger, prices, purged
        self._prepaid, self._people, self._orders = prepaid, people, orders
        self.rows: dict[str, Deal] = {}
        self.fees: Counter[str] = Counter()  # by asset
        self.charges: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()

    # ------------------------------------------------------------------ what is witnessed

    def job(self, was: Row | None, now: Row | None) -> set[str]:
        """Take in a change of a job; return what it touches: its session, too."""
        if now is None:
            assert was is not None
            deal = self.rows.pop(was["id"])
            self._people.left(deal)
            self._purged.purge(deal)
            return set()
        job_id = now["id"]
        if was is None:
            self._purged.begin(now)
            self.rows[job_id] = Deal(now, orders=self._orders[job_id])
        deal = self.rows[job_id]
        deal.row = now
        touched = {job_id}
        if was is None and deal.asset != "msat":
            self._people.owns(deal)
        if now["account_id"]:
            touched.add(now["account_id"])
        if now["session_id"]:
            touched.add(self._prepaid.request(deal, was))
        before = was["state"] if was else None
        if was is not None and before in FINAL:
            changed = {field for field in now if now[field] != was[field]}
            rest = changed - {"version", "updated_at"}
            hold(not rest, 6, f"job {job_id} is {before}, and changed {sorted(changed)}")
        elif before != now["state"]:
            self._moved(deal, was, now)
        return touched

    def _moved(self, deal: Deal, was: Row | None, now: Row) -> None:
        job_id, before = now["id"], was["state"] if was else None
        arcs = ARCS[now["funding"]]
        hold((before, now["state"]) in arcs, 6, f"job {job_id}: {before} → {now['state']}")
        told = was is None or now["version"] > was["version"]
        hold(told, 6, f"job {job_id} went to {now['state']}, and nobody was told")
        deal.was_begun |= now["state"] == "evaluating"
        if now["state"] == "failed":
            self._prepaid.failed_msat += now["spent_msat"]
        earned = now["state"] in (FIRM_EARNED if deal.is_firm else EARNED)
        if earned and before is not None and not deal.fee_earned:
            deal.fee_earned = True
            self.fees[deal.asset] += deal.fee
        if now["state"] == "awaiting_work_payment" or (was is None and deal.is_firm):
            # What it asked for is kept no longer than the job: nobody can measure that again.
            is_firm = deal.is_firm and not self._purged.is_restored(job_id)
            self._prices.check_quote(now, is_firm=is_firm)
        if now["state"] == "complete":
            self._prices.check_charge(now)
            self.charges[deal.asset] += deal.charged
        if deal.asset != "msat":
            self.seen[f"job in USDC {now['state']}"] += 1

    # ------------------------------------------------------------------ what must hold

    def check(self) -> None:
        """Check what jobs have brought in."""
        is_, prepaid = self._ledger.holds, self._prepaid
        is_("revenue:eval", self.fees["msat"])
        is_("revenue:work", self.charges["msat"] + prepaid.income_msat)
        is_("expense:failed", prepaid.failed_msat)
        is_("revenue:eval", self.fees["microusdc"], "microusdc")
        is_("revenue:work", self.charges["microusdc"], "microusdc")

    def check_deal(self, deal: Deal) -> None:
        """Check one job: its money, and that it goes no further than it was paid for."""
        job, job_id, rests = deal.row, deal.row["id"], deal.rests_msat
        if job["session_id"]:
            hold(not deal.invoices and not deal.payouts, 7, f"the request {job_id} has its own")
            return
        hold(
            deal.received_msat == rests + deal.earned_msat + deal.owed_msat + deal.kept,
            6,
            f"job {job_id} ({job['state']}) received {deal.received_msat}, and {rests} rest for"
            f" it, {deal.earned_msat} are earned and {deal.owed_msat} owed or paid back",
        )
        paid = {name for name, row in deal.invoices.items() if row["state"] == "settled"}
        first, second = f"{job_id}:eval", f"{job_id}:work"
        if deal.is_firm:
            first = second = f"{job_id}:ask"
            asked = [row["amount_msat"] for row in deal.invoices.values()]
            asked += [row["amount_microusdc"] for row in deal.orders.values()]
            hold(set(asked) <= {deal.prepaid_msat}, 6, f"job {job_id} asks for {asked}")
        if any(row["state"] == "settled" for row in deal.orders.values()):
            paid.add(first)
        if job["state"] in ("evaluating", "rejected", "awaiting_work_payment"):
            hold(first in paid, 4, f"job {job_id} is {job['state']}, its fee unpaid")
        if job["state"] in ("executing", "complete"):
            hold(second in paid, 4, f"job {job_id} is {job['state']}, unpaid")
        if job["state"].startswith("awaiting"):
            waits = first if job["state"] == "awaiting_eval_payment" else second
            hold(waits not in paid, 4, f"job {job_id} waits for what was paid")
