"""What may be purged: what nobody paid for, a day after it lapsed. Of each invoice enough is kept
for a week, so that a payment that comes all the same is owed back.
"""

from collections import Counter
from datetime import datetime, timedelta

from tests.simulation.clock import Clock
from tests.simulation.node import Node
from tests.simulation.rows import Owner, Row, hold

SKEW = timedelta(hours=2)  # the server's clock may be an hour off, both times that it is read
AT_LEAST_KEPT = timedelta(days=1) - SKEW
AT_LEAST_KNOWN = timedelta(days=7) - SKEW
# Purposes of what a buyer asks for before paying.
PURGED = ("eval", "ask", "deposit", "topup", "batch", "credit")
ENDED = {"job": ("failed",), "session": ("expired",), "batch": ("cancelled",)}


class Purged:
    """What was purged, and the slim rows that are kept of its invoices."""

    def __init__(self, node: Node, clock: Clock) -> None:
        self._node, self._clock = node, clock
        self.kept: dict[str, Row] = {}  # slim rows, by payment_hash
        self.owners: dict[str, Owner] = {}
        self.seen: Counter[str] = Counter()  # for a report
        self._gone: dict[str, Row] = {}  # slim rows that went since the last check
        self._restored: set[str] = set()

    # ------------------------------------------------------------------ what is witnessed

    def slim_row(self, was: Row | None, now: Row | None) -> None:
        """Take in a change of what is kept of an invoice."""
        if now is not None:
            self.kept[now["payment_hash"]] = now
        elif was is not None:
            self._gone[was["payment_hash"]] = self.kept.pop(was["payment_hash"])

    def purge_invoice(self, row: Row) -> None:
        """Take in that an invoice was purged."""
        name = f"the invoice {row['id']} ({row['state']})"
        hold(is_unpaid(row), 7, f"{name} was purged, and it is not one that nobody paid")
        age = self._age(row)
        hold(age >= AT_LEAST_KEPT, 7, f"{name} was purged {age} after it lapsed")
        hold(row["payment_hash"] in self.kept, 7, f"{name} was purged, and nothing of it is kept")

    def purge(self, owner: Owner) -> None:
        """Take in that a job, session or batch was purged, whose invoices were purged before."""
        name = f"the {owner.what} {owner.row['id']} ({owner.row['state']})"
        hold(owner.row["state"] in ENDED[owner.what], 7, f"{name} was purged")
        rows = [*owner.invoices.values(), *owner.payouts.values()]
        hold(not rows, 7, f"{name} was purged, and not {[row['id'] for row in rows]}")
        self.owners[owner.row["id"]] = owner
        self.seen[f"{owner.what} purged"] += 1

    def begin(self, row: Row) -> None:
        """Take in what is new: a job, session or batch that was purged is what it was."""
        before = self.owners.pop(row["id"], None)
        if before is None:
            return
        self._restored.add(row["id"])
        kept = ("price_amount" if before.what == "batch" else "quote", "eval_msat", "refund_to")
        for name in (name for name in kept if name in row):
            was, now = before.row[name], row[name]
            hold(was == now, 7, f"{row['id']} came back with {name} {now} in place of {was}")

    def is_restored(self, owner_id: str) -> bool:
        """Say whether a job, session or batch came back, by a payment that came too late."""
        return owner_id in self._restored

    def comes_back(self, invoice: Row) -> bool:
        """Say whether an invoice that is new was purged, and is paid now."""
        return invoice["state"] == "expired" and invoice["payment_hash"] in self._gone

    # ------------------------------------------------------------------ what must hold

    def check(self, settled: Counter[str]) -> None:
        """Check what went since the last time; `settled` counts entries by payment_hash."""
        for payment_hash, row in self._gone.items():
            if settled[payment_hash]:
                self.seen["paid after it was purged"] += 1
                continue
            name, age = f"what was kept of {row['invoice_id']}", self._age(row)
            hold(age >= AT_LEAST_KNOWN, 7, f"{name} was forgotten after {age}")
            received = self._node.invoices[payment_hash].received_msat
            hold(not received, 7, f"{name} was forgotten, and {received} were paid for it")
            self.seen["forgotten"] += 1
        self._gone.clear()

    def _age(self, row: Row) -> timedelta:
        return self._clock.true - datetime.fromisoformat(row["expires_at"])


def is_unpaid(invoice: Row) -> bool:
    """Say whether nobody has paid this invoice, and nobody is asked to any more."""
    return invoice["purpose"] in PURGED and invoice["state"] in ("expired", "canceled")
