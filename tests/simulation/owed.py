"""What must hold of what is owed and sent over Lightning, whoever owes it: from money.md again."""

from tests.simulation.node import Node
from tests.simulation.prices import MARGIN
from tests.simulation.rows import Owner, Row, hold

PASSING = ("overpaid", "unawaited", "unspent", "change")
ROUTING_MSAT = 20_000  # that the house gives for one payer


def check_routing(owner: Owner) -> None:
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


def check_attempts(node: Node, owner: Owner, payout: Row) -> None:
    """Check that what is owed over Lightning is given once, and to whom it was promised."""
    tries = [a for (name, _), a in owner.attempts.items() if name == payout["id"]]
    alive = [a for a in tries if a["outcome"] != "returned"]
    wanted = {"owed": 0, "in_flight": 1, "paid": 1}[payout["state"]]
    hold(len(alive) == wanted, 5, f"{payout['id']} is {payout['state']} with {len(alive)} tries")
    sent = [node.sent.get(a["payment_hash"]) for a in tries]
    given = sum(s.to.amount_msat for s in sent if s is not None and s.will_settle)
    hold(given <= payout["amount"], 5, f"{payout['id']} was paid out twice")
    for attempt in tries:
        payment_hash = attempt["payment_hash"]
        calls = node.calls.get(payment_hash, 0)
        unsent = node.unsent.get(payment_hash, 0)
        hold(calls <= 1 + unsent, 5, f"{payout['id']} was handed to the rail {calls} times")
