"""What an account has spent: its days, and what it was spent on."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from app.ports import Clock
from db import user_spending
from db.engine import Database
from db.user_spending import Bought, DaySpent, Piece, ToolSpent

DAY = timedelta(days=1)


class TimeUnit(StrEnum):
    """How long a time is looked at: whole days (UTC), of which the last may not be over."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"

    @property
    def days(self) -> int:
        """How many days that is."""
        return {"day": 1, "week": 7, "month": 30, "year": 365}[self.value]


@dataclass(frozen=True, slots=True)
class History:
    """What was spent in a time, by the day and by what it was spent on."""

    first: datetime
    end: datetime
    days: list[DaySpent]
    tools: list[ToolSpent]

    @property
    def dates(self) -> list[date]:
        """Every day of it, also those on which nothing was spent."""
        return [
            (self.first + number * DAY).date() for number in range((self.end - self.first).days)
        ]


@dataclass(frozen=True, slots=True)
class Histories:
    """The desk of what accounts have spent."""

    db: Database
    clock: Clock

    async def spent(self, account_id: str, unit: TimeUnit, offset: int) -> History:
        """Return what was spent in the latest such time, or so many of them before."""
        midnight = self.clock().replace(hour=0, minute=0, second=0, microsecond=0)
        end = midnight + DAY - offset * unit.days * DAY
        first = end - unit.days * DAY
        days = await user_spending.by_day(self.db, account_id, first, end)
        tools = await user_spending.by_tool(self.db, account_id, first, end)
        return History(first, end, days, tools)

    async def bought(self, account_id: str, most: int) -> list[Bought]:
        """Return what an account has bought, the newest first."""
        return await user_spending.bought(self.db, account_id, most)

    async def pieces(self, account_id: str, offset: int, most: int) -> list[Piece]:
        """Return what was made for an account, files while they are kept, the newest first."""
        return await user_spending.pieces(self.db, account_id, self.clock(), offset, most)
