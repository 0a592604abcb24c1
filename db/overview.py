"""What an operator sees at a glance. Each question reads what is open now, or what was counted:
none of them grows with how much is done.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from db.engine import Database
from statemachine.entries import (
    EXPENSE_CANARIES,
    EXPENSE_ROUTING,
    REVENUE_EVAL,
    REVENUE_FORFEITS,
    REVENUE_FREE,
    REVENUE_MEDIA,
    REVENUE_WORK,
    Asset,
    Kind,
)

EARNS = tuple(each.name for each in (REVENUE_EVAL, REVENUE_WORK, REVENUE_MEDIA, REVENUE_FORFEITS))
COSTS = EXPENSE_ROUTING.name, EXPENSE_CANARIES.name  # the others are paid out of another pocket


class Tally(NamedTuple):
    """How many jobs began, or ended in one way, in an hour."""

    hour: datetime
    what: str
    n: int


async def tallies(db: Database, since: datetime) -> list[Tally]:
    """Return how many jobs began, and ended in which way, in each hour."""
    return await db.rows(
        Tally,
        "SELECT hour, what, sum(n)::bigint AS n FROM job_tally WHERE hour >= %(since)s"
        " GROUP BY hour, what ORDER BY hour, what",
        since=since,
    )


_OPEN = """
SELECT state, count(*) AS n FROM job
 WHERE state IN ('awaiting_eval_payment', 'evaluating', 'awaiting_work_payment', 'executing')
 GROUP BY state
"""


async def open_jobs(db: Database) -> dict[str, int]:
    """Return how many jobs are in each state that is not an end."""
    return {row["state"]: row["n"] for row in await db.read_all(_OPEN)}


@dataclass(frozen=True, slots=True)
class Sheet:
    """The books in msat, in one snapshot: what the rail holds, whose it is, what was earned."""

    rail_msat: int
    earned: dict[str, int]  # revenue accounts
    spent: dict[str, int]  # expense accounts
    in_jobs_msat: int  # paid, and being worked for, batches included
    in_sessions_msat: int  # prepaid: of sessions, what is set aside for a call included, and people
    on_its_way_msat: int  # payouts that the rail was told to make

    @property
    def given_msat(self) -> int:
        """What models cost where nobody paid, and what makers do: spent, and paid by ourselves."""
        return self.earned.get(REVENUE_FREE.name, 0)

    @property
    def earned_msat(self) -> int:
        """What customers have paid for."""
        return sum(self.earned.values()) - self.given_msat

    @property
    def spent_msat(self) -> int:
        """What has left the wallet to get money where it belongs."""
        return sum(self.spent.values()) - self.given_msat

    @property
    def bill(self) -> dict[str, int]:
        """What customers have paid for, less what has left the wallet for it, by account: together
        that is `earned_msat` - `spent_msat`."""
        earned = {name: self.earned.get(name, 0) for name in EARNS}
        return earned | {name: -self.spent.get(name, 0) for name in COSTS}

    @property
    def owed_msat(self) -> int:
        """What belongs to others, whatever for: the books sum to zero."""
        return self.rail_msat - self.earned_msat + self.spent_msat

    @property
    def waiting_msat(self) -> int:
        """What is owed back and waits to be sent."""
        return self.owed_msat - self.in_jobs_msat - self.in_sessions_msat - self.on_its_way_msat


_SHEET = """
SELECT (SELECT json_object_agg(name, balance) FROM kept_balance WHERE asset = 'msat'
         AND name IN ('rail:lightning', 'revenue:eval', 'revenue:work', 'revenue:media',
         'revenue:free', 'revenue:forfeits', 'expense:routing', 'expense:free', 'expense:failed',
         'expense:makers', 'expense:canaries')) AS flat,
       (SELECT coalesce(sum((SELECT balance FROM account a WHERE a.name = 'job:' || j.id
         AND a.asset = 'msat')), 0)::bigint FROM job j
        WHERE j.state IN ('evaluating', 'executing'))
     + (SELECT coalesce(sum(price_amount - charged_amount), 0)::bigint FROM batch
        WHERE asset = 'msat' AND state IN ('queued', 'processing')) AS in_jobs,
       (SELECT coalesce(sum((SELECT balance FROM account a WHERE a.name = 'session:' || s.id
         AND a.asset = 'msat')), 0)::bigint FROM session s
        WHERE s.state IN ('active', 'paused'))
     + (SELECT coalesce(sum(amount_msat), 0)::bigint FROM hold WHERE state = 'held')
     + (SELECT coalesce(sum(balance), 0)::bigint FROM account
        WHERE starts_with(name, 'user:') AND asset = 'msat') AS in_sessions,
       (SELECT coalesce(sum(amount), 0)::bigint FROM payout
         WHERE asset = 'msat' AND (state = 'in_flight' OR (state = 'owed' AND failures >= 3))
           AND state = 'in_flight') AS on_its_way
"""


async def sheet(db: Database) -> Sheet:
    """Return the books as they are now."""
    row = await db.read_one(_SHEET)
    assert row is not None
    flat: dict[str, int] = row["flat"] or {}
    return Sheet(
        rail_msat=flat.get("rail:lightning", 0),
        earned={name: flat[name] for name in sorted(flat) if name.startswith("revenue:")},
        spent={name: flat[name] for name in sorted(flat) if name.startswith("expense:")},
        in_jobs_msat=row["in_jobs"],
        in_sessions_msat=row["in_sessions"],
        on_its_way_msat=row["on_its_way"],
    )


_GROUPS = """
SELECT asset, kind, CASE kind WHEN 'liability' THEN split_part(name, ':', 1) ELSE name END AS name,
       count(*) FILTER (WHERE balance <> 0) AS held, sum(balance)::bigint AS kept,
       sum(recomputed)::bigint AS recomputed,
       count(*) FILTER (WHERE balance <> recomputed) AS wrong
  FROM (SELECT a.asset, a.name, a.kind, a.balance, coalesce(sum(leg.amount), 0)
               * CASE WHEN a.kind IN ('asset', 'expense') THEN 1 ELSE -1 END AS recomputed
          FROM kept_balance a LEFT JOIN (SELECT p.account, p.amount, e.asset
                 FROM posting p JOIN entry e ON e.id = p.entry_id) leg
            ON leg.account = a.name AND leg.asset = a.asset
         GROUP BY a.asset, a.name, a.kind, a.balance) AS line
 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


class Group(NamedTuple):
    """Accounts of one kind and asset, as one line of the trial balance."""

    asset: Asset
    kind: Kind
    name: str
    held: int
    kept: int
    recomputed: int
    wrong: int


async def trial_groups(db: Database) -> list[Group]:
    """Recompute the trial balance from every posting: accounts of one kind and asset are a line.

    This one reads everything: it is for when it is asked for.
    """
    return await db.rows(Group, _GROUPS)


def first_hour(now: datetime, hours: int) -> datetime:
    """Return the beginning of the first of so many hours, this one included."""
    return now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours - 1)
