"""THE SHELL: lock → decide → write state, entries, promises → commit. Nothing outside is called.

It is the only writer of a state column. An event that the law does not allow any more is a
replay, and a named outcome: nothing changed, and nothing is wrong. A file a noun; each function
takes an Act, and `Shell.do` gives it one.
"""

from app.advance import (
    accounts,
    authorizations,
    batches,
    casts,
    connecting,
    deposits,
    holds,
    invoices,
    jobs,
    keys,
    leases,
    notices,
    payouts,
    purging,
    sessions,
    spells,
    transfers,
    usdc_payouts,
    wallets,
)
from app.advance.act import Act
from app.advance.outcome import (
    Applied,
    Dear,
    Lost,
    Missing,
    Otherwise,
    Outcome,
    Payer,
    Purse,
    Replayed,
    Short,
    Spending,
    Stale,
    Terms,
    Unproven,
)
from app.advance.shell import Shell

__all__ = [
    "Act",
    "Applied",
    "Dear",
    "Lost",
    "Missing",
    "Otherwise",
    "Outcome",
    "Payer",
    "Purse",
    "Replayed",
    "Shell",
    "Short",
    "Spending",
    "Stale",
    "Terms",
    "Unproven",
    "accounts",
    "authorizations",
    "batches",
    "casts",
    "connecting",
    "deposits",
    "holds",
    "invoices",
    "jobs",
    "keys",
    "leases",
    "notices",
    "payouts",
    "purging",
    "sessions",
    "spells",
    "transfers",
    "usdc_payouts",
    "wallets",
]
