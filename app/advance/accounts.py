"""Accounts of people: opened once for each proven name, and logged into."""

import secrets
from dataclasses import dataclass
from datetime import datetime

from app.advance.act import Act
from db import people
from db.people import NewLogin, Password
from db.people_tables import IdentityKind


@dataclass(frozen=True, slots=True)
class Opening:
    """What a new account with a password is made of."""

    account_id: str
    name: str
    secret: str
    recovery_sha256: str


async def open_with_password(act: Act, new: Opening, login: NewLogin) -> bool:
    """Open an account under a name, and log into it. False: the name is another's already."""
    is_ours = await people.claim(
        act.tx,
        IdentityKind.PASSWORD,
        new.name,
        new.account_id,
        act.now,
        secret=new.secret,
        recovery_sha256=new.recovery_sha256,
    )
    if is_ours:
        await people.insert(act.tx, new.account_id, act.now)
        await people.log_in(act.tx, new.account_id, login, act.now)
    return is_ours


async def log_in(act: Act, account_id: str, login: NewLogin) -> None:
    """Log into an account that its caller has proven to hold."""
    await people.log_in(act.tx, account_id, login, act.now)


async def log_in_by_password(act: Act, kept: Password, login: NewLogin) -> bool:
    """Log into an account whose password was right. False: it was changed meanwhile."""
    holds = await people.lock_password(act.tx, kept)
    if holds:
        await people.log_in(act.tx, kept.account_id, login, act.now)
    return holds


async def change_password(
    act: Act, kept: Password, secret: str, recovery_sha256: str, login_id: str
) -> bool:
    """Give an account another password and recovery code, and end all its logins but one.

    False: it was changed meanwhile.
    """
    holds = await people.lock_password(act.tx, kept)
    if holds:
        await people.set_password(act.tx, kept.name, secret, recovery_sha256)
        await people.log_out_all(act.tx, kept.account_id, login_id)
    return holds


async def recover(
    act: Act, kept: Password, secret: str, recovery_sha256: str, login: NewLogin
) -> bool:
    """Give an account another password and recovery code; end all its logins, and begin one.

    False: it was changed meanwhile.
    """
    holds = await people.lock_password(act.tx, kept)
    if holds:
        await people.set_password(act.tx, kept.name, secret, recovery_sha256)
        await people.log_out_all(act.tx, kept.account_id)
        await people.log_in(act.tx, kept.account_id, login, act.now)
    return holds


async def log_out(act: Act, account_id: str, login_id: str) -> bool:
    """End a login of an account; False: it has none of that id."""
    return await people.log_out(act.tx, account_id, login_id)


@dataclass(frozen=True, slots=True)
class SignedBy:
    """A wallet that has signed a nonce of ours; until then nobody else may use that."""

    address: str
    nonce: str
    until: datetime


@dataclass(frozen=True, slots=True)
class OfWallet:
    """The account that a wallet opens."""

    id: str
    is_new: bool


async def log_in_by_wallet(act: Act, signed: SignedBy, login: NewLogin) -> OfWallet | None:
    """Log into the account of who has signed; None: the nonce was used before."""
    if not await people.spend_nonce(act.tx, signed.nonce, signed.until):
        return None
    account = await _of_wallet(act, signed.address)
    await people.log_in(act.tx, account.id, login, act.now)
    return account


async def join_wallet(act: Act, account_id: str, signed: SignedBy) -> bool | None:
    """Have a wallet open an account too. False: it opens another; None: the nonce was used."""
    if not await people.spend_nonce(act.tx, signed.nonce, signed.until):
        return None
    if await people.claim(act.tx, IdentityKind.EVM, signed.address, account_id, act.now):
        return True
    return await people.holder_of(act.tx, IdentityKind.EVM, signed.address) == account_id


async def of_wallet(act: Act, address: str) -> str:
    """Return the account of who has proven to hold this address; a new one, where there is none.

    The address is written with its capitals (EIP-55).
    """
    return (await _of_wallet(act, address)).id


async def _of_wallet(act: Act, address: str) -> OfWallet:
    while True:
        account_id = secrets.token_hex(16)
        if await people.claim(act.tx, IdentityKind.EVM, address, account_id, act.now):
            await people.insert(act.tx, account_id, act.now)
            return OfWallet(account_id, is_new=True)
        known = await people.holder_of(act.tx, IdentityKind.EVM, address)
        if known is not None and await people.keep(act.tx, known):
            return OfWallet(known, is_new=False)  # else it is forgotten at this moment
