"""Logins: a name and a password, and then a token that is good for seven days.

An account is opened by its first login. A token is known by its hash alone, so nobody who reads
the database can use one.
"""

import hashlib
import hmac
import re
import secrets
import unicodedata
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from app import advance
from app.advance import Shell
from app.advance.accounts import Opening
from app.keys.passwords import Passwords
from app.ports import Clock
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from db import people, profiles
from db.engine import Database
from db.people import LoginRow, Named, NewLogin, Password
from db.people_tables import LoginBy
from db.profiles import Profile

KEPT = timedelta(days=7)
LEAST_CHARACTERS, MOST_CHARACTERS = 6, 256  # of a password
_NAME = re.compile("[a-z0-9._-]{3,64}")
_CODE = re.compile("[0-9a-f]{32}")

Admits = Callable[[], Awaitable[None]]  # counts a new account; raises Refusal where it is one more


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A login: its token is known to who is given it, and to nobody else."""

    account_id: str
    token: str
    expires_at: datetime
    name: str | None = None
    recovery_code: str | None = None  # of a password that is new
    is_new: bool = False  # the account


@dataclass(frozen=True, slots=True)
class Logins:
    """The desk of logins."""

    db: Database
    shell: Shell
    passwords: Passwords
    clock: Clock
    new_id: Callable[[], str]

    async def by_password(self, name: str, password: str, admits: Admits) -> LoggedIn | None:
        """Log in by a name (as `name_of` has it) and a password; None where that is wrong.

        A name that nobody has is given to who comes first. The same work is done for a name that is
        known as for one that isn't. Raises Refusal where too many are signing in.
        """
        _check(password)
        token, login = self.new(LoginBy.PASSWORD)
        known = await people.password_of(self.db, name)
        if known is None:
            await admits()
            secret, (code, kept_code) = await self.passwords.hashed(password), _new_code()
            new = Opening(self.new_id(), name, secret, kept_code)
            if await self.shell.do(advance.accounts.open_with_password, new, login):
                until = login.expires_at
                return LoggedIn(new.account_id, token, until, name, code, is_new=True)
            known = await people.password_of(self.db, name)  # another was first, at this moment
            assert known is not None, "a name that was claimed just now is somebody's"
        if not await self.passwords.is_right(password, known.secret):
            return None
        if not await self.shell.do(advance.accounts.log_in_by_password, known, login):
            return None
        return LoggedIn(known.account_id, token, login.expires_at, name)

    async def recover(self, name: str, code: str, password: str) -> LoggedIn | None:
        """Set another password by the recovery code, which is then another one; None where that is
        wrong. All logins of the account end.
        """
        _check(password)
        known = await people.password_of(self.db, name)
        if known is None or not _is_code(known, code):
            return None
        token, login = self.new(LoginBy.RECOVERY)
        secret, (new_code, kept_code) = await self.passwords.hashed(password), _new_code()
        if not await self.shell.do(advance.accounts.recover, known, secret, kept_code, login):
            return None
        return LoggedIn(known.account_id, token, login.expires_at, name, new_code)

    async def change_password(self, holder: LoginRow, old: str, new: str) -> str | None:
        """Set another password, end all other logins, and return the next recovery code; None
        where the old one is wrong. Raises Refusal where the account has none.
        """
        _check(new)
        known = await people.password_of_account(self.db, holder.account_id)
        if known is None:
            raise Refusal(Why.NOT_POSSIBLE_NOW, "This account has no password: a wallet opens it.")
        if not await self.passwords.is_right(old, known.secret):
            return None
        secret, (code, kept_code) = await self.passwords.hashed(new), _new_code()
        is_done = await self.shell.do(
            advance.accounts.change_password, known, secret, kept_code, holder.id
        )
        return code if is_done else None

    async def by_payment(self, account_id: str) -> str:
        """Log into the account of a wallet that has just signed a payment; return the token."""
        token, login = self.new(LoginBy.PAYMENT)
        await self.shell.do(advance.accounts.log_in, account_id, login)
        return token

    async def holder(self, token: str) -> LoginRow | None:
        """Return the login of a token; None where it isn't valid, or no more."""
        return await people.login(self.db, _sha256(token), self.clock())

    async def all_of(self, account_id: str) -> list[LoginRow]:
        """Return the logins of an account that hold."""
        return await people.logins_of(self.db, account_id, self.clock())

    async def names_of(self, account_id: str) -> list[Named]:
        """Return by what an account is known."""
        return await people.names_of(self.db, account_id)

    async def profile_of(self, account_id: str) -> Profile | None:
        """Return since when there is an account, and when its holder signed in last."""
        return await profiles.of_account(self.db, account_id)

    async def end(self, account_id: str, login_id: str) -> bool:
        """End a login of an account; False where it has none of that id."""
        return await self.shell.do(advance.accounts.log_out, account_id, login_id)

    def new(self, by: LoginBy) -> tuple[str, NewLogin]:
        """Return a token, and the login that is kept of it."""
        token = self.shell.cell.mark(secrets.token_hex(32))
        return token, NewLogin(self.new_id(), _sha256(token), by, self.clock() + KEPT)


def name_of(text: str) -> str:
    """Return a name as it is kept: two that look the same are one. Raises BadInput."""
    name = unicodedata.normalize("NFKC", text).lower()
    if not _NAME.fullmatch(name):
        raise BadInput(
            "The field 'username' must have 3 to 64 characters: letters from a to z, digits, dots,"
            " underscores and hyphens."
        )
    return name


def _check(password: str) -> None:
    if not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS:
        raise BadInput(f"A password must have {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters.")


def _new_code() -> tuple[str, str]:
    """Return a recovery code as it is shown, and as it is kept."""
    code = secrets.token_hex(16)
    return "-".join(code[at : at + 8] for at in range(0, 32, 8)), _sha256(code)


def _is_code(known: Password, given: str) -> bool:
    told = sha256_of_code(given)
    if told is None or known.recovery_sha256 is None:
        return False
    return hmac.compare_digest(told, known.recovery_sha256)


def sha256_of_code(given: str) -> str | None:
    """Return what is kept of a recovery code, as somebody writes it; None: it is none."""
    code = given.replace("-", "").replace(" ", "").lower()
    return _sha256(code) if _CODE.fullmatch(code) else None


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
