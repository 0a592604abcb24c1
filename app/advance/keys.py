"""API keys of accounts: made, replaced, revoked, and what is known of their use."""

from collections.abc import Sequence
from datetime import datetime

from app.advance import connecting
from app.advance.act import Act
from app.advance.connecting import Asked
from app.advance.outcome import Applied, Missing, Payer, Purse, Short
from db import api_keys, balances, people
from db.api_keys import Limits, NewKey
from db.invoices import MadeInvoice
from payments import rail
from statemachine.entries import Asset, Entry

MOST = 50  # of one account
CONNECTED = "connected wallet"  # what the first key of an account is called that a payment opens


async def make(act: Act, account_id: str, new: NewKey, name: str, limits: Limits) -> bool | Missing:
    """Give an account another key; False: it has as many as it may. Missing: one on which there was
    never a thing was forgotten at this moment.
    """
    if await people.lock(act.tx, account_id) is None:  # of two at once, one counts the other's
        return Missing()
    if await api_keys.count(act.tx, account_id) >= MOST:
        return False
    await api_keys.insert(act.tx, account_id, new, name, limits, act.now)
    return True


async def connect_lightning(
    act: Act, asked: Asked, number: int, opened: rail.Opened, new: NewKey
) -> MadeInvoice:
    """Ask for a payment over Lightning that opens an account, which has this key from then on."""
    made = await connecting.ask_lightning(act, asked, number, opened)
    await api_keys.insert(act.tx, asked.account_id, new, CONNECTED, Limits(), act.now)
    return made


async def connect_usdc(
    act: Act, asked: Asked, network: str, amounts: Sequence[int], new: NewKey
) -> int | None:
    """Ask for a payment on a chain in the same way; None: each of these amounts is asked for."""
    amount = await connecting.ask_usdc(act, asked, network, amounts)
    if amount is not None:
        await api_keys.insert(act.tx, asked.account_id, new, CONNECTED, Limits(), act.now)
    return amount


async def show(act: Act, sha256: str, since: datetime) -> bool:
    """Say whether a key may be shown to who fetches it: it was never used, and was not shown before
    that time.
    """
    return await api_keys.show(act.tx, sha256, since, act.now)


async def rotate(act: Act, account_id: str, new: NewKey) -> bool:
    """Have another key stand in the place of one; False: the account has none of that id."""
    return await api_keys.replace(act.tx, account_id, new)


async def revoke(act: Act, account_id: str, key_id: str) -> bool:
    """End a key; False: the account has none of that id."""
    return await api_keys.revoke(act.tx, account_id, key_id, act.now)


async def use(act: Act, sha256: str) -> None:
    """Note that a key was used just now."""
    await api_keys.use(act.tx, sha256, act.now)


async def debit(
    act: Act, payer: Payer, amount: int, asset: Asset, entries: Sequence[Entry]
) -> Applied | Short:
    """Have an account pay so much, count it of the key that has it pay, and post what comes of it:
    one call into Postgres.

    Short where that is more than the account has, or than the key may spend, or where the key was
    revoked meanwhile; then nothing is written.
    """
    account_id, key_id = payer.account_id, payer.key_id
    left = await balances.debit_user(act.tx, account_id, key_id, amount, asset, entries, act.now)
    if left is None:
        return Applied()
    if key_id is None or left != balances.NOT_OF_KEY:
        return Short(Purse.ACCOUNT, amount, left, asset)
    return Short(Purse.KEY, amount, await api_keys.left(act.tx, key_id, asset), asset)


async def unspend(act: Act, key_ids: Sequence[str], amount: int, asset: Asset) -> None:
    """Give back to a key what was not charged of what it has spent."""
    for key_id in key_ids:
        await api_keys.unspend(act.tx, key_id, asset, amount)
