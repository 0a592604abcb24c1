"""Bugs planted on purpose, to see that the auditor finds them. Nothing else may use these."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from app.advance import Act, Shell
from app.plant import Built, keeper_of
from app.promises.keeping import Keeper
from app.promises.labour import Labour
from app.promises.usdc_sending import UsdcSending
from db import arrays
from db.engine import Asked, Tx
from payments import rail
from payments.usdc.outcome import Failed, Outcome, Unknown
from payments.usdc.payment import Payment
from statemachine import job as law
from tests.simulation.process import Make

Statement = tuple[str, dict[str, Any]]
Bug = Callable[[str, dict[str, Any]], Statement | None]


TEXTS, INTEGERS = ("keys", "accounts", "kinds"), ("of", "amounts")  # of an entry; see db.ledger
NOTHING = "SELECT 1 WHERE false"  # in the place of a statement that is left out


class BuggyTx(Tx):
    """A transaction in which some statements are others than the shell's, or are left out."""

    def __init__(self, tx: Tx, bug: Bug) -> None:
        self._tx, self._bug = tx, bug

    async def ask(self, query: str, **values: Any) -> Asked:
        """See Tx.ask. A bug sees what is posted as lists, not as Postgres reads them."""
        posts = isinstance(values.get("kinds"), str)
        if posts:
            values |= {name: _listed(values[name]) for name in TEXTS}
            values |= {name: [int(each) for each in _listed(values[name])] for name in INTEGERS}
        query, values = self._bug(query, values) or (NOTHING, {})
        if posts and values:
            values |= {name: arrays.texts(values[name]) for name in TEXTS}
            values |= {name: arrays.integers(values[name]) for name in INTEGERS}
        return await self._tx.ask(query, **values)


def _listed(array: str) -> list[str]:
    """Return an array that Postgres reads, of names or of numbers, as a list."""
    plain = array.strip("{}")
    return plain.strip('"').split('","' if '"' in plain else ",") if plain else []


@dataclass(frozen=True)
class BuggyShell(Shell):
    """A shell that writes what the bug makes of its statements."""

    bug: Bug = field(kw_only=True)

    def act(self, tx: Tx) -> Act:
        """See Shell.act."""
        return super().act(BuggyTx(tx, self.bug))


def forgets(query: str, values: dict[str, Any]) -> Statement | None:
    """Completes jobs, and forgets the entry of their charge."""
    charges = re.compile(r"job:\w+:(charged|ended)")
    return None if any(map(charges.fullmatch, values.get("keys", ()))) else (query, values)


def keeps(query: str, values: dict[str, Any]) -> Statement | None:
    """Ends sessions, and keeps what was left of them."""
    if values.get("reason") == "unspent":
        return None
    for place, name in enumerate(values.get("accounts", ())):
        if re.fullmatch(r"refund:\w+:rest:?\d*", name):
            values["accounts"][place], values["kinds"][place] = "revenue:work", "income"
    return query, values


def clings(query: str, values: dict[str, Any]) -> Statement | None:
    """Ends requests, and lets go of nothing that was set aside for them."""
    if "give_back(" in query:
        values["amount_msat"] = 0
    writes = "reserved_msat = %(reserved_msat)s"
    return query.replace(writes, f"reserved_msat = greatest({writes[16:]}, reserved_msat)"), values


def overlooks(query: str, values: dict[str, Any]) -> Statement | None:
    """Sets money aside, and looks at no credential's budget."""
    if values.get("limits"):
        values["links"] = values["limits"] = None
    return query, values


_FORGET = "DELETE FROM invoice WHERE"
_BY_AGE = f"""{_FORGET} purpose <> 'work' AND expires_at <= (
  SELECT max(expires_at) FROM invoice WHERE id = ANY(%(ids)s))"""


def pockets(query: str, values: dict[str, Any]) -> Statement | None:
    """Ends batches, and keeps what they did not deliver."""
    if values.get("reason") == "undelivered":
        return None
    for place, name in enumerate(values.get("accounts", ())):
        if re.fullmatch(r"refund:\w+:undelivered", name):
            values["accounts"][place], values["kinds"][place] = "revenue:media", "income"
    return query, values


def insists(query: str, values: dict[str, Any]) -> Statement | None:
    """Gives an item to whoever could not make it before."""
    for worker, tried in (("%(worker)s", "i.tried"), ("a.worker", "t.tried")):
        query = query.replace(f"{worker} <> ALL({tried})", f"{worker} <> ''")
    return query, values


def tidies(query: str, values: dict[str, Any]) -> Statement | None:
    """Purges what is as old as what nobody paid for, whether it was paid or not."""
    return (_BY_AGE if query.startswith(_FORGET) else query), values


def wastes(query: str, values: dict[str, Any]) -> Statement | None:
    """Purges what nobody paid for, and keeps nothing by which a late payment is known."""
    return None if "INSERT INTO lapsed_invoice" in query else (query, values)


class HastyKeeper(Keeper):
    """Takes a rail that does not answer for one that says no, and has the refund sent again."""

    async def _conclude(
        self, payout_id: str, number: int, outcome: rail.Outcome, believe_failed: bool
    ) -> None:
        if isinstance(outcome, rail.Unknown):
            outcome, believe_failed = rail.Failed("no answer"), True
        await super()._conclude(payout_id, number, outcome, believe_failed)


class HastyUsdcSending(UsdcSending):
    """Takes a chain that has not shown a refund yet for one that never will."""

    async def _conclude(self, payout_id: str, number: int, order: Payment, became: Outcome) -> None:
        if isinstance(became, Unknown):
            became = Failed("not there")
        await UsdcSending._conclude(self, payout_id, number, order, became)


def hasty_in_usdc(built: Built) -> Keeper:
    """Return a keeper whose refunds in USDC are owed again too soon."""
    keeper = keeper_of(built)
    keeper.usdc = HastyUsdcSending(built.db, built.shell, built.usdc, built.clock)
    return keeper


_COMPLETE = "UPDATE job SET state = 'complete', result = %(said)s WHERE id = %(id)s"


class HandyLabour(Labour):
    """Writes down by itself that the work is done, and does not trouble the shell with it."""

    async def _tell(self, job_id: str, event: law.Event, cost_msat: int) -> None:
        if not isinstance(event, law.Finished):
            await super()._tell(job_id, event, cost_msat)
            return
        values = {"id": job_id, "said": event.text}
        await self._db.run("finished", lambda tx: tx.execute(_COMPLETE, **values))


PLANTED = {
    "a charge without its entry": Make(shell=partial(BuggyShell, bug=forgets)),
    "a request that lets go of nothing": Make(shell=partial(BuggyShell, bug=clings)),
    "a rest that is kept": Make(shell=partial(BuggyShell, bug=keeps)),
    "a batch that keeps its rest": Make(shell=partial(BuggyShell, bug=pockets)),
    "an item given again to who lost it": Make(shell=partial(BuggyShell, bug=insists)),
    "a budget that nobody looks at": Make(shell=partial(BuggyShell, bug=overlooks)),
    "a purge that looks at the age alone": Make(shell=partial(BuggyShell, bug=tidies)),
    "a purge that keeps nothing": Make(shell=partial(BuggyShell, bug=wastes)),
    "a refund retried on Unknown": Make(keeper=partial(keeper_of, kind=HastyKeeper)),
    "a refund in USDC owed again on Unknown": Make(keeper=hasty_in_usdc),
    "a state written outside advance": Make(keeper=partial(keeper_of, kind_of_labour=HandyLabour)),
}
