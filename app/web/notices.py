"""A webhook's page: what it was sent, how each try went, and a button that sends it again.

Its secret opens it, or the account that asked for it. The secret is asked for with each form, and
kept nowhere.
"""

from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.caller import COOKIE
from app.http.fields import path_id
from app.http.throttle import Rule
from app.refusal import Refusal
from app.trade.webhooks import unknown_webhook
from app.web.cookies import token_of
from app.web.forms import read_form
from app.web.page import page, render
from app.web.troubles import Trouble
from db.webhook_log import Webhook

CLOSED = "There is no webhook at this address with this secret."


@page
async def show(request: Request) -> Response:
    """GET /notices/{id}: a form for the secret; to the account that asked for it, its log."""
    house, webhook_id = house_of(request), path_id(request, unknown_webhook)
    holder = await house.callers.account(request)
    if holder is not None:
        try:
            webhook = await house.webhooks.opened_by_account(webhook_id, holder.account_id)
            sent, csrf = request.query_params.get("sent"), token_of(request, COOKIE)
            return await _shown(request, house, webhook, sent, csrf)
        except Refusal:
            pass  # another's, or nobody's: its secret opens it
    return render(request, "notices.html", webhook=None, notices=[], sent=None)


@page
async def opened(request: Request) -> Response:
    """POST /notices/{id}: the log, to the holder of the secret."""
    house, given = house_of(request), await read_form(request)
    await house.throttle.count(request, Rule.DESTINATION)
    webhook = await _opened(request, house, given)
    return await _shown(request, house, webhook) if webhook else _closed(request)


@page
async def redeliver(request: Request) -> Response:
    """POST /notices/{id}/redeliver: a notice is sent again, by the holder of the secret."""
    house, given = house_of(request), await read_form(request)
    await house.throttle.count(request, Rule.DESTINATION)
    webhook = await _opened(request, house, given)
    if webhook is None:
        return _closed(request)
    sent = await house.webhooks.resend(webhook, given.get("notice") or None)
    return await _shown(request, house, webhook, sent)


async def _opened(request: Request, house: House, given: dict[str, str]) -> Webhook | None:
    try:
        webhook_id = path_id(request, unknown_webhook)
        return await house.webhooks.opened_by_secret(webhook_id, given.get("secret", ""))
    except Refusal:
        return None


def _closed(request: Request) -> Response:
    wrong = Trouble("secret", CLOSED, is_field=True, status=401)
    return render(request, "notices.html", wrong=wrong, webhook=None, notices=[], sent=None)


async def _shown(
    request: Request,
    house: House,
    webhook: Webhook,
    sent: str | None = None,
    csrf: str = "",  # of who is signed in to the account that asked for it
) -> Response:
    notices = await house.webhooks.log(webhook)
    return render(request, "notices.html", webhook=webhook, notices=notices, sent=sent, csrf=csrf)
