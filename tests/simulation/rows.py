"""The rows that belong together, as they were witnessed, and where each of them may go.

Written a second time, from money.md, not from the law.
"""

from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any

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
    ("executing", "rejected"),
}
# A job whose price is firm needs no second invoice, and one that a session pays for needs none.
FIRM_ARCS = {arc for arc in JOB_ARCS if "awaiting_work_payment" not in arc} | {
    ("evaluating", "executing")
}
REQUEST_ARCS = {arc for arc in FIRM_ARCS if "awaiting_eval_payment" not in arc} | {
    (None, "evaluating")
}
ARCS = {"invoices": JOB_ARCS, "session": REQUEST_ARCS} | dict.fromkeys(
    ("invoice", "x402"), FIRM_ARCS
)
# The rail makes the first invoice of anything before its row is there, and that of work after.
FIRST_STATES = {"work": "wanted"} | dict.fromkeys(
    ("eval", "ask", "deposit", "topup", "batch", "credit"), "open"
)
INVOICE_ARCS = {
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
SESSION_ARCS = {
    (None, "awaiting_payment"),
    ("awaiting_payment", "active"),
    ("awaiting_payment", "expired"),
    ("active", "paused"),
    ("paused", "active"),
    ("active", "expired"),
    ("paused", "expired"),
}
BATCH_ARCS = {
    (None, "awaiting_payment"),
    (None, "queued"),
    ("awaiting_payment", "queued"),
    ("awaiting_payment", "cancelled"),
    ("queued", "processing"),
    ("queued", "cancelled"),
    ("processing", "completed"),
    ("processing", "failed"),
    ("processing", "cancelled"),
}
_ENDS = ("pending", "completed", "failed", "dead_letter", "cancelled")
ITEM_ARCS = {
    (None, "pending"),
    (None, "waiting"),
    ("waiting", "pending"),
    ("waiting", "cancelled"),
    ("pending", "claimed"),
    ("pending", "completed"),
    ("pending", "cancelled"),
    ("claimed", "processing"),
    *((held, end) for held in ("claimed", "processing") for end in _ENDS),
}
LEASE_ARCS = {
    (None, "held"),
    ("held", "done"),
    ("held", "released"),
    ("held", "lapsed"),
    ("lapsed", "done"),
}
LOST = ("failed", "dead_letter")  # items that no work became of
HOLD_ARCS = {(None, "held"), ("held", "charged"), ("held", "dropped")}
FINAL = ("rejected", "complete", "failed")
BATCH_FINAL = ("completed", "failed", "cancelled")
ITEM_FINAL = ("completed", *LOST, "cancelled")
LEAST_SENT_MICROUSDC = 10_000  # of a rest, where its payer has an account


class Violation(AssertionError):
    """An invariant of money.md does not hold."""


def owner_id_of(row: Row) -> str:
    """Return the id of the job, session, batch or account that a row belongs to."""
    owners = (row[name] for name in ("job_id", "session_id", "batch_id", "account_id"))
    return str(next(owner_id for owner_id in owners if owner_id))


def hold(condition: object, number: int, what: str) -> None:
    """Raise Violation, with the number of the invariant, unless the condition holds."""
    if not condition:
        raise Violation(f"invariant {number}: {what}")


@dataclass(eq=False)
class Owner:
    """Whose invoices and payouts they are: a job, a session, or a batch."""

    row: Row
    invoices: dict[str, Row] = field(default_factory=dict)
    payouts: dict[str, Row] = field(default_factory=dict)
    attempts: dict[tuple[str, int], Row] = field(default_factory=dict)

    what = "job"

    @property
    def earned_msat(self) -> int:
        """What of it is ours."""
        raise NotImplementedError

    @property
    def received_msat(self) -> int:
        """What came in for it, as its invoices say."""
        settled = [row for row in self.invoices.values() if row["state"] == "settled"]
        return sum(row["received_msat"] for row in settled)

    @property
    def owed_msat(self) -> int:
        """What is owed back for it, or was; change is part of what another payout owed."""
        rows = [row for row in self.payouts.values() if row["reason"] != "change"]
        return sum(row["amount"] for row in rows)

    def routing_msat(self, attempt: Row) -> int:
        """What a payee has borne of the routing of an attempt that arrived."""
        withheld_msat = self.payouts[attempt["payout_id"]]["amount"] - attempt["sent_msat"]
        needed_msat = max(0, attempt["fee_msat"] - attempt["borne_msat"])
        return int(min(withheld_msat, ceil(needed_msat / 1_000) * 1_000))

    @property
    def claimable_msat(self) -> int:
        """What somebody may still come for."""
        owed = [row for row in self.payouts.values() if row["state"] == "owed"]
        return sum(row["amount"] for row in owed)

    def lines(self, node: Node) -> list[str]:
        """Return how all of it stands, and what the node knows of it, for a person."""
        lines = [f"{self.what} {self.row['id']} is {self.row.get('state')}"]
        for invoice in self.invoices.values():
            lines.append(f"invoice {invoice['id']} is {invoice['state']}")
        for payout in self.payouts.values():
            lines.append(f"payout {payout['id']} is {payout['state']}: {payout['note']}")
        for attempt in self.attempts.values():
            facts = {name: attempt[name] for name in ("outcome", "called_at", "expires_at")}
            lines.append(f"attempt {attempt['payout_id']} {attempt['number']}: {facts}")
            lines.append(f"    at the node: {node.sent.get(attempt['payment_hash'])}")
        return lines


@dataclass(eq=False)
class InUsdc(Owner):
    """What may be paid for by a signed order: its amounts are in its asset's smallest unit."""

    orders: dict[str, Row] = field(default_factory=dict)  # in USDC, that it was claimed with
    usdc_attempts: dict[tuple[str, int], Row] = field(default_factory=dict)
    was_begun: bool = False  # it was paid for while it waited for that

    @property
    def received_msat(self) -> int:
        """See Owner; in USDC, what its order has brought."""
        settled = [row for row in self.orders.values() if row["state"] == "settled"]
        return super().received_msat + sum(int(row["amount_microusdc"]) for row in settled)

    @property
    def rest(self) -> int:
        """What was paid for it and is not ours, once it has ended."""
        raise NotImplementedError

    @property
    def kept(self) -> int:
        """What of its rest is too little to be sent: the account of the wallet that paid has it."""
        mine = self.row["funding"] == "x402" and self.row["account_id"] and self.was_begun
        return self.rest if mine and self.rest < LEAST_SENT_MICROUSDC else 0


@dataclass(eq=False)
class Deal(InUsdc):
    """One job, with all that belongs to it."""

    fee_earned: bool = False

    @property
    def is_firm(self) -> bool:
        """Say whether all of it was paid at once."""
        return bool(self.row["funding"] != "invoices")

    @property
    def asset(self) -> str:
        """In the smallest unit of which all of its amounts are."""
        return "microusdc" if self.row["funding"] == "x402" else "msat"

    @property
    def fee(self) -> int:
        """What its evaluation costs."""
        return int(self.row["eval_msat" if self.asset == "msat" else "eval_microusdc"])

    @property
    def quoted(self) -> int:
        """What its work may cost at most: in USDC, as many millionths as of a dollar."""
        return int(self.row["quote"]["total_msat" if self.asset == "msat" else "charge_microusd"])

    @property
    def charged(self) -> int:
        """What its work has cost."""
        charge = self.row["charge"]
        if charge is None:
            return 0
        if self.asset == "msat":
            return int(charge["total_msat"])
        return min(int(charge["charge_microusd"]), self.quoted)

    @property
    def prepaid_msat(self) -> int:
        """What a job at a firm price may cost at most."""
        return self.fee + self.quoted

    @property
    def earned_msat(self) -> int:
        """What of it is ours."""
        return (self.fee if self.fee_earned else 0) + self.charged

    @property
    def rest(self) -> int:
        """See InUsdc."""
        return self.prepaid_msat - self.earned_msat if self.row["state"] in FINAL else 0

    @property
    def rests_msat(self) -> int:
        """What rests on it, neither earned nor owed back."""
        state = self.row["state"]
        if self.is_firm:
            return self.prepaid_msat if state in ("evaluating", "executing") else 0
        if state == "evaluating":
            return self.fee
        return self.quoted if state == "executing" else 0


@dataclass(eq=False)
class Lot(InUsdc):
    """One batch, with its items and the leases on them."""

    items: dict[str, Row] = field(default_factory=dict)
    leases: dict[tuple[str, int], Row] = field(default_factory=dict)
    tag: str = ""  # of the wish that it is
    sent_back: int = 0  # of what was charged: it was not made as it was asked for

    what = "batch"

    @property
    def asset(self) -> str:
        """In the smallest unit of which all of its amounts are."""
        return str(self.row["asset"])

    @property
    def owed_msat(self) -> int:
        """See Owner: of what was not charged."""
        return super().owed_msat - self.sent_back

    @property
    def rest(self) -> int:
        """See InUsdc."""
        over = self.row["state"] in BATCH_FINAL
        return int(self.row["price_amount"]) - self.earned_msat if over else 0

    @property
    def earned_msat(self) -> int:
        """What of it is ours: the shares of what was delivered, in the end in whole sats."""
        delivered = [row for row in self.items.values() if row["state"] == "completed"]
        shares = sum(row["share_amount"] for row in delivered)
        if self.asset != "msat":
            return int(shares)
        return ceil(shares / 1_000) * 1_000 if self.row["state"] in BATCH_FINAL else int(shares)

    @property
    def is_under_way(self) -> bool:
        """Say whether it was paid for, and has not ended."""
        return self.row["state"] in ("queued", "processing")

    @property
    def rests_msat(self) -> int:
        """What rests on it, neither earned nor owed back."""
        return int(self.row["price_amount"] - self.earned_msat) if self.is_under_way else 0

    @property
    def set_aside_msat(self) -> int:
        """What its session has set aside for it: all of its price, until it has ended."""
        return int(self.row["price_amount"]) if self.is_under_way else 0

    def leases_of(self, item_id: str) -> list[Row]:
        """Return everybody's leases on one of its items, the first one first."""
        return [row for (of, _), row in sorted(self.leases.items()) if of == item_id]

    def lines(self, node: Node) -> list[str]:
        """See Owner."""
        lines = super().lines(node)
        lines += [f"order {row['id']} is {row['state']}: {row}" for row in self.orders.values()]
        lines += [f"order of ours: {row}" for row in self.usdc_attempts.values()]
        for row in sorted(self.items.values(), key=lambda item: int(item["place"])):
            held = [f"{one['number']} {one['state']}" for one in self.leases_of(row["id"])]
            lines.append(f"item {row['id']} is {row['state']} after {row['tries']} tries: {held}")
        return lines


@dataclass(eq=False)
class Purse(Owner):
    """One session, with the requests, batches and holds that it pays for."""

    requests: dict[str, Deal] = field(default_factory=dict)
    lots: dict[str, Lot] = field(default_factory=dict)
    holds: dict[str, Row] = field(default_factory=dict)
    allowances: dict[str, Row] = field(default_factory=dict)
    amends_msat: int = 0  # of what was charged: it was not made as it was asked for
    used_at: datetime | None = None  # when money last came to it, or was set aside from it

    what = "session"

    @property
    def earned_msat(self) -> int:
        """What of it is ours."""
        charged = sum(row["charge_msat"] for row in self.holds.values())
        bought = sum(lot.earned_msat for lot in self.lots.values())
        done = sum(deal.earned_msat for deal in self.requests.values())
        return int(charged + bought + done) - self.amends_msat

    @property
    def reserved_msat(self) -> int:
        """What is set aside for all that runs: of a batch all of it, until its last item ends."""
        held = [row["amount_msat"] for row in self.holds.values() if row["state"] == "held"]
        lots = sum(lot.set_aside_msat for lot in self.lots.values())
        return int(sum(held) + lots + sum(deal.rests_msat for deal in self.requests.values()))

    @property
    def balance_msat(self) -> int:
        """What must be left to spend. Of a batch that runs, some is both earned and set aside."""
        running = sum(lot.earned_msat for lot in self.lots.values() if lot.is_under_way)
        taken_msat = self.earned_msat - running + self.reserved_msat
        return self.received_msat - self.owed_msat - taken_msat

    @property
    def links(self) -> set[str]:
        """The credentials whose budgets were spent."""
        spent = [owner.row for owner in (*self.requests.values(), *self.lots.values())]
        spent += self.holds.values()
        return {link for row in spent for link in row["budgets"] or ()}.union(self.allowances)

    def used_msat(self, link: str) -> int:
        """Return what was spent, or is set aside, on the word of a credential or its children."""
        requests = [
            deal.rests_msat + deal.earned_msat
            for deal in self.requests.values()
            if link in (deal.row["budgets"] or ())
        ]
        lots = [
            lot.set_aside_msat or lot.earned_msat
            for lot in self.lots.values()
            if link in (lot.row["budgets"] or ())
        ]
        holds = [in_use_msat(row) for row in self.holds.values() if link in (row["budgets"] or ())]
        return sum(requests) + sum(lots) + sum(holds)

    def lines(self, node: Node) -> list[str]:
        """See Owner."""
        lines = [*super().lines(node), f"balance {self.balance_msat}, set aside {self.row}"]
        for deal in self.requests.values():
            lines.append(f"request {deal.row['id']} is {deal.row['state']}")
        for lot in self.lots.values():
            lines.append(f"batch {lot.row['id']} is {lot.row['state']}")
        for row in self.holds.values():
            lines.append(f"hold {row['id']} is {row['state']}")
        return lines


def in_use_msat(held: Row) -> int:
    """Return what a hold takes from whoever pays for it."""
    return int(held["amount_msat"] if held["state"] == "held" else held["charge_msat"])
