"""Where a worker's pay goes, as its page says it."""

from datetime import datetime, timedelta

from db.pay_destinations import directions_of
from db.workers import WorkerRow
from statemachine import pay_destination as law
from statemachine.pay_destination import Directions

WAITS_HOURS = law.WAITS // timedelta(hours=1)


def directions_at(row: WorkerRow, now: datetime) -> Directions:
    """Return where pay goes at this moment: a change that has waited for long enough is so."""
    return law.at(directions_of(row), now)
