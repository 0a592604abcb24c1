"""The page to sign in: by a Lightning wallet, a browser's wallet, or a name and a password."""

from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.caller import COOKIE, login_cookie, unknown
from app.http.links import own_base, sign_in_code
from app.http.signing_in import by_password
from app.http.throttle import Rule
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from app.trade.lightning_logins import Code, Unsigned
from app.web.codes import code
from app.web.forms import read_form
from app.web.page import page, render, see
from app.web.troubles import Trouble, at, trouble_of
from payments.siwe import Wrong

PATH = "/account"
LABEL = "QR code to sign in with a Lightning wallet"


@page
async def by_name(request: Request) -> Response:
    """POST /account/login: signed in by a name and a password, or the same page again."""
    house, given = house_of(request), await read_form(request)
    try:
        with at("username"):
            told = await by_password(
                request,
                house.logins,
                house.throttle,
                given.get("username", ""),
                given.get("password", ""),
            )
    except (BadInput, Refusal) as refused:
        return await shown(request, trouble_of(refused, "login"), given)
    if told.recovery_code is None:
        return _let_in(house, told.token)
    answer = render(request, "recovery.html", code=told.recovery_code, name=told.name)
    answer.headers.append("Set-Cookie", login_cookie(told.token, house.settings.public_url))
    return answer


@page
async def by_lightning(request: Request) -> Response:
    """POST /account/lightning: signed in by what a wallet has signed; until then, the same code."""
    house, given = house_of(request), await read_form(request)
    k1, secret = given.get("k1", ""), given.get("secret", "")
    admits = partial(house.throttle.count, request, Rule.ACCOUNT)
    try:
        async with house.throttle.guess(Rule.GUESS_EACH, house.throttle.address(request)):
            told = await house.lightning_logins.log_in(k1, secret, admits)
            if isinstance(told, Wrong):
                raise unknown(Why.CREDENTIAL_INVALID, told.sentence)
    except Refusal as refused:
        return await shown(request, trouble_of(refused, "lightning"), given)
    if isinstance(told, Unsigned):
        return await shown(request, given=given, is_unsigned=True)
    return _let_in(house, told.token)


def _let_in(house: House, token: str) -> Response:
    answer = see(PATH)
    answer.headers.append("Set-Cookie", login_cookie(token, house.settings.public_url))
    return answer


async def shown(
    request: Request,
    wrong: Trouble | None = None,
    given: dict[str, str] | None = None,
    *,
    is_unsigned: bool = False,
) -> Response:
    """Return the page to sign in; with the code that was shown before, while that is waited for."""
    given = given or {}
    answer = render(
        request,
        "sign_in.html",
        wrong=wrong,
        given=given,
        is_unsigned=is_unsigned,
        wallet=await wallet_code(request, given if is_unsigned else {}, "login"),
    )
    # A cookie that opens nothing any more is taken back; not while a code waits to be signed, whose
    # browser may have signed in otherwise meanwhile.
    if wrong is None and not is_unsigned and COOKIE in request.cookies:
        house = house_of(request)
        answer.headers.append("Set-Cookie", login_cookie("", house.settings.public_url, 0))
    return answer


async def wallet_code(
    request: Request, before: dict[str, str], action: str
) -> dict[str, Any] | None:
    """Return a code that a Lightning wallet signs, the one of before where there is one; None where
    wallets can't reach this server.
    """
    house = house_of(request)
    try:
        base = own_base(request, house.settings.public_url)
    except Refusal:
        return None
    made = house.lightning_logins.code(is_proof=action == "auth")
    if before.get("k1") and before.get("secret"):
        made = Code(before["k1"], before["secret"], made.until)
    link = sign_in_code(base, made.k1, action)
    return {"k1": made.k1, "secret": made.secret, "lnurl": link, "code": await code(link, LABEL)}
