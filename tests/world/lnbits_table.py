"""What is documented of the LNbits fault matrix: the calls, the faults, and the state of each cell.

docs/faults-lnbits.md is drawn from it by `python -m tests.world.lnbits_table`.
"""

from pathlib import Path

from tests.runs.crash_world import PAYMENTS

PAGE = Path(__file__).parents[2] / "docs" / "faults-lnbits.md"

CALLS: dict[str, tuple[str, str, bytes]] = {
    "create": ("POST", PAYMENTS, b'"out":false'),
    "look up incoming": ("GET", f"{PAYMENTS}/", b""),
    "pay": ("POST", PAYMENTS, b'"out":true'),
    "look up outgoing": ("GET", f"{PAYMENTS}/", b""),
    "push": ("GET", "/api/v1/ws/", b""),
    "balance": ("GET", "/api/v1/wallet", b""),
    "health": ("GET", "/api/v1/wallet", b""),
}
NOBODY_THERE = ("refused", "no such name", "connect timeout")
ENDLESS = ("hang", "slow drip")
TURNED_AWAY = ("401", "404", "429", "429 with Retry-After")
UNHEARD = ("hang", "reset", "500", "502", "503", "520", "200 with HTML")
OF_PAYMENTS = ("paid without preimage", "another hash", "says failed")
HEARD = (
    "reset in mid-body", "slow drip", "truncated JSON", "wrong types", "previous answer",
    *OF_PAYMENTS,
)  # fmt: skip
FAULTS = (*NOBODY_THERE, *TURNED_AWAY, *UNHEARD, *HEARD)
FOR_EVER = 1_000_000
NONE = "-"


def expected(call: str, fault: str) -> str:
    """Return the documented state of one cell."""
    if call in ("balance", "health") and fault in OF_PAYMENTS:
        return NONE  # no payment is in that answer
    if call == "push":
        return NONE if fault in HEARD else "seen all the same"
    if call == "pay":
        if fault in (*NOBODY_THERE, *TURNED_AWAY):
            return "sent later"
        return "owed again" if fault in UNHEARD else "found"
    return {
        "create": "made later",
        "look up incoming": "kept open",
        "look up outgoing": "in flight",
        "balance": "not compared",
        "health": "not ready",
    }[call]


MEANS = {
    "made later": 'Creating a job answers 503 with `Retry-After` and "Nothing was charged";'
    " the same `Idempotency-Key` finds the same job. A work invoice is tried again until it is"
    " there; meanwhile the job shows its price.",
    "kept open": "The job goes on waiting for its payment, up to an hour past the invoice's expiry."
    " Then it fails; a payment that LNbits tells of later is owed back.",
    "sent later": "It is certain that nothing was sent. The refund stays on its way, and the same"
    " invoice is tried again.",
    "found": "It was sent, and the answer was lost or wrong. Another invoice is refused (409,"
    ' "on its way"); the payment is looked up by its hash, and never sent again.',
    "owed again": "Nobody can say whether it was sent. It stays on its way until 75 minutes after"
    " its invoice expired; only then, when LNbits knows nothing of it, is another invoice taken.",
    "in flight": "The refund stays on its way, however long LNbits does not tell. It is asked"
    " again, with pauses of at most five minutes.",
    "seen all the same": "Payments are seen by asking: when somebody polls, and by the sweep."
    " LNbits tells of each payment twice; it is booked once.",
    "not compared": "The review of the books says that the rail did not tell what it holds, and"
    " finds nothing.",
    "not ready": "`/api/readyz` answers 503 and names the reason.",
    NONE: "The fault does not exist for this call.",
}
HEAD = """# LNbits in trouble

What a job or a payout comes to when one call of LNbits goes wrong in one way. Each cell is tried
by `test_lnbits_matrix.py` against the real LNbits, and the table is drawn from what it
expects. After every story all of it has ended: each payout is paid once, and both wallets agree
with the books to the sat.
"""
FOOT = """
"Says failed" is of the first minutes only: an explicit "failed" is believed 75 minutes after the
invoice expired. So is LNbits' own "Payment does not exist.", and no other 404 ever is.
"""


def page() -> str:
    """Return docs/faults-lnbits.md."""
    meanings = "".join(f"| {cell} | {meaning} |\n" for cell, meaning in MEANS.items())
    cells = "".join(
        f"| {fault} | " + " | ".join(expected(call, fault) for call in CALLS) + " |\n"
        for fault in FAULTS
    )
    return (
        f"{HEAD}\n| fault | {' | '.join(CALLS)} |\n|---|{'---|' * len(CALLS)}\n{cells}"
        f"\n| cell | what it means, and what the person is told |\n|---|---|\n{meanings}{FOOT}"
    )


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
