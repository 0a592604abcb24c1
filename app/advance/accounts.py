"""Accounts of people: opened once for each proven name, logged into, paid in and taken out of."""

from dataclasses import dataclass
from datetime import timedelta

from app.advance import connecting, deposits, proofs
from app.advance.act import Act
from app.advance.outcome import Applied, Disproved, Missing, Outcome, Purse, Short, Unproven
from app.advance.proofs import Proof, SignedBy
from app.advance.writing import Payee, perform, write_first
from db import balances, connect_requests, payouts, people
from db.invoices import MadeInvoice
from db.lapsed_tables import LapsedInvoice
from db.people import AccountRow, NewLogin, Password
from db.people_tables import IdentityKind
from payments import rail
from statemachine import account as law
from statemachine.entries import Asset
from statemachine.owner import Owner, OwnerKind


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
        await people.set_password(act.tx, kept.name, secret, recovery_sha256, act.now)
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
        await people.set_password(act.tx, kept.name, secret, recovery_sha256, act.now)
        await people.log_out_all(act.tx, kept.account_id)
        await people.log_in(act.tx, kept.account_id, login, act.now)
    return holds


async def log_out(act: Act, account_id: str, login_id: str) -> bool:
    """End a login of an account; False: it has none of that id."""
    return await people.log_out(act.tx, account_id, login_id)


@dataclass(frozen=True, slots=True)
class OfWallet:
    """The account that a wallet opens."""

    id: str
    is_new: bool


async def log_in_by_wallet(act: Act, signed: SignedBy, login: NewLogin) -> OfWallet | None:
    """Log into the account of who has signed; None: the nonce was used before."""
    if not await people.spend_nonce(act.tx, signed.nonce, signed.until):
        return None
    account = await _opened_by(act, IdentityKind.EVM, signed.address)
    if not account.is_new:  # a new one has them
        await deposits.claim(act, signed.address, account.id)
    await people.log_in(act.tx, account.id, login, act.now)
    return account


async def join_wallet(act: Act, account_id: str, signed: SignedBy) -> bool | None:
    """Have a wallet open an account too. False: it opens another; None: the nonce was used."""
    if not await people.spend_nonce(act.tx, signed.nonce, signed.until):
        return None
    joined = await _joined(act, IdentityKind.EVM, signed.address, account_id)
    if joined:
        await deposits.claim(act, signed.address, account_id)
    return joined


async def sign_lightning(act: Act, signed: SignedBy) -> bool:
    """Keep that a Lightning wallet has signed a code. False: it was signed before, by another, or
    what that proves was fetched.
    """
    if await people.spend_nonce(act.tx, signed.nonce, signed.until):
        await people.sign_lightning(act.tx, signed.nonce, signed.address, signed.until)
        return True
    return await people.lightning_signer(act.tx, signed.nonce) == signed.address


async def log_in_by_lightning(act: Act, k1: str, login: NewLogin) -> OfWallet | None:
    """Log into the account of the wallet that has signed a code; None: nobody has, or it was
    fetched.
    """
    key = await people.take_lightning(act.tx, k1)
    if key is None:
        return None
    account = await _opened_by(act, IdentityKind.LIGHTNING, key)
    await people.log_in(act.tx, account.id, login, act.now)
    return account


async def join_lightning(act: Act, account_id: str, k1: str) -> bool | None:
    """Have the wallet that has signed a code open an account too. False: it opens another; None:
    nobody has signed, or it was fetched.
    """
    key = await people.take_lightning(act.tx, k1)
    if key is None:
        return None
    return await _joined(act, IdentityKind.LIGHTNING, key, account_id)


async def _joined(act: Act, kind: IdentityKind, name: str, account_id: str) -> bool:
    if await people.claim(act.tx, kind, name, account_id, act.now):
        return True
    return await people.holder_of(act.tx, kind, name) == account_id


async def of_wallet(act: Act, address: str) -> str:
    """Return the account of who has proven to hold this address; a new one, where there is none.

    What was sent from it before is on that then. The address is written with its capitals (EIP-55).
    """
    return (await _opened_by(act, IdentityKind.EVM, address)).id


async def _opened_by(act: Act, kind: IdentityKind, name: str) -> OfWallet:
    """Return the account that a proven name opens; a new one, where there is none."""
    while True:
        account_id = act.new_id()
        if await people.claim(act.tx, kind, name, account_id, act.now):
            await people.insert(act.tx, account_id, act.now)
            if kind is IdentityKind.EVM:
                await deposits.claim(act, name, account_id)
            return OfWallet(account_id, is_new=True)
        known = await people.holder_of(act.tx, kind, name)
        if known is not None and await people.keep(act.tx, known):
            return OfWallet(known, is_new=False)  # else it is forgotten at this moment


async def ask_deposit(
    act: Act, account_id: str, number: int, opened: rail.Opened
) -> MadeInvoice | Missing:
    """Give an account a deposit's invoice, made by the rail before, and return that. Missing: one
    on which there was never a thing was forgotten at this moment.
    """
    if await people.lock(act.tx, account_id) is None:
        return Missing()
    wanted = law.ask_deposit(account_id, number, opened.amount_msat)
    return await write_first(act, _owner(account_id), wanted, opened)


async def withdraw(
    act: Act,
    account_id: str,
    number: int,
    amount: int,
    refund_to: str | None,
    asset: Asset = Asset.MSAT,
    by: Proof | int | None = None,  # or how much may be taken out in a day without one
) -> Applied | Short | Missing | Unproven | Disproved:
    """Take money out of an account: it is owed to its holder, and goes where they say.

    A proof is looked at last: what is refused for another reason costs none.
    """
    if await people.lock(act.tx, account_id) is None:
        return Missing()
    if isinstance(by, int):
        since = act.now - timedelta(days=1)
        if await payouts.withdrawn(act.tx, account_id, asset, since) + amount > by:
            return Unproven(by)
    balance = await balances.lock_of_user(act.tx, account_id, asset)
    try:
        decision = law.withdraw(account_id, number, balance, amount, asset)
    except law.Short:
        return Short(Purse.ACCOUNT, amount, balance, asset)
    if by is not None and not isinstance(by, int):
        wrong = await proofs.spend(act, account_id, by)
        if wrong is not None:
            return wrong
    await perform(act, Payee(_owner(account_id), refund_to), decision)
    await people.tell(act.tx, account_id)
    return Applied()


def _owner(account_id: str) -> Owner:
    return Owner(OwnerKind.ACCOUNT, account_id)


def payee_of(row: AccountRow) -> Payee:
    """Return who is paid what is owed by an account: its holder, who says where to each time."""
    return Payee(_owner(row.id), None)


async def step(act: Act, row: AccountRow, _: law.Credited) -> Outcome:
    """Tell whoever waits that a deposit is on the balance; the invoice's entry has brought it.

    The first one is what the account's wallet was asked for, where it was opened by one.
    """
    request = await connect_requests.lock_of_account(act.tx, row.id)
    if request is not None:
        await connecting.paid(act, request)
    await people.tell(act.tx, row.id)
    return Applied()


async def touch(act: Act, row: AccountRow, _: str) -> None:
    """Tell whoever waits for a change of a locked account."""
    await people.tell(act.tx, row.id)


async def restore(act: Act, account_id: str, kept: LapsedInvoice) -> None:
    """Have an account there again whose deposit was purged: it is always there."""
