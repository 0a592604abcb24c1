"""An account's page: its balance and how it is topped up, its keys, what it spent, what it has."""

from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.caller import COOKIE, login_cookie, unknown
from app.http.throttle import Rule
from app.keys.api_keys import Prefix
from app.plain_text import odd_in
from app.refusal import Refusal, Why
from app.strict_json import BadInput
from app.trade.lightning_logins import Unsigned
from app.web import account_view, sign_in
from app.web.account_view import Here
from app.web.cookies import check_token
from app.web.ending import claim
from app.web.forms import name_in, read_form
from app.web.page import page, see
from app.web.stub_wallet import pay_from_stub
from app.web.troubles import Trouble, at, trouble_of
from db.api_keys import Limits
from db.people import LoginRow
from payments.siwe import Wrong
from pricing.money import Msat, sats_to_msat

PATH = sign_in.PATH
MOST_SATS, MOST_NAMED = 10_000_000, 64
RANGE = "Enter a whole number of sats, from 1 to 10,000,000."


@page
async def show(request: Request) -> Response:
    """GET /account: the account of who is signed in; for others, the ways to sign in."""
    login = await _login(request)
    return await sign_in.shown(request) if login is None else await shown(request, login)


@page
async def leave(request: Request) -> Response:
    """POST /account/logout: this browser is signed in no more."""
    house = house_of(request)
    login, _ = await form_of(request)
    await house.logins.end(login.account_id, login.id)
    answer = see(PATH)
    answer.headers.append("Set-Cookie", login_cookie("", house.settings.public_url, 0))
    return answer


@page
async def top_up(request: Request) -> Response:
    """POST /account/topup: an invoice, which the page then shows."""
    house = house_of(request)
    login, given = await form_of(request)
    try:
        async with house.throttle.turn(request, Rule.CREATE):
            amount_msat = amount_in(given, "amount")
            await house.accounts.deposit(login.account_id, amount_msat, name_in(request, given))
    except (BadInput, Refusal) as refused:
        return await shown(request, login, trouble_of(refused, "amount"), Here(given))
    return see(PATH)


@page
async def pay(request: Request) -> Response:
    """POST /account/pay: the stub's own wallet pays what is open. Development only."""
    house = house_of(request)
    await read_form(request)
    login = await _needed(request)
    open_now = [each.to_pay for each in await house.accounts.deposits(login.account_id)]
    await pay_from_stub(house, [each.payment_hash for each in open_now if each])
    return see(PATH)


@page
async def resend(request: Request) -> Response:
    """POST /account/notices: a notice of the account's is sent again."""
    house = house_of(request)
    login, given = await form_of(request)
    await house.throttle.count(request, Rule.DESTINATION)
    webhook = await house.webhooks.opened_by_account(given.get("webhook", ""), login.account_id)
    sent = await house.webhooks.resend(webhook, given.get("notice") or None)
    return see(f"/notices/{webhook.id}?sent={sent}")


@page
async def refund(request: Request) -> Response:
    """POST /account/refund: what waits to be fetched goes to an address, or to an invoice."""
    house = house_of(request)
    login, given = await form_of(request)
    try:
        await house.throttle.count(request, Rule.DESTINATION)
        await claim(house, login.account_id, given)
    except (BadInput, Refusal) as refused:
        return await shown(request, login, trouble_of(refused, "to"), Here(given))
    return see(f"{PATH}#refunds")


@page
async def make_key(request: Request) -> Response:
    """POST /account/keys: a new key, which is shown on this answer only."""
    house = house_of(request)
    login, given = await form_of(request)
    try:
        with at("name"):
            name = _key_name(given)
        limits = Limits(amount_in(given, "limit")) if given.get("limit") else Limits()
        made = await house.keys.make(login.account_id, Prefix.SK, name, limits)
    except (BadInput, Refusal) as refused:
        return await shown(request, login, trouble_of(refused, "keys"), Here(given))
    return await shown(request, login, here=Here(key=made.key))


@page
async def revoke_key(request: Request) -> Response:
    """POST /account/keys/revoke: it isn't valid any more."""
    house = house_of(request)
    login, given = await form_of(request)
    await house.keys.revoke(login.account_id, given.get("id", ""))
    return see(f"{PATH}#keys")


@page
async def join(request: Request) -> Response:
    """POST /account/join: a code that a Lightning wallet signs, to open this account too."""
    house = house_of(request)
    login, given = await form_of(request)
    k1, secret = given.get("k1", ""), given.get("secret", "")
    if not k1:
        wallet = await sign_in.wallet_code(request, {}, "link")
        return await shown(request, login, here=Here(wallet=wallet))
    try:
        async with house.throttle.guess(Rule.GUESS_EACH, house.throttle.address(request)):
            told = await house.lightning_logins.join(login.account_id, k1, secret)
            if isinstance(told, Wrong):
                raise unknown(Why.CREDENTIAL_INVALID, told.sentence)
    except Refusal as refused:
        return await shown(request, login, trouble_of(refused, "ways"), Here(given))
    if isinstance(told, Unsigned):
        wallet = await sign_in.wallet_code(request, given, "link")
        return await shown(request, login, here=Here(given, wallet=wallet, is_unsigned=True))
    return see(f"{PATH}#ways")


def _key_name(given: dict[str, str]) -> str:
    name = given.get("name", "") or "API key"
    if len(name) > MOST_NAMED or odd_in(name):
        raise BadInput(f"A name has {MOST_NAMED} characters at most.")
    return name


def amount_in(given: dict[str, str], field: str) -> Msat:
    """Return the sats that a field holds. Raises BadInput."""
    digits = given.get(field, "").replace(",", "")
    with at(field, RANGE):
        is_number = digits.isascii() and digits.isdecimal() and len(digits) < 9
        if not is_number or not 1 <= int(digits) <= MOST_SATS:
            raise BadInput(RANGE)
    return sats_to_msat(int(digits))


async def _login(request: Request) -> LoginRow | None:
    token = request.cookies.get(COOKIE, "")
    return await house_of(request).logins.holder(token) if token else None


async def _needed(request: Request) -> LoginRow:
    login = await _login(request)
    if login is None:
        raise unknown(Why.CREDENTIAL_EXPIRED, "You are not signed in any more. Sign in again.")
    return login


async def form_of(request: Request) -> tuple[LoginRow, dict[str, str]]:
    """Return who is signed in, and the fields of a form of theirs; 401 and 403 for others."""
    given = await read_form(request)
    login = await _needed(request)
    check_token(request, COOKIE, given)
    return login, given


async def shown(
    request: Request, login: LoginRow, wrong: Trouble | None = None, here: Here | None = None
) -> Response:
    """Return the page of an account, after asking about its invoices."""
    house: House = house_of(request)
    await house.waiting.nudge_invoices(await house.accounts.deposits(login.account_id))
    return await account_view.shown(request, login, wrong, here or Here())
