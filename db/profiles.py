"""What is said of an account besides its names and its balances."""

from datetime import datetime
from typing import NamedTuple

from db.engine import Database


class Profile(NamedTuple):
    """Since when there is an account, and when its holder signed in last."""

    created_at: datetime
    last_login_at: datetime


async def of_account(db: Database, account_id: str) -> Profile | None:
    """Return since when there is an account; None when there is none."""
    query = "SELECT created_at, last_login_at FROM user_account WHERE id = %(id)s"
    return await db.row(Profile, query, id=account_id)
