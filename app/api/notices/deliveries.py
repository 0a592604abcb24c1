"""What a webhook was told, with the log of every try; and have it told again.

The webhook's secret opens it, or the account that asked for it: its id alone opens nothing.
"""

from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.house import House, house_of
from app.http.body import json_response, parse, read_body
from app.http.fields import Body, path_id
from app.http.throttle import Rule
from app.refusal import LEAST_RETRY_S
from app.strict_json import moment
from app.trade.webhooks import unknown_webhook
from db.owners import COLUMNS
from db.webhook_log import Logged, Tried, Webhook
from statemachine.notice import NoticeState

SECRET = "x-webhook-secret"


class Redeliver(Body):
    """POST /api/notices/{id}/redeliver: nothing, or which notice; else the newest."""

    notice_id: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None, alias="noticeId"
    )


async def show(request: Request) -> Response:
    """GET /api/notices/{id}: what a webhook was told, the newest first, with each try."""
    house = house_of(request)
    webhook = await _opened(request, house)
    return json_response(shape(webhook, await house.webhooks.log(webhook)))


async def redeliver(request: Request) -> Response:
    """POST /api/notices/{id}/redeliver: 202; a notice is sent again now, with the same bytes."""
    house = house_of(request)
    webhook = await _opened(request, house)
    await house.throttle.count(request, Rule.DESTINATION)
    body = await read_body(request)
    asked = parse(body, Redeliver) if body.strip() else Redeliver()
    notice_id = await house.webhooks.resend(webhook, asked.notice_id)
    told = {"noticeId": notice_id, "state": NoticeState.WANTED.value}
    headers = {"Location": f"/api/notices/{webhook.id}", "Retry-After": str(LEAST_RETRY_S)}
    return json_response(told, 202, headers)


async def _opened(request: Request, house: House) -> Webhook:
    webhook_id, secret = path_id(request, unknown_webhook), request.headers.get(SECRET)
    if secret is not None:
        return await house.webhooks.opened_by_secret(webhook_id, secret)
    holder = await house.callers.account(request)
    if holder is None:
        raise unknown_webhook()
    return await house.webhooks.opened_by_account(webhook_id, holder.account_id)


def shape(webhook: Webhook, notices: list[Logged]) -> dict[str, Any]:
    """Return a webhook and what it was told, as its owner sees it."""
    whose = {column: getattr(webhook, column) for column in COLUMNS.values()}
    [owner_id] = [
        owner for column, owner in whose.items() if owner is not None and column != "account_id"
    ]
    return {
        "id": webhook.id,
        "url": webhook.url,
        "topic": webhook.topic.value,
        "about": owner_id,
        "createdAt": moment(webhook.created_at),
        "notices": [_notice(notice) for notice in notices],
    }


def _notice(notice: Logged) -> dict[str, Any]:
    told: dict[str, Any] = {
        "noticeId": notice.id,
        "event": notice.event,
        "state": notice.state.value,
        "createdAt": moment(notice.created_at),
        "tries": [_try(tried) for tried in notice.tried],
    }
    if notice.state is NoticeState.WANTED:
        told["nextTryAt"] = moment(notice.due_at)
    elif notice.ended_at is not None:
        told["endedAt"] = moment(notice.ended_at)
    return told


def _try(tried: Tried) -> dict[str, Any]:
    return {
        "number": tried.number,
        "at": moment(tried.at),
        "status": tried.status,
        "ms": tried.took_ms,
        "said": tried.said,
    }
