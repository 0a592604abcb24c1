"""What the books and the rows must say: written a second time, from money.md, not from the law.

It hears of every row that changed, in order, and knows what truly happened at the node and in the
agents' heads. Whatever does not fit raises Violation.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any

from tests.simulation.minds import WORK_MODEL, SimulatedAgent, SimulatedOracle
from tests.simulation.node import Node

Row = dict[str, Any]

JOB_ARCS = {
    (None, "awaiting_eval_payment"),
    ("awaiting_eval_payment", "evaluating"),
    ("awaiting_eval_payment", "failed"),
    ("evaluating", "rejected"),
    ("evaluating", "awaiting_work_payment"),
    ("evaluating", "failed"),
    ("awaiting_work_payment", "executing"),
    ("awaiting_work_payment", "failed"),
    ("executing", "complete"),
    ("executing", "failed"),
}
INVOICE_ARCS = {
    (None, "wanted"),
    ("wanted", "open"),
    ("wanted", "expired"),
    ("wanted", "canceled"),
    ("open", "settled"),
    ("open", "expired"),
    ("open", "canceled"),
    ("expired", "settled"),
    ("canceled", "settled"),
}
PAYOUT_ARCS = {(None, "owed"), ("owed", "in_flight"), ("in_flight", "owed"), ("in_flight", "paid")}
FINAL = ("rejected", "complete", "failed")
EARNED = ("rejected", "awaiting_work_payment")  # entered from evaluating, these keep the fee
IN_DOLLARS, OUT_DOLLARS, INFRA_DOLLARS, MARGIN = 2, 10, Fraction(2, 1000), Fraction(20, 100)


class Violation(AssertionError):
    """An invariant of money.md does not hold."""


def hold(condition: object, number: int, what: str) -> None:
    """Raise Violation, with the number of the invariant, unless the condition holds."""
    if not condition:
        raise Violation(f"invariant {number}: {what}")


@dataclass(eq=False)
class Deal:
    """One job, with all that belongs to it."""

    row: Row
    invoices: dict[str, Row] = field(default_factory=dict)
    payouts: dict[str, Row] = field(default_factory=dict)
    attempts: dict[tuple[str, int], Row] = field(default_factory=dict)
    fee_earned: bool = False

    def lines(self, node: Node) -> list[str]:
        """Return how all of it stands, and what the node knows of it, for a person."""
        lines = [f"job {self.row['id']} is {self.row['state']}"]
        for invoice in self.invoices.values():
            lines.append(f"invoice {invoice['id']} is {invoice['state']}")
        for payout in self.payouts.values():
            lines.append(f"payout {payout['id']} is {payout['state']}: {payout['note']}")
        for attempt in self.attempts.values():
            facts = {name: attempt[name] for name in ("outcome", "called_at", "expires_at")}
            lines.append(f"attempt {attempt['payout_id']} {attempt['number']}: {facts}")
            lines.append(f"    at the node: {node.sent.get(attempt['payment_hash'])}")
        return lines


class Model:
    """Every row as it was witnessed, and the sums that follow from them."""

    def __init__(self, node: Node, agent: SimulatedAgent, oracle: SimulatedOracle) -> None:
        self._node, self._agent, self._oracle = node, agent, oracle
        self.deals: dict[str, Deal] = {}
        self.kept: dict[str, int] = defaultdict(int)  # balances as the account rows have them
        self.posted: dict[str, int] = defaultdict(int)  # what the postings add up to
        self.kinds: dict[str, str] = {}
        self.entries: dict[int, str] = {}
        self.credited: Counter[str] = Counter()  # entries by payment_hash of an invoice
        self.staged: Counter[str] = Counter()  # promises that wait or are being kept, by name
        self.waiting: Counter[str] = Counter()  # of them, those that nobody has taken yet
        self.lost: set[str] = set()  # promises that the world took away
        self.ever_lost: set[str] = set()
        self.touched: set[str] = set()
        self._open_entries: dict[int, int] = defaultdict(int)
        self.received_msat = self.sent_msat = self.fees_msat = 0
        self.fee_income_msat = self.work_income_msat = 0

    # ------------------------------------------------------------------ what is witnessed

    def witness(self, name: str, was: Row | None, is_now: Row | None) -> None:
        """Take in one change of one row."""
        getattr(self, f"_{name}")(was, is_now)

    def _job(self, was: Row | None, now: Row | None) -> None:
        hold(now is not None, 6, f"the job {was and was['id']} was deleted")
        assert now is not None
        job_id = now["id"]
        self.touched.add(job_id)
        before = was["state"] if was else None
        if was is None:
            self.deals[job_id] = Deal(now)
        deal = self.deals[job_id]
        deal.row = now
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
        hold((before, now["state"]) in JOB_ARCS, 6, f"job {job_id}: {before} → {now['state']}")
        told = was is None or now["version"] > was["version"]
        hold(told, 6, f"job {job_id} went to {now['state']}, and nobody was told")
        if before == "evaluating" and now["state"] in EARNED:
            deal.fee_earned = True
            self.fee_income_msat += now["eval_msat"]
        if now["state"] == "awaiting_work_payment":
            self._check_quote(now)
        if now["state"] == "complete":
            self._check_charge(now)
            self.work_income_msat += now["charge"]["total_msat"]

    def _invoice(self, was: Row | None, now: Row | None) -> None:
        hold(now is not None, 7, "an invoice was deleted")
        assert now is not None
        self.touched.add(now["job_id"])
        self.deals[now["job_id"]].invoices[now["id"]] = now
        before = was["state"] if was else None
        if before == now["state"]:
            return
        name = f"invoice {now['id']}: {before} → {now['state']}"
        hold((before, now["state"]) in INVOICE_ARCS, 6, name)
        if now["state"] == "settled":
            truth = self._node.invoices.get(now["payment_hash"])
            hold(truth and truth.key == now["id"], 4, f"{name}, and the node knows no such invoice")
            assert truth is not None
            hold(
                truth.received_msat == now["received_msat"],
                5,
                f"{name} for {now['received_msat']}, and the node received {truth.received_msat}",
            )
            self.received_msat += now["received_msat"]

    def _payout(self, was: Row | None, now: Row | None) -> None:
        hold(now is not None, 7, "a payout was deleted")
        assert now is not None
        self.touched.add(now["job_id"])
        self.deals[now["job_id"]].payouts[now["id"]] = now
        before = was["state"] if was else None
        if was is not None:
            hold(was["amount_msat"] == now["amount_msat"], 7, f"payout {now['id']} changed amount")
        if before != now["state"]:
            name = f"payout {now['id']}: {before} → {now['state']}"
            hold((before, now["state"]) in PAYOUT_ARCS, 6, name)

    def _payout_attempt(self, was: Row | None, now: Row | None) -> None:
        hold(now is not None, 7, "an attempt was deleted")
        assert now is not None
        payment_hash, job_id = now["payment_hash"], now["payout_id"].partition(":")[0]
        self.touched.add(job_id)
        self.deals[job_id].attempts[now["payout_id"], now["number"]] = now
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
        else:
            hold(
                not (sent and sent.will_settle),
                5,
                f"{now['payout_id']} is owed again, and its attempt {now['number']} was paid or"
                " will be",
            )

    def _account(self, was: Row | None, now: Row | None) -> None:
        assert now is not None
        hold(now["kind"] != "liability" or now["balance"] >= 0, 2, f"{now['name']} is negative")
        self.kept[now["name"]] = now["balance"]
        self.kinds[now["name"]] = now["kind"]

    def _entry(self, was: Row | None, now: Row | None) -> None:
        hold(was is None and now is not None, 1, "an entry was changed")
        assert now is not None
        self.entries[now["id"]] = now["key"]
        first, _, rest = now["key"].partition(":")
        if first == "invoice":
            self.credited[rest.removesuffix(":settled")] += 1

    def _posting(self, was: Row | None, now: Row | None) -> None:
        hold(was is None and now is not None, 1, "a posting was changed")
        assert now is not None
        self.posted[now["account"]] += now["amount"]
        self._open_entries[now["entry_id"]] += now["amount"]
        self.touched.add(now["account"].partition(":")[2].partition(":")[0])

    def _procrastinate_jobs(self, was: Row | None, now: Row | None) -> None:
        name = (now or was or {})["lock"]
        self.touched.add(name.partition(":")[0])
        self.staged[name] += (now is not None) - (was is not None)
        self.waiting[name] += _waits(now) - _waits(was)
        if was is None:
            self.lost.discard(name)
        if now is not None:
            hold(now["status"] in ("todo", "doing"), 8, f"the promise {name} is {now['status']}")

    # ------------------------------------------------------------------ what must hold

    def check(self) -> None:
        """Check all that may have changed since the last time."""
        for entry_id, total in self._open_entries.items():
            hold(total == 0, 1, f"the entry {self.entries[entry_id]} is off by {total} msat")
        self._open_entries.clear()
        for job_id in sorted(self.touched):
            if job_id in self.deals:
                self._check_deal(self.deals[job_id])
        self.touched.clear()
        self._is("revenue:eval", self.fee_income_msat)
        self._is("revenue:work", self.work_income_msat)
        self._is("expense:routing", self.fees_msat)
        self._is("rail:lightning", self.received_msat - self.sent_msat - self.fees_msat)

    def _is(self, account: str, wanted_msat: int) -> None:
        sign = 1 if self.kinds.get(account) in ("asset", "expense") else -1
        kept, posted = self.kept[account], sign * self.posted[account]
        hold(kept == posted, 1, f"{account}: kept {kept}, and its postings give {posted}")
        hold(kept == wanted_msat, 3, f"{account} has {kept} msat, and should have {wanted_msat}")

    def _check_deal(self, deal: Deal) -> None:
        job, job_id = deal.row, deal.row["id"]
        rests = {
            "evaluating": job["eval_msat"],
            "executing": job["quote"]["total_msat"] if job["quote"] else 0,
        }.get(job["state"], 0)
        self._is(f"job:{job_id}", rests)
        received = owed = 0
        for invoice in deal.invoices.values():
            if invoice["state"] == "settled":
                received += invoice["received_msat"]
                count = self.credited[invoice["payment_hash"]]
                hold(count == 1, 5, f"{invoice['id']} was credited {count} times")
        for payout in deal.payouts.values():
            amount_msat, state = payout["amount_msat"], payout["state"]
            owed += amount_msat
            self._is(f"refund:{payout['id']}", amount_msat if state == "owed" else 0)
            self._is(f"sending:{payout['id']}", amount_msat if state == "in_flight" else 0)
            self._check_attempts(deal, payout)
        earned = job["eval_msat"] if deal.fee_earned else 0
        if job["charge"]:
            earned += job["charge"]["total_msat"]
        hold(
            received == rests + earned + owed,
            6,
            f"job {job_id} ({job['state']}) received {received}, and {rests} rest for it,"
            f" {earned} are earned and {owed} owed or paid back",
        )
        paid = [name for name, row in deal.invoices.items() if row["state"] == "settled"]
        if job["state"] in ("evaluating", "rejected", "awaiting_work_payment"):
            hold(f"{job_id}:eval" in paid, 4, f"job {job_id} is {job['state']}, its fee unpaid")
        if job["state"] in ("executing", "complete"):
            hold(f"{job_id}:work" in paid, 4, f"job {job_id} is {job['state']}, its work unpaid")
        if job["state"].startswith("awaiting"):
            purpose = job["state"].split("_")[1]
            hold(f"{job_id}:{purpose}" not in paid, 4, f"job {job_id} waits for what was paid")
        self._check_promises(deal)

    def _check_attempts(self, deal: Deal, payout: Row) -> None:
        tries = [a for (name, _), a in deal.attempts.items() if name == payout["id"]]
        alive = [a for a in tries if a["outcome"] != "returned"]
        wanted = {"owed": 0, "in_flight": 1, "paid": 1}[payout["state"]]
        hold(
            len(alive) == wanted, 5, f"{payout['id']} is {payout['state']} with {len(alive)} tries"
        )
        sent = [self._node.sent.get(a["payment_hash"]) for a in tries]
        given = sum(s.to.amount_msat for s in sent if s is not None and s.will_settle)
        hold(given <= payout["amount_msat"], 5, f"{payout['id']} was paid out twice")
        for attempt in tries:
            payment_hash = attempt["payment_hash"]
            calls = self._node.calls.get(payment_hash, 0)
            unsent = self._node.unsent.get(payment_hash, 0)
            hold(calls <= 1 + unsent, 5, f"{payout['id']} was handed to the rail {calls} times")

    def _check_promises(self, deal: Deal) -> None:
        job, job_id = deal.row, deal.row["id"]
        wanted = set()
        if job["state"] == "evaluating":
            wanted.add(f"{job_id}:judge")
        if job["state"] == "executing":
            wanted.add(f"{job_id}:do")
        for invoice in deal.invoices.values():
            if invoice["state"] == "wanted":
                wanted.add(invoice["id"])
        for payout in deal.payouts.values():
            if payout["state"] == "owed" and payout["refund_to"] and payout["failures"] < 3:
                wanted.add(f"{payout['id']}:fetch:{payout['failures']}")
        for (payout_id, number), attempt in deal.attempts.items():
            asked_again = attempt["check_at"] is not None
            if attempt["outcome"] == "live" and not asked_again:
                wanted.add(f"{payout_id}:pay:{number}")
        for name in sorted(wanted - self.lost):
            hold(self.staged[name] > 0, 8, f"the promise {name} is neither kept nor staged")
            times = self.waiting[name]
            hold(times < 2, 8, f"the promise {name} is staged {times} times")

    def _check_quote(self, job: Row) -> None:
        quote = job["quote"]
        tokens = quote["input_tokens"] * IN_DOLLARS + quote["max_output_tokens"] * OUT_DOLLARS
        self._check_price(job["id"], quote, tokens, quote["total_msat"], None)
        price = quote["price"]["microusd_per_btc"]
        honest = self._oracle.lowest <= price <= self._oracle.highest
        hold(honest, 6, f"job {job['id']} has a bitcoin price that no honest source named")
        limit = job["max_msat"]
        hold(limit is None or quote["total_msat"] <= limit, 6, f"job {job['id']} is over its limit")

    def _check_charge(self, job: Row) -> None:
        charge, quote = job["charge"], job["quote"]
        hold(charge is not None, 6, f"job {job['id']} is complete, and was not charged")
        used = (charge["input_tokens"], charge["output_tokens"])
        hold(used in self._agent.used[job["request"]], 6, f"job {job['id']} did not use {used}")
        tokens = used[0] * IN_DOLLARS + used[1] * OUT_DOLLARS
        total = charge["total_msat"]
        self._check_price(job["id"], quote, tokens, total, quote["total_msat"])
        hold(
            total + charge["surplus_msat"] == quote["total_msat"], 6, f"job {job['id']} loses some"
        )

    def _check_price(
        self, job_id: str, quote: Row, millionths: int, total_msat: int, most_msat: int | None
    ) -> None:
        hold(quote["model"] == WORK_MODEL, 6, f"job {job_id} is priced as {quote['model']}")
        cost = Fraction(ceil(Fraction(millionths)), 10**6)
        charge = Fraction(ceil((cost + INFRA_DOLLARS) * (1 + MARGIN) * 10**6), 10**6)
        bitcoin = Fraction(quote["price"]["microusd_per_btc"], 10**6)
        right_msat = max(1, ceil(charge / bitcoin * 10**8)) * 1_000
        if most_msat is not None:
            right_msat = min(right_msat, most_msat)
        hold(total_msat == right_msat, 6, f"job {job_id}: {total_msat} msat, not {right_msat}")


def _waits(task: Row | None) -> bool:
    return task is not None and task["status"] == "todo" and task["attempts"] == 0
