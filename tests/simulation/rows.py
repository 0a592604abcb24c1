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
ARCS = {"invoices": JOB_ARCS, "invoice": FIRM_ARCS, "session": REQUEST_ARCS}
# The rail makes the first invoice of anything before its row is there, and that of work after.
FIRST_STATES = {"eval": "open", "ask": "open", "deposit": "open", "topup": "open", "work": "wanted"}
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
HOLD_ARCS = {(None, "held"), ("held", "charged"), ("held", "dropped")}
FINAL = ("rejected", "complete", "failed")


class Violation(AssertionError):
    """An invariant of money.md does not hold."""


def hold(condition: object, number: int, what: str) -> None:
    """Raise Violation, with the number of the invariant, unless the condition holds."""
    if not condition:
        raise Violation(f"invariant {number}: {what}")


@dataclass(eq=False)
class Owner:
    """Whose invoices and payouts they are: a job, or a session."""

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
        lines = [f"{self.what} {self.row['id']} is {self.row['state']}"]
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
class Deal(Owner):
    """One job, with all that belongs to it."""

    fee_earned: bool = False

    @property
    def is_firm(self) -> bool:
        """Say whether all of it was paid at once."""
        return bool(self.row["funding"] != "invoices")

    @property
    def prepaid_msat(self) -> int:
        """What a job at a firm price may cost at most."""
        return int(self.row["eval_msat"] + self.row["quote"]["total_msat"])

    @property
    def earned_msat(self) -> int:
        """What of it is ours."""
        earned = self.row["eval_msat"] if self.fee_earned else 0
        return int(earned + (self.row["charge"]["total_msat"] if self.row["charge"] else 0))

    @property
    def rests_msat(self) -> int:
        """What rests on it, neither earned nor owed back."""
        state = self.row["state"]
        if self.is_firm:
            return self.prepaid_msat if state in ("evaluating", "executing") else 0
        if state == "evaluating":
            return int(self.row["eval_msat"])
        return int(self.row["quote"]["total_msat"]) if state == "executing" else 0


@dataclass(eq=False)
class Purse(Owner):
    """One session, with the requests and holds that it pays for."""

    requests: dict[str, Deal] = field(default_factory=dict)
    holds: dict[str, Row] = field(default_factory=dict)
    allowances: dict[str, Row] = field(default_factory=dict)
    used_at: datetime | None = None  # when money last came to it, or was set aside from it

    what = "session"

    @property
    def earned_msat(self) -> int:
        """What of it is ours."""
        charged = sum(row["charge_msat"] for row in self.holds.values())
        return int(charged + sum(deal.earned_msat for deal in self.requests.values()))

    @property
    def reserved_msat(self) -> int:
        """What is set aside for all that runs."""
        held = [row["amount_msat"] for row in self.holds.values() if row["state"] == "held"]
        return int(sum(held) + sum(deal.rests_msat for deal in self.requests.values()))

    @property
    def balance_msat(self) -> int:
        """What must be left to spend."""
        return self.received_msat - self.owed_msat - self.earned_msat - self.reserved_msat

    @property
    def links(self) -> set[str]:
        """The credentials whose budgets were spent."""
        spent = [deal.row for deal in self.requests.values()] + list(self.holds.values())
        return {link for row in spent for link in row["budgets"] or ()}.union(self.allowances)

    def used_msat(self, link: str) -> int:
        """Return what was spent, or is set aside, on the word of a credential or its children."""
        requests = [
            deal.rests_msat + deal.earned_msat
            for deal in self.requests.values()
            if link in (deal.row["budgets"] or ())
        ]
        holds = [in_use_msat(row) for row in self.holds.values() if link in (row["budgets"] or ())]
        return sum(requests) + sum(holds)

    def lines(self, node: Node) -> list[str]:
        """See Owner."""
        lines = [*super().lines(node), f"balance {self.balance_msat}, set aside {self.row}"]
        for deal in self.requests.values():
            lines.append(f"request {deal.row['id']} is {deal.row['state']}")
        for row in self.holds.values():
            lines.append(f"hold {row['id']} is {row['state']}")
        return lines


def in_use_msat(held: Row) -> int:
    """Return what a hold takes from whoever pays for it."""
    return int(held["amount_msat"] if held["state"] == "held" else held["charge_msat"])
