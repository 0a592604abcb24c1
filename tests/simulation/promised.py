"""What is promised of each owner as its rows stand: all of it must be staged, or being kept."""

from tests.simulation.rows import Owner, Row


def promised(owner: Owner) -> set[str]:
    """Return the names of the promises that are due for a job, a session, a batch or an account."""
    wanted, job_id = set(), owner.row["id"]
    if owner.row.get("state") == "evaluating":
        wanted.add(f"{job_id}:judge")
    if owner.row.get("state") == "executing":
        wanted.add(f"{job_id}:do")
    wanted |= {row["id"] for row in owner.invoices.values() if row["state"] == "wanted"}
    for payout in owner.payouts.values():
        is_owed = payout["state"] == "owed" and payout["refund_to"]
        if is_owed and payout["asset"] != "msat":
            wanted.add(f"{payout['id']}:order:{payout['failures']}")
        elif is_owed and payout["failures"] < 3:
            wanted.add(f"{payout['id']}:fetch:{payout['failures']}")
    for (payout_id, number), attempt in owner.attempts.items():
        if attempt["outcome"] == "live" and attempt["check_at"] is None:
            wanted.add(f"{payout_id}:pay:{number}")
    return wanted


def waits(task: Row | None) -> bool:
    """Say whether a promise waits, and nobody has taken it yet."""
    return task is not None and task["status"] == "todo" and task["attempts"] == 0


def is_for(key: str, invoice: Row) -> bool:
    """Say whether the rail was given this key for an invoice: which of a session's top-ups it would
    be was not known then.
    """
    if invoice["purpose"] == "topup":
        return key.startswith(f"{invoice['session_id']}:topup0:")
    return bool(key == invoice["id"])
