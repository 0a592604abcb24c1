"""Signing in and out: a name and a password, and then a cookie for seven days (bulk media API)."""

from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.body import json_response, parse, read_body
from app.http.caller import login_cookie, unknown
from app.http.fields import Body, path_id
from app.http.origins import check_json
from app.http.signing_in import by_password, guessed
from app.http.throttle import Rule
from app.refusal import Refusal, Why
from app.strict_json import moment
from app.trade.logins import LoggedIn, name_of
from db.people import LoginRow
from db.people_tables import IdentityKind

Text = Annotated[str, Field(min_length=1, max_length=256)]

KEEP = (
    "Keep the recovery code: it is shown this once, and sets a new password with POST"
    " /api/auth/recover."
)


class LogIn(Body):
    """POST /api/auth/login."""

    username: Text
    password: Text


class Recover(Body):
    """POST /api/auth/recover."""

    username: Text
    recovery_code: Text = Field(alias="recoveryCode")
    new_password: Text = Field(alias="newPassword")


class ChangePassword(Body):
    """POST /api/auth/password."""

    password: Text
    new_password: Text = Field(alias="newPassword")


async def log_in(request: Request) -> Response:
    """POST /api/auth/login: 200 with a cookie. The first login opens the account."""
    house = house_of(request)
    check_json(request, house.settings.public_url)
    asked = parse(await read_body(request), LogIn)
    told = await by_password(request, house.logins, house.throttle, asked.username, asked.password)
    return _logged_in(house, told)


async def recover(request: Request) -> Response:
    """POST /api/auth/recover: 200 with a cookie, and another recovery code."""
    house = house_of(request)
    check_json(request, house.settings.public_url)
    asked = parse(await read_body(request), Recover)
    # Not counted by its name: who is locked out by the guesses of others has this way in.
    async with house.throttle.guess(Rule.GUESS_EACH, house.throttle.address(request)):
        told = await house.logins.recover(
            name_of(asked.username), asked.recovery_code, asked.new_password
        )
        if told is None:
            raise unknown(Why.CREDENTIAL_INVALID, "The username or the recovery code isn't right.")
    return _logged_in(house, told)


async def change_password(request: Request) -> Response:
    """POST /api/auth/password: 200; all other logins have ended."""
    house = house_of(request)
    holder, login = await house.callers.needed_login(request)
    asked = parse(await read_body(request), ChangePassword)
    async with house.throttle.guess(Rule.GUESS, guessed(holder.account_id)):
        code = await house.logins.change_password(login, asked.password, asked.new_password)
        if code is None:
            raise unknown(Why.CREDENTIAL_INVALID, "The password isn't right.")
    return json_response({"recoveryCode": code, "next": KEEP})


async def log_out(request: Request) -> Response:
    """POST /api/auth/logout: 200; the token isn't valid any more."""
    house = house_of(request)
    holder, login = await house.callers.needed_login(request)
    await house.logins.end(holder.account_id, login.id)
    answer = json_response({"ok": True})
    answer.headers.append("Set-Cookie", login_cookie("", house.settings.public_url, 0))
    return answer


async def me(request: Request) -> Response:
    """GET /api/auth/me: whose login this is."""
    house = house_of(request)
    holder = await house.callers.needed_account(request)
    names = await house.logins.names_of(holder.account_id)
    told: dict[str, Any] = {"accountId": holder.account_id}
    for name in names:
        if name.kind is IdentityKind.PASSWORD:
            told["username"] = name.name
    told["wallets"] = [name.name for name in names if name.kind is IdentityKind.EVM]
    told["lightningKeys"] = [name.name for name in names if name.kind is IdentityKind.LIGHTNING]
    if holder.login is not None:
        told["login"] = _shown(holder.login)
    return json_response(told)


async def logins(request: Request) -> Response:
    """GET /api/auth/logins: all that hold, the newest first."""
    house = house_of(request)
    holder = await house.callers.unlimited(request)
    this = holder.login.id if holder.login is not None else None
    rows = await house.logins.all_of(holder.account_id)
    shown = [{**_shown(row), "isThisOne": row.id == this} for row in rows]
    return json_response({"logins": shown})


async def end_login(request: Request) -> Response:
    """DELETE /api/auth/logins/{id}: 200; that token isn't valid any more."""
    house = house_of(request)
    holder = await house.callers.unlimited(request)
    if not await house.logins.end(holder.account_id, path_id(request, _unknown_login)):
        raise _unknown_login()
    return json_response({"ok": True})


def _unknown_login() -> Refusal:
    return Refusal(Why.UNKNOWN, "Your account has no login with this id.")


def _shown(login: LoginRow) -> dict[str, Any]:
    return {
        "id": login.id,
        "by": login.by.value,
        "createdAt": moment(login.created_at),
        "expiresAt": moment(login.expires_at),
    }


def _logged_in(house: House, told: LoggedIn) -> Response:
    shape: dict[str, Any] = {
        "accountId": told.account_id,
        "username": told.name,
        "created": told.is_new,
        "expiresAt": moment(told.expires_at),
    }
    if told.recovery_code is not None:
        shape["recoveryCode"] = told.recovery_code
        shape["next"] = KEEP
    answer = json_response(shape)
    answer.headers.append("Set-Cookie", login_cookie(told.token, house.settings.public_url))
    return answer
