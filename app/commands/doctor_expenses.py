"""What the house gives, for the doctor: the routing of others' money, and what failed work costs.

Both are bounded by settings; a warning says that somebody has come to such a bound today.
"""

from datetime import date

from app.commands.findings import Finding, ok, warn
from app.settings import Settings
from db import failures, ledger, routing
from db.engine import Database
from pricing.money import sats_to_msat, sats_up
from statemachine.entries import EXPENSE_FAILED, Asset
from statemachine.routing import is_nearly_given


async def of_expenses(settings: Settings, db: Database, today: date) -> list[Finding]:
    """Return how what the house gives stands to what it may give."""
    return [await _routing(settings, db, today), await _failures(settings, db, today)]


async def _routing(settings: Settings, db: Database, today: date) -> Finding:
    most_msat = sats_to_msat(settings.routing_free_sats_per_day)
    given_msat = await routing.given_msat(db, today)
    said = (
        f"{_sats(given_msat)} of {settings.routing_free_sats_per_day:,} sats are given today for"
        " what only passed through"
    )
    if not is_nearly_given(given_msat, most_msat):
        return ok("routing", said)
    mend = "see for whom on the operator's page; ROUTING_FREE_SATS bounds it for each payer"
    return warn("routing", said, mend)


async def _failures(settings: Settings, db: Database, today: date) -> Finding:
    most = settings.free_failures_per_day
    spent_msat = await ledger.balance(db, EXPENSE_FAILED.name, Asset.MSAT)
    said = f"work that failed has cost {_sats(spent_msat)} sats in all"
    payers = await failures.beyond(db, today, most)
    if not payers:
        return ok("failures", said)
    who = "one payer" if payers == 1 else f"{payers:,} payers"
    mend = "look in the log at what the agents answer; FREE_FAILURES_PER_DAY bounds it"
    return warn("failures", f"{said}; {who} had more than {most} failures today", mend)


def _sats(amount_msat: int) -> str:
    return f"{sats_up(amount_msat):,}"
