"""API keys of accounts: made, replaced, revoked, and what is known of their use."""

from app.advance.act import Act
from db import api_keys, people
from db.api_keys import Limits, NewKey

MOST = 50  # of one account


async def make(act: Act, account_id: str, new: NewKey, name: str, limits: Limits) -> bool:
    """Give an account another key; False: it has as many as it may."""
    await people.lock(act.tx, account_id)  # of two at once, the second counts the first
    if await api_keys.count(act.tx, account_id) >= MOST:
        return False
    await api_keys.insert(act.tx, account_id, new, name, limits, act.now)
    return True


async def rotate(act: Act, account_id: str, new: NewKey) -> bool:
    """Have another key stand in the place of one; False: the account has none of that id."""
    return await api_keys.replace(act.tx, account_id, new)


async def revoke(act: Act, account_id: str, key_id: str) -> bool:
    """End a key; False: the account has none of that id."""
    return await api_keys.revoke(act.tx, account_id, key_id, act.now)


async def use(act: Act, sha256: str) -> None:
    """Note that a key was used just now."""
    await api_keys.use(act.tx, sha256, act.now)
