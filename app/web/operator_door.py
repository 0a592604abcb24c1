"""Who may see the operator's pages: whoever has the token, by a cookie or in the header.

Without OPERATOR_TOKEN nobody may. The cookie names no token; another token ends it.
"""

import hashlib
import hmac
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.caller import presented
from app.http.throttle import Rule
from app.refusal import Refusal, Why
from app.web import cookies
from app.web.forms import read_form
from app.web.page import page, render, see
from app.web.troubles import Trouble

COOKIE = "boltwork_operator"
PATH = "/operator"
KEPT_S = 12 * 3600


def admitted(request: Request) -> bool:
    """Say whether this is the operator."""
    house = house_of(request)
    token = house.settings.operator_token
    if token is None:
        return False
    shown = presented(request)
    if shown is not None:
        wanted = token.get_secret_value().encode()
        return shown.scheme == "bearer" and hmac.compare_digest(shown.credential.encode(), wanted)
    kept = cookies.opened(request, COOKIE)
    if kept is None:
        return False
    mark, _, until_s = kept.partition(":")
    young = house.clock().timestamp() < int(until_s)
    return young and hmac.compare_digest(mark, _mark(house))


def closed(request: Request, problem: str = "") -> Response:
    """Return the door: how to set the token, or a form to give it."""
    house = house_of(request)
    is_set = house.settings.operator_token is not None
    status = 401 if is_set else 503
    wrong = Trouble("token", problem, is_field=True, status=status) if problem else None
    return render(request, "operator_door.html", status, is_set=is_set, wrong=wrong)


async def operator_form(request: Request) -> dict[str, str]:
    """Return the fields of a form of the operator's, or refuse it.

    With the token in the header no form token is needed: no other page can send that.
    """
    given = await read_form(request)
    if not admitted(request):
        raise Refusal(
            Why.CREDENTIAL_NEEDED, "This needs the operator token.", "Open /operator and sign in."
        )
    if presented(request) is None:
        cookies.check_token(request, COOKIE, given)
    return given


@page
async def login(request: Request) -> Response:
    """POST /operator/login: the token, once; then a cookie."""
    house = house_of(request)
    given = await read_form(request)
    token = house.settings.operator_token
    if token is None:
        return closed(request)
    await house.throttle.count(request, Rule.LOGIN)
    if not hmac.compare_digest(given.get("token", "").encode(), token.get_secret_value().encode()):
        return closed(request, "This isn’t the operator token.")
    until = house.clock() + timedelta(seconds=KEPT_S)
    answer = see(PATH)
    content = f"{_mark(house)}:{int(until.timestamp())}"
    answer.headers.append("Set-Cookie", cookies.line(house, COOKIE, content, PATH, KEPT_S))
    return answer


@page
async def logout(request: Request) -> Response:
    """POST /operator/logout."""
    house = house_of(request)
    await operator_form(request)
    answer = see(PATH)
    answer.headers.append("Set-Cookie", cookies.forgotten(house, COOKIE, PATH))
    return answer


def _mark(house: House) -> str:
    token = house.settings.operator_token
    assert token is not None
    return hashlib.sha256(token.get_secret_value().encode()).hexdigest()[:32]
