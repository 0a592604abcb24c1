"""Bugs planted on purpose where people have accounts, keys, spells and notices; see `planted`."""

import re
from functools import partial
from typing import Any

from tests.simulation.planted import BuggyShell, Statement
from tests.simulation.process import Make

Values = dict[str, Any]


def pays_twice(query: str, values: Values) -> Statement:
    """Gives an author twice what is theirs of an item, out of what is ours: the books balance."""
    keys, accounts = values.get("keys", ()), values.get("accounts", ())
    legs = list(zip(values.get("of", ()), accounts, strict=True))
    for place, (entry, account) in enumerate(legs):
        if account.startswith("user:") and re.fullmatch(r"item:\w+:delivered", keys[entry - 1]):
            ours = legs.index((entry, "revenue:media"))
            values["amounts"][ours] -= values["amounts"][place]
            values["amounts"][place] *= 2
    return query, values


def pockets(query: str, values: Values) -> Statement:
    """Ends what an account has paid for, and keeps what was not delivered."""
    keys, accounts = values.get("keys", ()), values.get("accounts", ())
    for place, (entry, account) in enumerate(zip(values.get("of", ()), accounts, strict=True)):
        if account.startswith("user:") and re.fullmatch(r"batch:\w+:ended", keys[entry - 1]):
            values["accounts"][place], values["kinds"][place] = "revenue:media", "income"
    return query, values


def keeps(query: str, values: Values) -> Statement | None:
    """Does jobs that USDC has paid for, and keeps what they did not need."""
    if values.get("asset") == "microusdc":
        if re.fullmatch(r"\w+:back", str(values.get("id"))):
            return None
        for place, name in enumerate(values.get("accounts", ())):
            if re.fullmatch(r"refund:\w+:back", name):
                values["accounts"][place], values["kinds"][place] = "revenue:media", "income"
    return query, values


def counts_nothing(query: str, values: Values) -> Statement:
    """Lets a key spend, and does not count what it has spent."""
    if "debit_account(" in query:
        values["key_id"] = None
    return query, values


def gives_twice(query: str, values: Values) -> Statement:
    """Counts twice for a key what it got back of what it has spent."""
    return re.sub(r"(spent_\w+ = spent_\w+ -) %\(amount\)s", r"\1 2 * %(amount)s", query), values


def tells_nobody(query: str, values: Values) -> Statement | None:
    """Writes what is to be told, and promises nobody that it will be."""
    is_promise = "procrastinate_defer_jobs" in query and values.get("kind") == "Notify"
    return None if is_promise else (query, values)


PLANTED_ON_PEOPLE = {
    "an author's share that is paid twice": Make(shell=partial(BuggyShell, bug=pays_twice)),
    "a cast's rest that is kept": Make(shell=partial(BuggyShell, bug=pockets)),
    "a job's rest in USDC that is kept": Make(shell=partial(BuggyShell, bug=keeps)),
    "a key's spending that is not counted": Make(shell=partial(BuggyShell, bug=counts_nothing)),
    "a key's rest that is given back twice": Make(shell=partial(BuggyShell, bug=gives_twice)),
    "a notice that nobody promises": Make(shell=partial(BuggyShell, bug=tells_nobody)),
}
